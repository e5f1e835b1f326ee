// Package blank imports sync as the only one of its group, under another name.
package blank

import (
	std "sync"

	"example.com/ant"
)

var blocks = std.Pool{New: func() any { return new([128]byte) }} // want `sync.Pool blocks holds`

// Name returns a name.
func Name() string {
	b := blocks.Get().(*[128]byte)
	defer blocks.Put(b)
	return string(b[:copy(b[:], ant.Name)])
}
