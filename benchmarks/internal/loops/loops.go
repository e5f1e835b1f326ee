// Package loops has what one goroutine does on one side. The loops themselves are in no file here:
// internal/gen writes them when the worker is built, for each side, size and mode, and they
// register themselves. Without them, the package compiles, and has no loops.
//
// Much is exported for the generated files only.
package loops

import (
	"sync/atomic"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// Loops are those of one goroutine on one side. A call of a method is as rare as 64 objects, except
// in tests: methods of an interface are not inlined, so the loops themselves are inside.
//
// After every Get a loop writes one word in each cache line of the object, and before every Put it
// reads them into a sum.
//
// H is what the side hands out, and wants back: a pointer, or the index of a slab.
type Loops[H any] interface {
	Fork() Loops[H] // the same pool, for another goroutine
	Close()         // the pool, when every object has been put
	Total() uint64  // of what was read
	Object(h H) any // a pointer to it, for tests

	PingPong(n int)                        // gets one and puts it
	GetAll(hs []H)                         // fills hs
	PutAll(hs []H, order []int32)          // puts those of hs that order lists
	NewTable(hs []H) Table[H]              // for Exchange
	Exchange(t Table[H], n int)            // swaps with a random place, puts what was there
	Larson(hs *[catalog.TableLen]H, n int) // replaces random objects of hs
	Send(out chan<- H, n int)              // gets and sends
	Receive(in <-chan H)                   // receives and puts, until in is closed
}

// On is what all loops are, with P for the type of their pool.
type On[P, H any] interface {
	On(p P) Loops[H] // the same loops, with another pool
}

// A Table has catalog.TableLen places.
type Table[H any] interface {
	All() []H
}

// Pointers is a Table.
type Pointers[T any] [catalog.TableLen]atomic.Pointer[T]

// All is the method of Table.
func (t *Pointers[T]) All() []*T {
	var all []*T
	for i := range t {
		all = append(all, t[i].Load())
	}
	return all
}

// Indexes is a Table.
type Indexes [catalog.TableLen]atomic.Uint32

// All is the method of Table.
func (t *Indexes) All() []uint32 {
	var all []uint32
	for i := range t {
		all = append(all, t[i].Load())
	}
	return all
}

// Common is in all loops that have pointers. It belongs to one goroutine.
type Common[T any] struct {
	Counters
	Keep  *T // what new wrote last: without it, the object would be on the stack
	Batch [catalog.BatchLen]*T
	_     [128]byte // Keep is written in a loop: no other goroutine's cache line
}

// NewTable is the method of Loops.
func (c *Common[T]) NewTable(xs []*T) Table[*T] {
	t := new(Pointers[T])
	for i, x := range xs {
		t[i].Store(x)
	}
	return t
}

// Object is the method of Loops.
func (c *Common[T]) Object(x *T) any { return x }

// IndexCommon is in all loops that have indexes. It belongs to one goroutine.
type IndexCommon struct{ Counters }

// NewTable is the method of Loops.
func (c *IndexCommon) NewTable(indexes []uint32) Table[uint32] {
	t := new(Indexes)
	for i, x := range indexes {
		t[i].Store(x)
	}
	return t
}

// Counters are in all loops.
type Counters struct {
	Sum uint64
	RNG uint64
}

// Total is the method of Loops.
func (c *Counters) Total() uint64 { return c.Sum }

var seeds atomic.Uint64

// Seed returns where the sequence of random numbers goes on; it starts somewhere
// else for each goroutine.
func (c *Counters) Seed() uint64 {
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
