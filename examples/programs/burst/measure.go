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
	"github.com/warmpage/pool/examples/programs/internal/pace"
	"github.com/warmpage/pool/examples/programs/internal/process"
)

// A side is one of the two sources of objects.
type side string

const (
	thisPool side = "this pool"
	syncPool side = "sync.Pool"
)

// A plan says what one side has to do.
type plan struct {
	Side    side
	Objects int
	Bursts  int
	Lead    time.Duration // pause before the first burst
	Pause   time.Duration // pause between bursts
	Settle  time.Duration // how long to watch memory after the last Put
	Period  time.Duration // time between regular samples
	GC      time.Duration // time between calls of runtime.GC; 0: leave collections to the runtime
}

// payload returns the size of the objects of a burst in bytes, without any overhead.
func (p plan) payload() int64 { return int64(p.Objects) * objectSize }

const objectSize = 64

type object [objectSize / 8]uint64

// A moment is the reason for a sample.
type moment string

const (
	atStart moment = "start"
	atBurst moment = "burst" // just before a burst begins
	allOut  moment = "all out"
	allBack moment = "all back"
	atEnd   moment = "end"
	between moment = "" // a regular sample
)

// A sample is what a process holds at one point in time.
type sample struct {
	At     time.Duration // since the start
	Moment moment
	Burst  int // the burst that the sample belongs to or follows, from 1; 0 before the first

	Resident int64 // bytes
	Known    bool  // whether Resident comes from the system; if not, it is what the allocator says it holds

	Pool   pool.Stats // empty for sync.Pool
	Memory pool.Memory
	GoHeap goHeap
}

// goHeap is what the Go runtime says about the memory of the Go heap.
type goHeap struct {
	Objects  int64 // bytes of objects that are live or not collected yet
	Idle     int64 // resident bytes that hold no object
	Released int64 // bytes given back to the system
	Cycles   int64
}

// totals are counts over a whole phase.
type totals struct {
	Mallocs uint64
	Cycles  uint32
	Pause   time.Duration
}

// An allocator is the implementation of a side.
type allocator struct {
	get   func() *object // returns a zeroed object
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
				*o = object{} // the pool returns it zeroed too
				return o
			},
			put:   func(o *object) { p.Put(o) },
			stats: func() pool.Stats { return pool.Stats{} },
			close: func() error { return nil },
		}, nil
	}
	return allocator{}, fmt.Errorf("unknown side %q", s)
}

// A message is what a child sends. It has exactly one of these fields.
type message struct {
	Sample *sample `json:",omitempty"`
	Totals *totals `json:",omitempty"` // the last message has this
}

// work is measure in a child.
func work(ctx context.Context, p plan, send func(message) error) error {
	t, err := measure(ctx, p, func(s sample) error { return send(message{Sample: &s}) })
	if err != nil {
		return err
	}
	return send(message{Totals: &t})
}

// measure does the bursts of one side and passes each sample to emit, one at a time, in order. It
// stops early, with an error, when ctx ends or emit fails.
func measure(ctx context.Context, p plan, emit func(sample) error) (totals, error) {
	a, err := newAllocator(p.Side)
	if err != nil {
		return totals{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// The pointers belong to the program, not to the allocator. They are resident before the start,
	// and until the end.
	xs := make([]*object, p.Objects)
	clear(xs)
	debug.FreeOSMemory()
	before := readTotals()

	r := &recorder{start: time.Now(), side: p.Side, allocator: a, emit: emit, fail: cancel}
	r.sample(atStart, 0)
	stopSamples := pace.Every(p.Period, func() { r.sample(between, 0) })
	stopGC := pace.Every(p.GC, runtime.GC)
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

// bursts does the bursts and the pauses, and takes a sample at each moment.
func bursts(ctx context.Context, p plan, a allocator, xs []*object, r *recorder) error {
	if err := pace.Sleep(ctx, p.Lead); err != nil {
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
		if err := pace.Sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// getAll fills xs with objects and writes to each of them. It stops early when ctx ends.
func getAll(ctx context.Context, a allocator, xs []*object) {
	const look = 1 << 16 // this many objects take a few milliseconds
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

// putAll puts back what getAll got. It returns an error if an object no longer holds what getAll
// wrote to it: then the allocator has handed it out twice.
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
		xs[i] = nil // so that it does not keep alive what sync.Pool drops
	}
	if changed > 0 {
		return fmt.Errorf("%d objects changed while they were in use: they were handed out twice", changed)
	}
	return nil
}

// A recorder takes samples. It is safe for concurrent use: both the bursts and a ticker use it.
type recorder struct {
	start     time.Time
	side      side
	allocator allocator
	emit      func(sample) error
	fail      func(error)

	mu    sync.Mutex
	burst int // the burst of the last sample; guarded by mu
}

// sample takes a sample and passes it to emit.
func (r *recorder) sample(why moment, burst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == between {
		burst = r.burst
	}
	r.burst = burst
	s := sample{At: time.Since(r.start), Moment: why, Burst: burst}
	s.Resident, s.Known = process.ResidentNow()
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
