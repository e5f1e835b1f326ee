package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
	"golang.org/x/sys/unix"
)

// measureGoroutines runs one workload, 64 bytes and zeroed, on more and more
// goroutines.
func measureGoroutines(spec wire.GoroutinesSpec) (wire.Goroutines, error) {
	runtime.GOMAXPROCS(spec.Procs)
	result := wire.Goroutines{NS: make(map[catalog.Side][]float64)}
	w, err := catalog.Find(spec.Workload)
	if err != nil {
		return result, err
	}
	for _, workers := range spec.Goroutines {
		var all []*contender
		for _, s := range wire.GoroutineSides {
			r := makerOf(small(s))(w, workers)
			all = append(all, &contender{side: s, runner: r, n: calibrate(r, spec.Target)})
		}
		runtime.GC()
		for round := range spec.Rounds {
			for i := range all {
				all[(i+round)%len(all)].play()
			}
		}
		for _, c := range all {
			result.NS[c.side] = append(result.NS[c.side], median(c.rounds))
			c.runner.close()
		}
	}
	return result, nil
}

const (
	liveChunk  = 4096      // how many objects a loop gets or puts at a time
	liveRepeat = 2_000_000 // pairs that few objects are got and put for, to be timed
)

// measureLive holds many 64-byte objects at the same time, in a process of its
// own: what is resident, is there for them.
func measureLive(spec wire.LiveSpec) (wire.Live, error) {
	result := wire.Live{Holder: spec.Holder, Objects: spec.Objects}
	l, err := newHolder(spec.Holder)
	if err != nil {
		return result, err
	}
	xs, err := pointers(spec.Objects, spec.Holder == wire.PoolOffHeap)
	if err != nil {
		return result, err
	}
	runtime.GC()
	before, err := resident()
	if err != nil {
		return result, err
	}
	n := float64(len(xs))
	start := time.Now()
	l.GetAll(xs)
	result.FillNS = round(float64(time.Since(start)) / n)
	after, err := resident()
	result.ResidentBytes = round(float64(after-before) / n)
	result.GCMillis = collect()

	putChunks(l, xs) // now each object has been put once: the rounds that follow are warm
	times := max(1, liveRepeat/len(xs))
	start = time.Now()
	var gets time.Duration
	for range times {
		round := time.Now()
		l.GetAll(xs)
		gets += time.Since(round)
		putChunks(l, xs)
	}
	result.WarmGetNS = round(float64(gets) / n / float64(times))
	result.ChurnNS = round(float64(time.Since(start)) / n / float64(times))
	runtime.KeepAlive(xs)
	return result, err
}

// small is s with objects of 64 bytes, zeroed, as in all studies but the comparison.
func small(s catalog.Side) loops.Variant {
	return loops.Variant{Side: s, Size: 64, Mode: catalog.Zeroed}
}

func newHolder(h wire.Holder) (loops.Loops[*loops.Obj64], error) {
	switch h {
	case wire.PoolOffHeap, wire.PoolOnHeap:
		// Its pages are kept, or a round of seconds would measure page faults: what
		// is empty for longer than 0.4 s is released.
		p := pool.New[loops.Obj64](pool.WithWarmPages(1 << 20))
		return loops.New[*loops.Obj64](small(catalog.Pool)).(loops.On[*pool.Pool[loops.Obj64], *loops.Obj64]).On(p), nil
	case wire.SyncHeld:
		return loops.New[*loops.Obj64](small(catalog.SyncPool)), nil
	case wire.HeapOnHeap:
		return loops.New[*loops.Obj64](small(catalog.New)), nil
	}
	return nil, fmt.Errorf("no holder %q", h)
}

// collect returns how many milliseconds a collection takes, the shortest of some: what else runs on
// the machine adds to a short one more than it takes.
func collect() float64 {
	shortest := math.Inf(1)
	for range 9 {
		start := time.Now()
		runtime.GC()
		shortest = min(shortest, time.Since(start).Seconds()*1e3)
	}
	return shortest
}

// putChunks puts all of xs, first in, first out, with an order that stays in the
// cache.
func putChunks[H any](l loops.Loops[H], xs []H) {
	order := indexes(liveChunk, catalog.FIFO)
	for len(xs) > 0 {
		chunk := xs[:min(len(xs), liveChunk)]
		l.PutAll(chunk, order[:len(chunk)])
		xs = xs[len(chunk):]
	}
}

// pointers returns room for n pointers that is resident already. Off the heap, the
// garbage collector sees neither it nor, through it, any object: it is for
// pointers to memory that is not the collector's either.
func pointers(n int, offHeap bool) ([]*loops.Obj64, error) {
	if !offHeap {
		xs := make([]*loops.Obj64, n)
		clear(xs) // fresh from the system, it would not be resident
		return xs, nil
	}
	bytes := n * int(unsafe.Sizeof(uintptr(0)))
	mem, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap of %d bytes: %w", bytes, err)
	}
	return unsafe.Slice((**loops.Obj64)(unsafe.Pointer(&mem[0])), n), nil
}

// resident returns how many bytes of this process are in memory.
func resident() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/self/statm: %q", text)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}
