package pool

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// The loops of bench_test.go for 1024-byte objects: bench64_test.go with 1024 in
// place of 64 in names.

// A side1024 is one way to get and put objects: p, p in batches, std, or, where both
// are nil, new.
type side1024 struct {
	name  string
	p     *Pool[obj1024]
	std   *sync.Pool
	batch bool

	table []atomic.Pointer[obj1024] // for exchange
}

// get and put are for the parts that are not measured.
func (s *side1024) get() *obj1024 {
	switch {
	case s.p != nil:
		return s.p.Get()
	case s.std != nil:
		return s.std.Get().(*obj1024)
	}
	return new(obj1024)
}

func (s *side1024) put(x *obj1024) {
	switch {
	case s.p != nil:
		s.p.Put(x)
	case s.std != nil:
		s.std.Put(x)
	}
}

// benchSides1024 measures a workload on each side, alone or on all Ps. newLoop
// returns a loop that does n pairs, for one goroutine.
func benchSides1024(b *testing.B, parallel bool, newLoop func(*side1024) func(n int)) {
	p := New[obj1024]()
	std := &sync.Pool{New: func() any { return new(obj1024) }}
	sides := []*side1024{
		{name: "pool", p: p},
		{name: "pool-batch", p: p, batch: true},
		{name: "sync.Pool", std: std},
		{name: "new"},
	}
	for _, s := range sides {
		s.table = make([]atomic.Pointer[obj1024], 1024)
		for i := range s.table {
			s.table[i].Store(s.get())
		}
		b.Run("side="+s.name, func(b *testing.B) {
			b.ReportAllocs()
			if !parallel {
				newLoop(s)(b.N)
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				loop := newLoop(s)
				const step = 4096 // so that pb.Next costs nothing
				for n := step; n == step; {
					for n = 0; n < step && pb.Next(); n++ {
					}
					loop(n)
				}
			})
		})
		for i := range s.table {
			s.put(s.table[i].Load())
		}
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

func pingPong1024(s *side1024) func(n int) {
	xs := make([]*obj1024, batchLen)
	var zero obj1024
	return func(n int) {
		switch {
		case s.batch:
			for i := 0; i < n; i += len(xs) {
				s.p.GetBatch(xs)
				for _, x := range xs {
					x[0] = 1
				}
				s.p.PutBatch(xs)
			}
		case s.p != nil:
			p := s.p
			for range n {
				x := p.Get()
				x[0] = 1
				p.Put(x)
			}
		case s.std != nil:
			std := s.std
			for range n {
				x := std.Get().(*obj1024)
				*x = zero
				x[0] = 1
				std.Put(x)
			}
		default:
			for range n {
				xs[0] = new(obj1024)
				(*xs[0])[0] = 1
			}
		}
	}
}

// fillLoop1024 gets size objects and puts them all, first in, first out.
func fillLoop1024(size int) func(*side1024) func(n int) {
	return func(s *side1024) func(n int) {
		xs := make([]*obj1024, size)
		var zero obj1024
		return func(n int) {
			for i := 0; i < n; i += size {
				switch {
				case s.batch:
					s.p.GetBatch(xs)
					for _, x := range xs {
						x[0] = 1
					}
					s.p.PutBatch(xs)
				case s.p != nil:
					p := s.p
					for k := range xs {
						x := p.Get()
						x[0] = 1
						xs[k] = x
					}
					for _, x := range xs {
						p.Put(x)
					}
				case s.std != nil:
					std := s.std
					for k := range xs {
						x := std.Get().(*obj1024)
						*x = zero
						x[0] = 1
						xs[k] = x
					}
					for _, x := range xs {
						std.Put(x)
					}
				default:
					for k := range xs {
						x := new(obj1024)
						x[0] = 1
						xs[k] = x
					}
				}
			}
		}
	}
}

// producerConsumer1024 gets on one goroutine and puts on another, 64 at a time
// through a channel.
func producerConsumer1024(s *side1024) func(n int) {
	var zero obj1024
	return func(n int) {
		full := make(chan []*obj1024, 16)
		empty := make(chan []*obj1024, 18)
		for range cap(empty) {
			empty <- make([]*obj1024, batchLen)
		}
		go func() {
			for range (n + batchLen - 1) / batchLen {
				xs := <-empty
				switch {
				case s.batch:
					s.p.GetBatch(xs)
				case s.p != nil:
					for k := range xs {
						xs[k] = s.p.Get()
					}
				case s.std != nil:
					for k := range xs {
						xs[k] = s.std.Get().(*obj1024)
						*xs[k] = zero
					}
				default:
					for k := range xs {
						xs[k] = new(obj1024)
					}
				}
				for _, x := range xs {
					x[0] = 1
				}
				full <- xs
			}
			close(full)
		}()
		for xs := range full {
			switch {
			case s.batch:
				s.p.PutBatch(xs)
			case s.p != nil:
				for _, x := range xs {
					s.p.Put(x)
				}
			case s.std != nil:
				for _, x := range xs {
					s.std.Put(x)
				}
			}
			empty <- xs
		}
	}
}

// exchange1024 swaps each new object for one in a random place of a shared table,
// and puts that: with two Ps, every other one was got on the other P.
func exchange1024(s *side1024) func(n int) {
	xs := make([]*obj1024, batchLen)
	state := rand.Uint64() | 1
	var zero obj1024
	return func(n int) {
		place := func() *atomic.Pointer[obj1024] { // xorshift (Marsaglia, 2003)
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			return &s.table[state%1024]
		}
		switch {
		case s.batch:
			for i := 0; i < n; i += len(xs) {
				s.p.GetBatch(xs)
				for k, x := range xs {
					x[0] = 1
					xs[k] = place().Swap(x)
				}
				s.p.PutBatch(xs)
			}
		case s.p != nil:
			for range n {
				x := s.p.Get()
				x[0] = 1
				s.p.Put(place().Swap(x))
			}
		case s.std != nil:
			for range n {
				x := s.std.Get().(*obj1024)
				*x = zero
				x[0] = 1
				s.std.Put(place().Swap(x))
			}
		default:
			for range n {
				x := new(obj1024)
				x[0] = 1
				place().Swap(x)
			}
		}
	}
}
