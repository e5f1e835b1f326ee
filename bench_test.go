package pool

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/warmpage/pool/internal/hook"
)

// Benchmarks against sync.Pool and new. Every op is one Get+Put pair, and each
// side does the same work on the object: it is zeroed before use (by Get, by an
// assignment for sync.Pool, by new), and its first word is written.
//
// The ns/op of two sides of one run can be compared. Those of two runs, or of
// two builds, differ by more than most changes to the code make. With the output
// of several processes in one file, this is the table of medians:
//
//	benchstat -col /side -filter '.unit:ns/op' FILE
//
// The loops of the sides are written out: a call through a func value would
// cost all sides the same, and so flatter the slower ones.

type object interface{ [8]uint64 | [128]uint64 }

// A side is one way to get and put objects: p, p in batches, std, or, where both
// are nil, new.
type side[T object] struct {
	name  string
	p     *Pool[T]
	std   *sync.Pool
	batch bool

	table []atomic.Pointer[T] // for exchange
}

const batchLen = 64

// get and put are for the parts that are not measured.
func (s *side[T]) get() *T {
	switch {
	case s.p != nil:
		return s.p.Get()
	case s.std != nil:
		return s.std.Get().(*T)
	}
	return new(T)
}

func (s *side[T]) put(x *T) {
	switch {
	case s.p != nil:
		s.p.Put(x)
	case s.std != nil:
		s.std.Put(x)
	}
}

// benchSides measures a workload on each side, alone or on all Ps. newLoop
// returns a loop that does n pairs, for one goroutine.
func benchSides[T object](b *testing.B, parallel bool, newLoop func(*side[T]) func(n int)) {
	p := New[T]()
	std := &sync.Pool{New: func() any { return new(T) }}
	sides := []*side[T]{
		{name: "pool", p: p},
		{name: "pool-batch", p: p, batch: true},
		{name: "sync.Pool", std: std},
		{name: "new"},
	}
	for _, s := range sides {
		s.table = make([]atomic.Pointer[T], 1024)
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

func pingPong[T object](s *side[T]) func(n int) {
	xs := make([]*T, batchLen)
	var zero T
	return func(n int) {
		switch {
		case s.batch:
			for i := 0; i < n; i += len(xs) {
				s.p.GetBatch(xs)
				for _, x := range xs {
					(*x)[0] = 1
				}
				s.p.PutBatch(xs)
			}
		case s.p != nil:
			p := s.p
			for range n {
				x := p.Get()
				(*x)[0] = 1
				p.Put(x)
			}
		case s.std != nil:
			std := s.std
			for range n {
				x := std.Get().(*T)
				*x = zero
				(*x)[0] = 1
				std.Put(x)
			}
		default:
			for range n {
				xs[0] = new(T)
				(*xs[0])[0] = 1
			}
		}
	}
}

// fillLoop gets size objects and puts them all, first in, first out.
func fillLoop[T object](size int) func(*side[T]) func(n int) {
	return func(s *side[T]) func(n int) {
		xs := make([]*T, size)
		var zero T
		return func(n int) {
			for i := 0; i < n; i += size {
				switch {
				case s.batch:
					s.p.GetBatch(xs)
					for _, x := range xs {
						(*x)[0] = 1
					}
					s.p.PutBatch(xs)
				case s.p != nil:
					p := s.p
					for k := range xs {
						xs[k] = p.Get()
						(*xs[k])[0] = 1
					}
					for _, x := range xs {
						p.Put(x)
					}
				case s.std != nil:
					std := s.std
					for k := range xs {
						xs[k] = std.Get().(*T)
						*xs[k] = zero
						(*xs[k])[0] = 1
					}
					for _, x := range xs {
						std.Put(x)
					}
				default:
					for k := range xs {
						xs[k] = new(T)
						(*xs[k])[0] = 1
					}
				}
			}
		}
	}
}

// producerConsumer gets on one goroutine and puts on another, 64 at a time
// through a channel.
func producerConsumer[T object](s *side[T]) func(n int) {
	var zero T
	return func(n int) {
		full := make(chan []*T, 16)
		empty := make(chan []*T, 18)
		for range cap(empty) {
			empty <- make([]*T, batchLen)
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
						xs[k] = s.std.Get().(*T)
						*xs[k] = zero
					}
				default:
					for k := range xs {
						xs[k] = new(T)
					}
				}
				for _, x := range xs {
					(*x)[0] = 1
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

// exchange swaps each new object for one in a random place of a shared table,
// and puts that: with two Ps, every other one was got on the other P.
func exchange[T object](s *side[T]) func(n int) {
	xs := make([]*T, batchLen)
	state := rand.Uint64() | 1
	var zero T
	return func(n int) {
		place := func() *atomic.Pointer[T] { // xorshift (Marsaglia, 2003)
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
					(*x)[0] = 1
					xs[k] = place().Swap(x)
				}
				s.p.PutBatch(xs)
			}
		case s.p != nil:
			for range n {
				x := s.p.Get()
				(*x)[0] = 1
				s.p.Put(place().Swap(x))
			}
		case s.std != nil:
			for range n {
				x := s.std.Get().(*T)
				*x = zero
				(*x)[0] = 1
				s.std.Put(place().Swap(x))
			}
		default:
			for range n {
				x := new(T)
				(*x)[0] = 1
				place().Swap(x)
			}
		}
	}
}

func BenchmarkPingPong(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides(b, false, pingPong[[8]uint64]) })
	b.Run("size=1024", func(b *testing.B) { benchSides(b, false, pingPong[[128]uint64]) })
}

func BenchmarkPingPongParallel(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides(b, true, pingPong[[8]uint64]) })
	b.Run("size=1024", func(b *testing.B) { benchSides(b, true, pingPong[[128]uint64]) })
}

// BenchmarkFill gets out=N objects and then puts them all, in rounds.
func BenchmarkFill(b *testing.B)         { benchFill(b, false) }
func BenchmarkFillParallel(b *testing.B) { benchFill(b, true) }

func benchFill(b *testing.B, parallel bool) {
	for _, n := range []int{64, 1024, 4096} {
		b.Run(fmt.Sprintf("size=64/out=%d", n), func(b *testing.B) { benchSides(b, parallel, fillLoop[[8]uint64](n)) })
	}
	for _, n := range []int{64, 1024, 4096} {
		b.Run(fmt.Sprintf("size=1024/out=%d", n), func(b *testing.B) { benchSides(b, parallel, fillLoop[[128]uint64](n)) })
	}
}

func BenchmarkProducerConsumer(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides(b, false, producerConsumer[[8]uint64]) })
	b.Run("size=1024", func(b *testing.B) { benchSides(b, false, producerConsumer[[128]uint64]) })
}

func BenchmarkExchange(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides(b, true, exchange[[8]uint64]) })
	b.Run("size=1024", func(b *testing.B) { benchSides(b, true, exchange[[128]uint64]) })
}

// BenchmarkChurn/<config>/{base,warm} is the library with its changes to
// retirement off and on: what counts is slow/round and releases/round, and the
// times only as medians over several builds (examples/churn has the table).
func BenchmarkChurn(b *testing.B) {
	benchChurn[[64]byte](b, "64B-single-page", 1)
	benchChurn[[16]byte](b, "16B-multi-page", 8)
	benchChurn[[64]byte](b, "64B-multi-page", 8)
	benchChurn[[16]byte](b, "16B-2-pages", 2)
	benchChurn[[64]byte](b, "64B-2-pages", 2)
	benchChurn[[16]byte](b, "16B-4-pages", 4)
	benchChurn[[64]byte](b, "64B-4-pages", 4)
	benchChurn[[1024]byte](b, "1024B-control", 4)
}

func benchChurn[T any](b *testing.B, config string, pages int) {
	for _, name := range []string{"base", "warm"} {
		b.Run(config+"/"+name, func(b *testing.B) {
			oneP(b)
			hook.NoWarmPages.Store(name == "base")
			p := New[T]()
			hook.NoWarmPages.Store(false)
			xs := make([]*T, pages*p.Stats().SlotsPerPage)
			order := orders(len(xs))["first-in"]
			for range 3 {
				churn(p, xs, order)
			}
			before := p.Stats()
			rounds := 0
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(xs) {
				churn(p, xs, order)
				rounds++
			}
			b.StopTimer()
			after := p.Stats()
			b.ReportMetric(float64(after.SlowGets-before.SlowGets)/float64(rounds), "slow/round")
			b.ReportMetric(float64(after.Releases-before.Releases)/float64(rounds), "releases/round")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
