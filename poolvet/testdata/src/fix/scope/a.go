// Package scope has the name pool in another file.
package scope

import "sync"

var blocks = sync.Pool{New: func() any { return new([128]byte) }} // want `sync.Pool blocks holds`

// Len returns the length of a block.
func Len() int {
	b := blocks.Get().(*[128]byte)
	defer blocks.Put(b)
	return len(b)
}
