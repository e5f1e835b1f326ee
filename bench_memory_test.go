package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkResident is resident memory by the kernel's count, and no time:
//
//	go test -run '^$' -bench Resident -benchtime 1x .
//
// MiB-above-start is what the process has more than before the first Get, with
// nothing done to the Go heap in between.
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
					for !empty.Load() { // keeps its P, so that the Puts are on the other
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

// residentAfter reports what is left of use's objects, after Trim or 5 s without
// a call.
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
		b.Error("slots are out")
	}
	runtime.KeepAlive(xs)
	b.ReportMetric(0, "ns/op")
}

// clearSlowly writes all of xs, so that its memory is resident from the start.
func clearSlowly(xs []*obj64) {
	x := new(obj64)
	for k := range xs {
		xs[k] = x
	}
	clear(xs)
}

// BenchmarkSteady is churn over a number of pages for as long as -benchtime says:
//
//	go test -run '^$' -bench Steady -benchtime 10s -cpu 1 .
//
// What it reports is what has happened after the first tenth of a second. On one
// P: a goroutine that moves to another one takes new pages there, and those that
// it has left are released.
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

// resident returns the bytes of memory that the process has, garbage apart.
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
