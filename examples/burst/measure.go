package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// A side is what the objects come from.
type side string

const (
	thisPool side = "this pool"
	syncPool side = "sync.Pool"
)

// A plan is what one side has to do.
type plan struct {
	Side    side
	Objects int
	Bursts  int
	Lead    time.Duration // before the first burst
	Pause   time.Duration // between bursts
	Settle  time.Duration // how long memory is watched after the last Put
	Period  time.Duration // of the samples that no event asks for
	GC      time.Duration // from one runtime.GC to the next; 0: none but the runtime's own
}

// payload is what the objects of a burst take, without anything around them.
func (p plan) payload() int64 { return int64(p.Objects) * objectSize }

const objectSize = 64

type object [objectSize / 8]uint64

// A moment is why a sample was taken.
type moment string

const (
	atStart moment = "start"
	atBurst moment = "burst" // is about to begin
	allOut  moment = "all out"
	allBack moment = "all back"
	atEnd   moment = "end"
	between moment = "" // the ticker
)

// A sample is what a process holds at one time.
type sample struct {
	At     time.Duration // since the start
	Moment moment
	Burst  int // that it belongs to or follows, from 1

	Resident int64 // bytes
	Known    bool  // whether the system told Resident; else it is what the allocator says that it holds

	Pool   pool.Stats // of the pool, and nothing of sync.Pool
	Memory pool.Memory
	GoHeap goHeap
}

// goHeap is the part of the Go heap's memory that the Go runtime accounts for.
type goHeap struct {
	Objects  int64 // bytes; live ones and those not collected yet
	Idle     int64 // bytes that hold no object and are resident
	Released int64 // bytes given back to the system
	Cycles   int64
}

// totals are from the start to the end of a phase.
type totals struct {
	Mallocs uint64
	Cycles  uint32
	Pause   time.Duration
}

// An allocator is one of the two sides at work.
type allocator struct {
	get   func() *object // zeroed
	put   func(*object)
	stats func() pool.Stats
	close func() error
}

func newAllocator(s side) (allocator, error) {
	switch s {
	case thisPool:
		p := pool.New[object](pool.WithName("burst"))
		return allocator{get: p.Get, put: p.Put, stats: p.Stats, close: p.Close}, nil
	case syncPool:
		p := sync.Pool{New: func() any { return new(object) }}
		return allocator{
			get: func() *object {
				o := p.Get().(*object)
				*o = object{} // as the other returns it
				return o
			},
			put:   func(o *object) { p.Put(o) },
			stats: func() pool.Stats { return pool.Stats{} },
			close: func() error { return nil },
		}, nil
	}
	return allocator{}, fmt.Errorf("no side %q", s)
}

// measure does the bursts of one side and hands each sample to emit, one at a
// time, in order. It stops early when ctx ends or emit fails.
func measure(ctx context.Context, p plan, emit func(sample) error) (totals, error) {
	a, err := newAllocator(p.Side)
	if err != nil {
		return totals{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// The pointers are the program's, not the allocator's: they are resident before
	// the start, and to the end.
	xs := make([]*object, p.Objects)
	clear(xs)
	debug.FreeOSMemory()
	before := readTotals()

	r := &recorder{start: time.Now(), side: p.Side, allocator: a, emit: emit, fail: cancel}
	r.sample(atStart, 0)
	stopSamples := every(p.Period, func() { r.sample(between, 0) })
	stopGC := func() {}
	if p.GC > 0 {
		stopGC = every(p.GC, runtime.GC)
	}
	err = bursts(ctx, p, a, xs, r)
	stopGC()
	stopSamples()
	runtime.KeepAlive(xs)
	if cause := context.Cause(ctx); cause != nil {
		return totals{}, cause
	}
	if err != nil {
		return totals{}, err
	}
	r.sample(atEnd, p.Bursts)
	after := readTotals()
	return totals{
		Mallocs: after.Mallocs - before.Mallocs,
		Cycles:  after.Cycles - before.Cycles,
		Pause:   after.Pause - before.Pause,
	}, a.close()
}

func readTotals() totals {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return totals{Mallocs: m.Mallocs, Cycles: m.NumGC, Pause: time.Duration(m.PauseTotalNs)}
}

// bursts is all that the program is about, and the pauses.
func bursts(ctx context.Context, p plan, a allocator, xs []*object, r *recorder) error {
	if err := wait(ctx, p.Lead); err != nil {
		return err
	}
	for burst := 1; burst <= p.Bursts; burst++ {
		r.sample(atBurst, burst)
		getAll(ctx, a, xs)
		r.sample(allOut, burst)
		err := putAll(a, xs)
		r.sample(allBack, burst)
		if err != nil {
			return err
		}
		pause := p.Pause
		if burst == p.Bursts {
			pause = p.Settle
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// getAll fills xs with objects and writes to each. When ctx ends it stops early.
func getAll(ctx context.Context, a allocator, xs []*object) {
	const look = 1 << 16 // a few milliseconds
	for i := range xs {
		if i%look == 0 && ctx.Err() != nil {
			return
		}
		o := a.get()
		o[0] = uint64(i)
		o[len(o)-1] = ^uint64(i)
		xs[i] = o
	}
}

// putAll puts back what getAll got. An object that does not hold what was written
// to it has been handed out twice.
func putAll(a allocator, xs []*object) error {
	changed := 0
	for i, o := range xs {
		if o == nil {
			break
		}
		if o[0] != uint64(i) || o[len(o)-1] != ^uint64(i) {
			changed++
		}
		a.put(o)
		xs[i] = nil // or it would keep alive what sync.Pool lets go
	}
	if changed > 0 {
		return fmt.Errorf("%d objects were changed by somebody else while they were out", changed)
	}
	return nil
}

// A recorder takes samples. Both the bursts and the ticker ask for them.
type recorder struct {
	start     time.Time
	side      side
	allocator allocator
	emit      func(sample) error
	fail      func(error)

	mu    sync.Mutex
	burst int // of the last sample; under mu
}

// sample takes one and hands it on.
func (r *recorder) sample(why moment, burst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == between {
		burst = r.burst
	}
	r.burst = burst
	s := sample{At: time.Since(r.start), Moment: why, Burst: burst}
	s.Resident, s.Known = readResident()
	s.Pool, s.Memory, s.GoHeap = r.allocator.stats(), pool.ReadMemory(), readGoHeap()
	switch {
	case s.Known:
	case r.side == thisPool:
		s.Resident = s.Memory.Committed
	default:
		s.Resident = s.GoHeap.Objects + s.GoHeap.Idle
	}
	if err := r.emit(s); err != nil {
		r.fail(err)
	}
}

// every calls f each period, until stop is called.
func every(period time.Duration, f func()) (stop func()) {
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

func readGoHeap() goHeap {
	values := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(values)
	n := func(i int) int64 { return int64(values[i].Value.Uint64()) }
	return goHeap{Objects: n(0), Idle: n(1) + n(2), Released: n(3), Cycles: n(4)}
}
