package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
)

// A side is what the packets come from.
type side string

const (
	thisPool side = "this pool"
	syncPool side = "sync.Pool"
)

// A plan is what one side has to do.
type plan struct {
	Side    side
	Host    string // an address of this machine
	Readers int    // and as many senders
	Workers int
	Size    int           // of the largest payload
	Rate    int           // packets a second of all senders together; 0: as fast as they can
	WarmUp  time.Duration // of sending that is not measured
	Time    time.Duration // of sending that is
	GC      time.Duration // from one runtime.GC to the next; 0: none but the runtime's own
}

// A result is what the measured phase of one side came to.
type result struct {
	Plan    plan
	Counts  counts
	Elapsed time.Duration // from the first packet sent to the last one parsed
	Mallocs uint64        // of the whole process
	Cycles  uint32
	Pause   time.Duration
	Mapped  int64 // address space of the pool's slots; 0 for sync.Pool
}

// A store is one of the two sides at work.
type store struct {
	get    func() *packet // not zeroed: what is read goes over what was there
	put    func(*packet)
	mapped func() int64
	close  func() error
}

// queuePages is how many pages the packets of a full queue take. The queue may run
// full at any time and be empty for seconds before and after; without these, pages
// would be released and taken again meanwhile, for an allocation or two each.
const queuePages = queueSize*int(unsafe.Sizeof(packet{}))/(64<<10) + 2

func newStore(s side) (store, error) {
	switch s {
	case thisPool:
		p := pool.New[packet](pool.WithName("packets"), pool.WithWarmPages(queuePages))
		mapped := func() int64 { return p.Stats().MappedBytes }
		return store{get: p.GetNoZero, put: p.Put, mapped: mapped, close: p.Close}, nil
	case syncPool:
		p := &sync.Pool{New: func() any { return new(packet) }}
		return store{
			get:    func() *packet { return p.Get().(*packet) },
			put:    func(x *packet) { p.Put(x) },
			mapped: func() int64 { return 0 },
			close:  func() error { return nil },
		}, nil
	}
	return store{}, fmt.Errorf("no side %q", s)
}

// measure has one side at work: first to warm up, then for the record.
func measure(ctx context.Context, p plan) (result, error) {
	s, err := newStore(p.Side)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f, err := newFlow(p, s, cancel)
	if err != nil {
		return result{}, err
	}
	r, err := f.record(ctx, p)
	if closeErr := f.close(); err == nil {
		err = closeErr
	}
	if cause := context.Cause(ctx); cause != nil {
		return result{}, cause // rather than that it was the context
	}
	if err != nil {
		return result{}, err
	}
	return r, s.close() // says so if a slot was not put back
}

// record is measure between the opening of the sockets and their closing.
func (f *flow) record(ctx context.Context, p plan) (result, error) {
	stopGC := func() {}
	if p.GC > 0 {
		stopGC = every(p.GC, runtime.GC)
	}
	defer stopGC()
	if _, err := f.phase(ctx, p, 1, p.WarmUp); err != nil {
		return result{}, err
	}
	r := result{Plan: p}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	var err error
	r.Counts, err = f.phase(ctx, p, 2, p.Time)
	r.Elapsed = time.Since(start)
	runtime.ReadMemStats(&after)
	r.Mallocs = after.Mallocs - before.Mallocs
	r.Cycles = after.NumGC - before.NumGC
	r.Pause = time.Duration(after.PauseTotalNs - before.PauseTotalNs)
	r.Mapped = f.store.mapped()
	return r, err
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
