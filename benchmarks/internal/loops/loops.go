// Package loops has what one goroutine does on one side. The loops themselves are in no file here:
// internal/gen writes them when the worker is built, for each side, size and mode, and they register
// themselves. Without them, the package compiles, and has no loops.
//
// Much is exported for the generated files only.
package loops

import (
	"sync/atomic"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// Loops are those of one goroutine on one side. A call of a method is as rare as 64 objects, except in
// tests: methods of an interface are not inlined, so the loops themselves are inside.
//
// After every Get a loop writes one word in each cache line of the object, and
// before every Put it reads them into a sum.
type Loops[T any] interface {
	Fork() Loops[T] // the same pool, for another goroutine
	Close()         // the pool, when every object has been put
	Total() uint64  // of what was read

	PingPong(n int)                                             // gets one and puts it
	GetAll(xs []*T)                                             // fills xs
	PutAll(xs []*T, order []int32)                              // puts those of xs that order lists
	Exchange(table *[catalog.TableLen]atomic.Pointer[T], n int) // swaps with a random place, puts what was there
	Larson(xs *[catalog.TableLen]*T, n int)                     // replaces random objects of xs
	Send(out chan<- *T, n int)                                  // gets and sends
	Receive(in <-chan *T)                                       // receives and puts, until in is closed
}

// On is what all loops are, with P for the type of their pool.
type On[P, T any] interface {
	On(p P) Loops[T] // the same loops, with another pool
}

// Common is in all loops. It belongs to one goroutine.
type Common[T any] struct {
	Sum   uint64
	RNG   uint64
	Keep  *T // what new wrote last: without it, the object would be on the stack
	Batch [catalog.BatchLen]*T
	_     [128]byte // Keep is written in a loop: no other goroutine's cache line
}

// Total is the method of Loops.
func (c *Common[T]) Total() uint64 { return c.Sum }

var seeds atomic.Uint64

// Seed returns where the sequence of random numbers goes on; it starts somewhere
// else for each goroutine.
func (c *Common[T]) Seed() uint64 {
	if c.RNG == 0 {
		c.RNG = seeds.Add(1) * 0x9e3779b97f4a7c15
	}
	return c.RNG
}

// Xorshift is Marsaglia's generator (2003): a random number for three shifts.
func Xorshift(s uint64) uint64 {
	s ^= s << 13
	s ^= s >> 7
	s ^= s << 17
	return s
}
