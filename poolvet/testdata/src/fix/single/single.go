// Package single imports sync alone, and still needs it.
package single

import "sync"

var once sync.Once

var blocks = sync.Pool{New: func() any { return new([128]byte) }} // want `sync.Pool blocks holds`

// Len returns the length of a block.
func Len() (n int) {
	once.Do(func() {})
	func() {
		b := blocks.Get().(*[128]byte)
		n = len(b)
		blocks.Put(b)
	}()
	return n
}
