package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warmpage/pool/internal/hook"
)

type obj64 [8]uint64

// BenchmarkPair is a quick look at one Get+Put pair. For figures to quote, benchmarks/ runs several
// processes, layouts and workloads, with the sides in turn.
func BenchmarkPair(b *testing.B) {
	p := New[obj64]()
	std := sync.Pool{New: func() any { return new(obj64) }}
	xs := make([]*obj64, 64)
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			x := p.Get()
			x[0] = 1
			p.Put(x)
		}
	})
	b.Run("GetNoZero", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			x := p.GetNoZero()
			x[0] = 1
			p.Put(x)
		}
	})
	b.Run("Get/Refs", func(b *testing.B) { // of other slots
		refs := New[obj64]()
		refs.Ref(refs.Get())
		b.ReportAllocs()
		for range b.N {
			x := refs.Get()
			x[0] = 1
			refs.Put(x)
		}
	})
	b.Run("GetBatch", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += len(xs) {
			p.GetBatch(xs)
			p.PutBatch(xs)
		}
	})
	b.Run("Ref", func(b *testing.B) {
		refs := New[obj64]()
		b.ReportAllocs()
		for range b.N {
			r := refs.Ref(refs.Get())
			refs.Deref(r)[0] = 1
			refs.PutRef(r)
		}
	})
	b.Run("sync.Pool", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			x := std.Get().(*obj64)
			*x = obj64{}
			x[0] = 1
			std.Put(x)
		}
	})
}

// BenchmarkChurn/<config>/{base,warm} compares the library without promotion and with it. Look at
// slow/round and releases/round. The times mean something only as medians over several builds
// (examples/programs/churn has the table).
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
			if name == "base" {
				hook.Promotion.Store(hook.None)
			}
			p := New[T]()
			hook.Promotion.Store(hook.Reset)
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

// BenchmarkResident measures resident memory, as the kernel counts it, and no times:
//
//	go test -run '^$' -bench Resident -benchtime 1x .
//
// MiB-above-start is how much more memory the process has than before the first Get. Nothing is
// done to the Go heap in between.
func BenchmarkResident(b *testing.B) {
	b.Run("pools=1000", func(b *testing.B) {
		before := resident(b)
		pools := make([]*Pool[obj64], 1000)
		for i := range pools {
			pools[i] = New[obj64]()
			pools[i].Get()
		}
		b.ReportMetric(float64(resident(b)-before)/1000/1024, "KiB/pool")
		runtime.KeepAlive(pools)
		b.ReportMetric(0, "ns/op")
	})
	b.Run("objects=10M/live", func(b *testing.B) {
		p := New[obj64]()
		before := resident(b)
		for range manyObjects {
			p.Get()[7] = 1
		}
		b.ReportMetric(float64(resident(b)-before)/(manyObjects*64), "resident/payload")
		start := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/GC")
		runtime.KeepAlive(p)
		b.ReportMetric(0, "ns/op")
	})
	for _, how := range []string{"Trim", "5s"} {
		b.Run("objects=10M/one-P/"+how, func(b *testing.B) {
			residentAfter(b, how, func(p *Pool[obj64], xs []*obj64) {
				fillTouched(p, xs)
				for _, x := range xs {
					p.Put(x)
				}
			})
		})
		b.Run("objects=10M/two-Ps/"+how, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
			residentAfter(b, how, func(p *Pool[obj64], xs []*obj64) {
				full, empty := make(chan bool), new(atomic.Bool)
				go func() {
					fillTouched(p, xs)
					close(full)
					for !empty.Load() { // keeps this P, so that the Puts run on the other one
					}
				}()
				<-full
				for _, x := range xs {
					p.Put(x)
				}
				empty.Store(true)
			})
		})
	}
	b.Run("objects=10M/fragmented", func(b *testing.B) {
		p := New[obj64]()
		xs := make([]*obj64, manyObjects)
		before := resident(b)
		fillTouched(p, xs)
		rand.Shuffle(len(xs), func(i, k int) { xs[i], xs[k] = xs[k], xs[i] })
		pages := p.Stats().Pages
		live := len(xs) / 10
		for _, x := range xs[live:] {
			p.Put(x)
		}
		p.Trim()
		b.ReportMetric(float64(resident(b)-before)/float64(live*64), "resident/payload")
		b.ReportMetric(float64(pages), "pages")
		b.ReportMetric(float64(pages-p.Stats().Pages), "pages-freed")
		runtime.KeepAlive(xs)
		b.ReportMetric(0, "ns/op")
	})
}

const manyObjects = 10_000_000

func fillTouched(p *Pool[obj64], xs []*obj64) {
	for k := range xs {
		xs[k] = p.Get()
		xs[k][7] = 1
	}
}

// residentAfter reports how much memory is left after use has put its objects, and then after Trim
// or 5 s without a call.
func residentAfter(b *testing.B, how string, use func(*Pool[obj64], []*obj64)) {
	p := New[obj64]()
	xs := make([]*obj64, manyObjects)
	clearSlowly(xs)
	before := resident(b)
	use(p, xs)
	if used := residentNow(b) - before; how == "Trim" {
		b.ReportMetric(float64(used)/(1<<20), "MiB-before")
		start := time.Now()
		p.Trim()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/Trim")
	} else {
		time.Sleep(5 * time.Second)
	}
	b.ReportMetric(float64(residentNow(b)-before)/(1<<20), "MiB-above-start")
	if p.Stats().Live != 0 {
		b.Error("slots are in use")
	}
	runtime.KeepAlive(xs)
	b.ReportMetric(0, "ns/op")
}

// clearSlowly writes to all of xs, so that its memory is resident from the start.
func clearSlowly(xs []*obj64) {
	x := new(obj64)
	for k := range xs {
		xs[k] = x
	}
	clear(xs)
}

// BenchmarkSteady fills and empties a number of pages for as long as -benchtime says:
//
//	go test -run '^$' -bench Steady -benchtime 10s -cpu 1 .
//
// It reports what happens after the first tenth of a second. It runs on one P, because a goroutine
// that moves to another P takes new pages there, and those that it has left are released.
func BenchmarkSteady(b *testing.B) {
	for _, pages := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("pages=%d", pages), func(b *testing.B) {
			p := New[obj64]()
			xs := make([]*obj64, pages*p.Stats().SlotsPerPage)
			order := orders(len(xs))["first-in"]
			for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
				churn(p, xs, order)
			}
			before, memory := p.Stats(), ReadMemory()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(xs) {
				churn(p, xs, order)
			}
			b.StopTimer()
			after := p.Stats()
			b.ReportMetric(float64(after.SlowGets-before.SlowGets), "slow")
			b.ReportMetric(float64(after.Releases-before.Releases), "releases")
			b.ReportMetric(float64(after.PurgedBytes-before.PurgedBytes), "purged-B")
			b.ReportMetric(float64(ReadMemory().SystemCalls-memory.SystemCalls), "syscalls")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// resident returns the bytes of memory that the process has, without garbage.
func resident(b *testing.B) int {
	debug.FreeOSMemory()
	return residentNow(b)
}

// residentNow returns the bytes of memory that the process has.
func residentNow(b *testing.B) int {
	var size, rss int
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("needs Linux: ", err)
	}
	if _, err := fmt.Sscan(string(statm), &size, &rss); err != nil {
		b.Fatal(err)
	}
	return rss * os.Getpagesize()
}

// BenchmarkProfileCost measures what the profile costs at its default rate. It reports the ratio of
// the time with the profile to that without: the median over pairs of new pools, and the quartiles
// below and above it. The two pools of a pair take turns, so that they run the same code at much
// the same time.
//
//	go test -run '^$' -bench ProfileCost -benchtime 200x .
func BenchmarkProfileCost(b *testing.B) {
	benchProfileCost[[64]byte](b, "64B")
	benchProfileCost[[1024]byte](b, "1KiB")
}

func benchProfileCost[T any](b *testing.B, size string) {
	xs := make([]*T, 1024)
	workloads := []struct {
		name string
		run  func(p *Pool[T])
	}{
		{"ping-pong", func(p *Pool[T]) {
			for range 4096 {
				p.Put(p.Get())
			}
		}},
		{"churn", func(p *Pool[T]) {
			for range 4 {
				for i := range xs {
					xs[i] = p.Get()
				}
				for _, x := range xs {
					p.Put(x)
				}
			}
		}},
		{"window", func(p *Pool[T]) {
			w := xs[:64]
			p.GetBatch(w)
			for i := range 4096 {
				p.Put(w[i%64])
				w[i%64] = p.Get()
			}
			p.PutBatch(w)
		}},
		{"batch", func(p *Pool[T]) {
			for range 64 {
				p.GetBatch(xs[:64])
				p.PutBatch(xs[:64])
			}
		}},
	}
	for _, w := range workloads {
		b.Run(size+"/"+w.name, func(b *testing.B) {
			var ratios []float64
			for k := range b.N {
				sides := [2]*Pool[T]{}
				for i := range sides {
					i := (i + k) % 2 // so that each side's memory comes first in half of the pairs
					sides[i] = New[T](WithProfile(i * DefaultProfileRate))
					w.run(sides[i])
				}
				var times [2]time.Duration
				for range 100 {
					for i, p := range sides {
						start := time.Now()
						w.run(p)
						times[i] += time.Since(start)
					}
				}
				ratios = append(ratios, float64(times[1])/float64(times[0]))
				for _, p := range sides {
					if err := p.Close(); err != nil {
						b.Fatal(err)
					}
				}
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(ratios[len(ratios)/4], "lower")
			b.ReportMetric(ratios[len(ratios)*3/4], "upper")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkDeref reads one word of each object, in random order: by a Ref, by a pointer to the
// slot, and by a map from a number to that pointer.
//
//	go test -run '^$' -bench Deref .
func BenchmarkDeref(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"objects=1k", 1 << 10}, {"objects=1M", 1 << 20}} {
		n := size.n
		p := New[obj64]()
		pointers := simBatch(p, n)
		rand.Shuffle(n, func(i, k int) { pointers[i], pointers[k] = pointers[k], pointers[i] })
		handles := make([]Ref[obj64], n)
		byNumber := make(map[uint64]*obj64, n)
		for k, x := range pointers {
			handles[k] = p.Ref(x)
			byNumber[uint64(k)] = x
		}
		var sum uint64
		b.Run(size.name+"/Ref", func(b *testing.B) {
			for i := range b.N {
				sum += p.Deref(handles[i%n])[0]
			}
		})
		b.Run(size.name+"/pointer", func(b *testing.B) {
			for i := range b.N {
				sum += pointers[i%n][0]
			}
		})
		b.Run(size.name+"/map", func(b *testing.B) {
			for i := range b.N {
				sum += byNumber[uint64(i*7919)%uint64(n)][0]
			}
		})
		p.PutBatch(pointers)
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		runtime.KeepAlive(sum)
	}
}

// BenchmarkGC measures runtime.GC with 10 million live objects of 64 bytes: in a pool, held by
// Refs, and on the heap, held by pointers. It also reports how much memory the Refs and their
// objects take.
//
//	go test -run '^$' -bench 'GC$' -benchtime 1x .
func BenchmarkGC(b *testing.B) {
	var refs, heap float64
	b.Run("Refs", func(b *testing.B) {
		p := New[obj64]()
		handles := make([]Ref[obj64], manyObjects)
		for k := range handles {
			handles[k] = Ref[obj64]{1} // resident from the start
		}
		before := resident(b)
		for k := range handles {
			x := p.Get()
			x[7] = 1
			handles[k] = p.Ref(x)
		}
		b.ReportMetric(float64(resident(b)-before)/manyObjects, "B/object")
		refs = collectMillis()
		b.ReportMetric(refs, "ms/GC")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(handles)
		for _, r := range handles {
			p.PutRef(r)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("heap", func(b *testing.B) {
		xs := make([]*obj64, manyObjects)
		for k := range xs {
			xs[k] = new(obj64)
		}
		heap = collectMillis()
		b.ReportMetric(heap, "ms/GC")
		b.ReportMetric(heap/refs, "heap/Refs")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(xs)
	})
}

// collectMillis returns the time of the fastest of several collections, in milliseconds. Other
// programs on the machine only add to the time.
func collectMillis() float64 {
	least := time.Hour
	for range 10 {
		start := time.Now()
		runtime.GC()
		least = min(least, time.Since(start))
	}
	return float64(least.Microseconds()) / 1000
}

// pageOf for the addresses of many pages, in the order of the addresses and in random order.
func BenchmarkPageOf(b *testing.B) {
	p := New[[64]byte]()
	xs := make([]*[64]byte, 1<<20)
	p.GetBatch(xs)
	for _, order := range []string{"one", "ordered", "random"} {
		b.Run(order, func(b *testing.B) {
			at := func(i int) int { return 0 }
			switch order {
			case "ordered":
				at = func(i int) int { return i % len(xs) }
			case "random":
				at = func(i int) int { return i * 7919 * 31 % len(xs) }
			}
			var sum uintptr
			for i := range b.N {
				sum += uintptr(pageOf(address(xs[at(i)])).stride)
			}
			if sum == 0 {
				b.Fail()
			}
		})
	}
	p.PutBatch(xs)
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}

// BenchmarkAtBound reports what is left of a worker's speed while 64 goroutines call TryGet in a
// loop on a pool that is at its limit: as a percentage of its speed while they do nothing with the
// pool, for as long each time. So what the 64 take of the processors counts for nothing, and what
// they hold up counts. Both yield after each round: otherwise the worker waits for most of the time
// until it is its turn. Run it with -benchtime 1x.
//
// The worker does pairs of a Get and a Put on another pool, or pairs of a Put and a Get on the same
// one: then there is a free slot for a moment in each pair, and the others take it where they can.
func BenchmarkAtBound(b *testing.B) {
	for k, name := range []string{"another pool", "same pool", "another pool, no barrier", "same pool, no barrier"} {
		same, refused := k%2 == 1, k >= 2
		b.Run(name, func(b *testing.B) {
			const slice, rounds = 20 * time.Millisecond, 60
			if refused {
				before := system.Load()
				defer system.Store(before)
				refusing := *before
				refusing.barrier = func() bool { return false }
				system.Store(&refusing)
			}
			p, other := New[obj64](WithLimit(1<<16)), New[obj64]()
			var xs []*obj64
			for x, err := p.TryGet(); err == nil; x, err = p.TryGet() {
				xs = append(xs, x)
			}
			idle := idleFor(func() { p.TryGet() })
			var end, atBound atomic.Bool
			var tries, gets atomic.Int64
			var neighbours group
			for range 64 {
				neighbours.Go(func() {
					for !end.Load() {
						if !atBound.Load() {
							idle()
						} else if x, err := p.TryGet(); err == nil {
							gets.Add(1)
							p.Put(x)
						} else {
							tries.Add(1)
						}
						runtime.Gosched()
					}
				})
			}
			var speeds [2][]float64
			var waits int
			searches := p.core.searches.begun.Load()
			for range b.N {
				for k := range 2 * rounds {
					atBound.Store(k%2 == 1)
					n := 0
					begun := time.Now()
					for time.Since(begun) < slice {
						for range 100 {
							if same {
								p.Put(xs[0])
								x, err := p.TryGet()
								for ; err != nil; x, err = p.TryGet() {
									waits++
									runtime.Gosched() // one of the neighbours has the slot
								}
								xs[0] = x
							} else {
								other.Put(other.Get())
							}
							n++
						}
					}
					speeds[k%2] = append(speeds[k%2], float64(n)/time.Since(begun).Seconds())
				}
			}
			end.Store(true)
			neighbours.Wait()
			for _, s := range speeds {
				slices.Sort(s)
			}
			b.ReportMetric(100*speeds[1][len(speeds[1])/2]/speeds[0][len(speeds[0])/2], "%speed")
			b.ReportMetric(float64(tries.Load())/float64(b.N), "failed")
			b.ReportMetric(float64(gets.Load())/float64(b.N), "gets")
			b.ReportMetric(float64(p.core.searches.begun.Load()-searches)/float64(b.N), "searches")
			b.ReportMetric(float64(waits)/float64(b.N), "waits")
			b.ReportMetric(0, "ns/op")
			p.PutBatch(xs)
			p.Close()
			other.Close()
		})
	}
}

// idleFor returns a function that takes about as long as f and does nothing.
func idleFor(f func()) func() {
	const calls = 10_000
	work := func(n int) {
		sum := uint64(n)
		for range n {
			sum = sum*6364136223846793005 + 1
		}
		idleSum.Store(sum)
	}
	f()
	begun := time.Now()
	for range calls {
		f()
	}
	want := time.Since(begun)
	begun = time.Now()
	work(10_000_000)
	n := int(10_000_000 * want.Seconds() / time.Since(begun).Seconds() / calls)
	return func() { work(n) }
}

var idleSum atomic.Uint64
