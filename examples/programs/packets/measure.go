package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/pace"
)

// A side is one of the two sources of packets.
type side string

const (
	thisPool side = "this pool"
	syncPool side = "sync.Pool"
)

// A plan says what one side has to do.
type plan struct {
	Side    side
	Host    string // an address of this machine
	Readers int    // there are as many senders
	Workers int
	Size    int           // largest payload in bytes
	Rate    int           // packets per second, of all senders together; 0: as fast as possible
	WarmUp  time.Duration // how long to send before measuring
	Time    time.Duration // how long to send while measuring
	GC      time.Duration // time between calls of runtime.GC; 0: leave collections to the runtime
}

// A result is what the measured phase of one side gave.
type result struct {
	Plan    plan
	Counts  counts
	Elapsed time.Duration // from the first packet sent to the last one parsed
	Mallocs uint64        // allocations of the whole process
	Cycles  uint32        // collections
	Pause   time.Duration // sum of all pauses
	Mapped  int64         // address space of the pool in bytes; 0 for sync.Pool
}

// A store is the implementation of a side.
type store struct {
	get    func() *packet // not zeroed, because readers overwrite the data
	put    func(*packet)
	mapped func() int64 // address space of the pool in bytes; 0 for sync.Pool
	close  func() error // returns an error if a slot was not put back
}

// queuePages is how many pages the packets of a full queue take. The queue may fill up at any time,
// and be empty for seconds before and after. If the pool did not keep these pages, it would release
// them and take them again in between, for an allocation or two each.
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
	return store{}, fmt.Errorf("unknown side %q", s)
}

// measure carries out p in this process: first a phase to warm up, then the measured one.
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
		return result{}, cause // says more than the error of the context
	}
	if err != nil {
		return result{}, err
	}
	return r, s.close()
}

// record does the part of measure during which the sockets are open.
func (f *flow) record(ctx context.Context, p plan) (result, error) {
	defer pace.Every(p.GC, runtime.GC)()
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
