package pool

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkBound compares sides in turn, in slices of some 100 microseconds, or of some milliseconds
// where goroutines wait for each other. It reports the 10th percentile of each side's nanoseconds for
// a Get and a Put, and the ratio of the second side to the first. Run it with -benchtime 1x.
//
//   - Put: a pool with WithMaxSlots, for which nobody waits, to one without.
//   - GetContext: with free slots, to a semaphore (a channel of as many places) and a sync.Pool.
//   - waiting: the same by 64 goroutines for 10 slots.
func BenchmarkBound(b *testing.B) {
	ctx := context.Background()
	free, bounded := New[obj64](), New[obj64](WithMaxSlots(1000))
	permits := make(chan struct{}, 1000)
	objects := sync.Pool{New: func() any { return new(obj64) }}
	few, fewPermits := New[obj64](WithMaxSlots(10)), make(chan struct{}, 10)

	acquire := func(permits chan struct{}) {
		select {
		case permits <- struct{}{}:
		case <-ctx.Done():
		}
	}
	byChannel := func(permits chan struct{}) func() {
		return func() {
			acquire(permits)
			x := objects.Get().(*obj64)
			clear(x[:])
			objects.Put(x)
			<-permits
		}
	}
	byPool := func(p *Pool[obj64]) func() {
		return func() {
			x, err := p.GetContext(ctx)
			if err != nil {
				panic(err)
			}
			p.Put(x)
		}
	}
	b.Run("Put", func(b *testing.B) {
		inTurn(b, 400, 10_000,
			func(n int) {
				for range n {
					free.Put(free.Get())
				}
			},
			func(n int) {
				for range n {
					bounded.Put(bounded.Get())
				}
			})
	})
	b.Run("GetContext", func(b *testing.B) {
		inTurn(b, 400, 2000, alone(byChannel(permits)), alone(byPool(bounded)))
	})
	b.Run("waiting", func(b *testing.B) {
		inTurn(b, 200, 64*100, by64(byChannel(fewPermits)), by64(byPool(few)))
	})
	for _, p := range []*Pool[obj64]{free, bounded, few} {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
}

// alone returns a function that calls f n times.
func alone(f func()) func(n int) {
	return func(n int) {
		for range n {
			f()
		}
	}
}

// by64 returns a function that has 64 goroutines call f n times together. Each yields after a call,
// or one would do all of its calls before another one begins.
func by64(f func()) func(n int) {
	return func(n int) {
		var g group
		for range 64 {
			g.Go(func() {
				for range n / 64 {
					f()
					runtime.Gosched()
				}
			})
		}
		g.Wait()
	}
}

// inTurn runs the sides in turn, so many slices of n operations each.
func inTurn(b *testing.B, slicesEach, n int, sides ...func(n int)) {
	times := make([][]float64, len(sides))
	for range b.N * slicesEach {
		for k, side := range sides {
			begun := time.Now()
			side(n)
			times[k] = append(times[k], float64(time.Since(begun))/float64(n))
		}
	}
	for k := range times {
		slices.Sort(times[k])
	}
	first, last := times[0][len(times[0])/10], times[len(times)-1][len(times[0])/10]
	b.ReportMetric(first, "ns/first")
	b.ReportMetric(last, "ns/second")
	b.ReportMetric(last/first, "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkManyWait reports how long GetContext waits, if 1,000 goroutines want 10 slots. Each holds a
// slot for some 10 microseconds of work. Run it with -benchtime 1x.
func BenchmarkManyWait(b *testing.B) {
	const goroutines, rounds = 1000, 50
	p := New[obj64](WithMaxSlots(10))
	work := idleFor(func() { _ = p.Live() })
	var mu sync.Mutex
	var waits []time.Duration
	for range b.N {
		var g group
		for range goroutines {
			g.Go(func() {
				var own []time.Duration
				for range rounds {
					begun := time.Now()
					x, err := p.GetContext(context.Background())
					if err != nil {
						panic(err)
					}
					own = append(own, time.Since(begun))
					for range 100 {
						work()
					}
					runtime.Gosched()
					p.Put(x)
				}
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, own...)
			})
		}
		g.Wait()
	}
	slices.Sort(waits)
	median := waits[len(waits)/2]
	b.ReportMetric(float64(median.Microseconds()), "µs-median")
	b.ReportMetric(float64(waits[len(waits)*99/100])/float64(median), "p99/median")
	b.ReportMetric(float64(waits[len(waits)-1])/float64(median), "worst/median")
	b.ReportMetric(0, "ns/op")
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkLive measures Live and Stats with a million slots of 64 bytes in use.
func BenchmarkLive(b *testing.B) {
	p := New[obj64]()
	simBatch(p, 1_000_000)
	b.Run("Live", func(b *testing.B) {
		for range b.N {
			p.Live()
		}
	})
	b.Run("Stats", func(b *testing.B) {
		for range b.N {
			p.Stats()
		}
	})
	p.Clear()
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkClear measures what it takes to end 10 million objects of 64 bytes: by Clear, without Refs
// and with a Ref of each, and by PutBatch. Run it with -benchtime 3x.
func BenchmarkClear(b *testing.B) {
	p := New[obj64]()
	xs := make([]*obj64, manyObjects)
	for _, side := range []struct {
		name string
		refs bool
		end  func()
	}{
		{"Clear", false, p.Clear},
		{"PutBatch", false, func() { p.PutBatch(xs) }},
		{"Clear Refs", true, p.Clear},
	} {
		b.Run(side.name, func(b *testing.B) {
			var took time.Duration
			for range b.N {
				p.GetBatch(xs)
				if side.refs {
					for _, x := range xs {
						p.Ref(x)
					}
				}
				begun := time.Now()
				side.end()
				took += time.Since(begun)
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkPutRefs compares PutRefs of 64 Refs to as many calls of PutRef, in turn. It reports the
// nanoseconds of a Get, a Ref and its Put. Run it with -benchtime 1x.
func BenchmarkPutRefs(b *testing.B) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		b.Run(name, func(b *testing.B) {
			p := New[obj64](opts...)
			refs := make([]Ref[obj64], 64)
			fill := func() {
				for k := range refs {
					refs[k], _ = p.GetRef()
				}
			}
			inTurn(b, 400, 64*100,
				func(n int) {
					for range n / len(refs) {
						fill()
						for _, r := range refs {
							p.PutRef(r)
						}
					}
				},
				func(n int) {
					for range n / len(refs) {
						fill()
						p.PutRefs(refs)
					}
				})
		})
	}
}
