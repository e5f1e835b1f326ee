// Package commentimport has a comment where the fix would edit.
package commentimport

import (
	"sync" // for the pool
)

var blocks = sync.Pool{New: func() any { return new([128]byte) }} // no: the import of sync has a comment

func use() {
	b := blocks.Get().(*[128]byte)
	blocks.Put(b)
}
