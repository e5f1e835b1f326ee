package main

import (
	"sync/atomic"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// loops are what one goroutine does on one side, generated for each side, size
// and mode. A call of a method is as rare as 64 objects, except in tests: methods
// of an interface are not inlined, so the loops themselves are inside.
//
// After every Get a loop writes one word in each cache line of the object, and
// before every Put it reads them into a sum.
type loops[T any] interface {
	fork() loops[T] // the same pool, for another goroutine
	close()         // the pool, when every object has been put
	total() uint64  // of what was read

	pingPong(n int)                                             // gets one and puts it
	getAll(xs []*T)                                             // fills xs
	putAll(xs []*T, order []int32)                              // puts those of xs that order lists
	exchange(table *[catalog.TableLen]atomic.Pointer[T], n int) // swaps with a random place, puts what was there
	larson(xs *[catalog.TableLen]*T, n int)                     // replaces random objects of xs
	send(out chan<- *T, n int)                                  // gets and sends
	receive(in <-chan *T)                                       // receives and puts, until in is closed
}

// common is in all loops. It belongs to one goroutine.
type common[T any] struct {
	sum   uint64
	rng   uint64
	keep  *T // what new wrote last: without it, the object would be on the stack
	batch [catalog.BatchLen]*T
	_     [128]byte // keep is written in a loop: no other goroutine's cache line
}

func (c *common[T]) total() uint64 { return c.sum }

var seeds atomic.Uint64

// seed returns where the sequence of random numbers goes on; it starts somewhere
// else for each goroutine.
func (c *common[T]) seed() uint64 {
	if c.rng == 0 {
		c.rng = seeds.Add(1) * 0x9e3779b97f4a7c15
	}
	return c.rng
}

// xorshift is Marsaglia's generator (2003): a random number for three shifts.
func xorshift(s uint64) uint64 {
	s ^= s << 13
	s ^= s >> 7
	s ^= s << 17
	return s
}
