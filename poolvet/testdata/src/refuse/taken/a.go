// Package taken uses both names that the import could have.
package taken

import "sync"

func warmpool(pool int) int { return pool }

var blocks = sync.Pool{New: func() any { return new([128]byte) }} // no: the names pool and warmpool are taken

func use() {
	b := blocks.Get().(*[128]byte)
	blocks.Put(b)
}
