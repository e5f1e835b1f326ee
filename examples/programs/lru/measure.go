package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/latency"
	"github.com/warmpage/pool/examples/programs/internal/process"
)

// A side is one of the two ways to build the cache.
type side string

const (
	pooled side = "pool.Pool"
	listed side = "container/list"
)

// A plan says what one side has to do.
type plan struct {
	Side    side
	Entries int
	Shards  int
	Ops     int
	Seed    uint64
	Skew    float64
	Trace   string // file that replaces Seed and Skew; "": generate the trace
	Garbage int    // bytes that each operation allocates in addition
}

// A result is what measuring one side gave.
type result struct {
	Side    side
	Entries int // in the cache at the end

	Workers, Processors int

	Fill    time.Duration // how long the warm-up took
	Ops     int           // Gets
	Hits    int
	Elapsed time.Duration // from the start of the operations until the last worker was done

	P50, P99, P999, Max time.Duration // of one operation

	GC     process.Collections // during the operations
	OneGC  time.Duration       // one runtime.GC() afterwards, with the cache still full
	Before int64               // bytes resident before the cache was made
	After  process.Resident    // resident memory after the operations
}

// resetPeak sets the peak of resident memory to what is resident now. On systems where that is
// impossible, the peak counts from the start of the process.
func resetPeak() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// newSide makes the cache of one side.
func newSide(p plan) (*cache, error) {
	switch p.Side {
	case pooled:
		c, _ := newPooled(p.Entries, p.Shards)
		return c, nil
	case listed:
		return newListed(p.Entries, p.Shards), nil
	}
	return nil, fmt.Errorf("unknown side %q", p.Side)
}

// measure carries out the plan in this process.
func measure(ctx context.Context, p plan) (result, error) {
	procs := runtime.GOMAXPROCS(0)
	r := result{Side: p.Side, Workers: min(procs, p.Shards), Processors: procs}
	t, err := loadTrace(ctx, p)
	if err != nil {
		return r, err
	}
	parts, err := t.split(ctx, p.Shards, r.Workers)
	if err != nil {
		return r, err
	}
	debug.FreeOSMemory() // gives back what loading the trace took
	resetPeak()
	r.Before = process.ReadResident().Now

	c, err := newSide(p)
	if err != nil {
		return r, err
	}
	if r.Fill, err = fill(ctx, c, t, p, r.Workers); err != nil {
		return r, err
	}
	runtime.GC() // so that both sides start at the same point of a GC cycle
	before := process.ReadCollections()
	if err := operate(ctx, c, t, parts, p.Garbage, &r); err != nil {
		return r, err
	}
	r.GC = process.ReadCollections().Since(before)
	r.After = process.ReadResident()
	r.Entries = c.Len()
	r.OneGC = timeGC()
	runtime.KeepAlive(parts)
	return r, c.Close()
}

// timeGC returns how long a collection takes. It runs another one first, to finish what the
// operations have left to do.
func timeGC() time.Duration {
	runtime.GC()
	start := time.Now()
	runtime.GC()
	return time.Since(start)
}

// fill puts the keys of the warm-up into c. Each worker puts the keys of its own shards. fill
// returns how long that took.
func fill(ctx context.Context, c *cache, t *trace, p plan, workers int) (time.Duration, error) {
	start := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			n := 0
			for id := range t.warmUp(p) {
				if n++; n%look == 0 && ctx.Err() != nil {
					return
				}
				if t.owner(id, p.Shards, workers) == w {
					k := t.key(id)
					c.Put(k, valueOf(k))
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start), ctx.Err()
}

// operate runs the workers and stores the results in r.
func operate(ctx context.Context, c *cache, t *trace, parts [][]uint32, garbage int, r *result) error {
	workers := make([]*worker, len(parts))
	for i := range workers {
		workers[i] = &worker{cache: c, trace: t, ids: parts[i], garbage: garbage}
	}
	var wg sync.WaitGroup
	start := time.Now()
	for _, w := range workers {
		wg.Go(func() { w.run(ctx, start) })
	}
	wg.Wait()
	r.Elapsed = time.Since(start)
	if err := ctx.Err(); err != nil {
		return err
	}
	var all latency.Histogram
	wrong := 0
	for _, w := range workers {
		all.Add(w.times)
		r.Hits += w.hits
		wrong += w.wrong
	}
	r.Ops = all.Count()
	r.P50, r.P99, r.P999, r.Max = all.Quantile(0.5), all.Quantile(0.99), all.Quantile(0.999), all.Quantile(1)
	if wrong > 0 {
		return fmt.Errorf("%d of %d hits returned the value of another key", wrong, r.Hits)
	}
	if r.Ops == 0 {
		return errors.New("no operation was measured")
	}
	return nil
}

// A worker goes through its part of the trace. While it runs, no other goroutine uses its fields.
type worker struct {
	cache   *cache
	trace   *trace
	ids     []uint32
	garbage int
	sink    []byte // makes the garbage escape to the heap

	hits, wrong int
	times       latency.Histogram
}

// run does the operations: a Get and, if that misses, a Put. Each lasts from the end of the
// previous one to its own end. That way no time is lost between two operations, wherever the
// collector stops the worker.
func (w *worker) run(ctx context.Context, start time.Time) {
	last := time.Since(start)
	for i, id := range w.ids {
		if i%look == 0 && ctx.Err() != nil {
			return
		}
		k := w.trace.key(id)
		if v, ok := w.cache.Get(k); !ok {
			w.cache.Put(k, valueOf(k))
		} else {
			w.hits++
			if v != valueOf(k) {
				w.wrong++
			}
		}
		if w.garbage > 0 {
			w.sink = make([]byte, w.garbage)
		}
		now := time.Since(start)
		w.times.Record(now - last)
		last = now
	}
}
