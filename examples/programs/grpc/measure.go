package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/process"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// A side is where buffers come from.
type side string

const (
	byDefault side = "default" // gRPC's own pool
	onHeap    side = "Bytes"
	offHeap   side = "Bytes, off heap"
	noPool    side = "no pool"
)

var sides = []side{byDefault, onHeap, offHeap, noPool}

// A plan is what a child has to do.
type plan struct {
	Side     side
	Streams  int
	Messages int
	Idle     time.Duration
}

// A result is what it has measured. Client and server are one process.
type result struct {
	Side        side
	Took, CPU   time.Duration // of all messages; CPU 0: unknown
	Allocations float64       // a message
	Bytes       float64       // a message
	Collections uint32
	After       state // the last message
	Idle        state
	Gets        uint64 // from the Bytes
	Unput       int    // in use at the end, or lost
}

// A state is what the process holds.
type state struct {
	Resident int64 // 0: unknown
	Held     int64 // objects of the Go heap that were not swept yet, and what the Bytes has off it
}

// measure sets gRPC's default pool, so it is for a process of its own, a child.
func measure(ctx context.Context, p plan) (result, error) {
	r := result{Side: p.Side}
	b, err := p.Side.install()
	if err != nil {
		return r, err
	}
	c, err := connect()
	if err != nil {
		return r, err
	}
	if err := c.run(ctx, p.Streams, p.Messages/10); err != nil { // to be warm
		return r, err
	}
	before, cpu, start := memStats(), process.CPU(), time.Now()
	if err := c.run(ctx, p.Streams, p.Messages); err != nil {
		return r, err
	}
	r.Took, r.CPU = time.Since(start), process.CPU()-cpu
	after := memStats()
	r.Allocations = float64(after.Mallocs-before.Mallocs) / float64(p.Messages)
	r.Bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(p.Messages)
	r.Collections = after.NumGC - before.NumGC
	r.After = stateOf(b)
	if err := rest(ctx, p.Idle); err != nil {
		return r, err
	}
	r.Idle = stateOf(b)
	if err := c.close(); err != nil {
		return r, err
	}
	if b != nil {
		st := b.Stats()
		r.Gets, r.Unput = st.Gets, st.Live+int(st.Lost)
	}
	return r, nil
}

// install makes gRPC use the side's buffers. It returns the Bytes that they come from, nil if they do
// not.
func (s side) install() (*pool.Bytes, error) {
	switch s {
	case byDefault:
		return nil, nil
	case noPool:
		experimental.SetDefaultBufferPool(mem.NopBufferPool{})
		return nil, nil
	case onHeap, offHeap:
		opts := []pool.Option{pool.WithName("grpc")}
		if s == offHeap {
			opts = append(opts, pool.WithOffHeap())
		}
		b := pool.NewBytes(opts...)
		experimental.SetDefaultBufferPool(newBufferPool(b))
		return b, nil
	}
	return nil, fmt.Errorf("no side %q", s)
}

// rest is idle, with a collection in each second, as in a program that does other things.
func rest(ctx context.Context, d time.Duration) error {
	end := time.After(d)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			runtime.GC()
		case <-end:
			return nil
		}
	}
}

func stateOf(b *pool.Bytes) state {
	st := state{Held: int64(memStats().HeapAlloc)}
	st.Resident, _ = process.ResidentNow()
	if b != nil {
		st.Held += pool.ReadMemory().Committed // of pages off the Go heap
	}
	return st
}

func memStats() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}
