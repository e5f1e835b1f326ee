package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

// A variant is what the orders of a book live in.
type variant string

const (
	thisPool variant = "this pool"
	goHeap   variant = "new"
)

var variants = []variant{thisPool, goHeap}

// A plan is what one variant has to do.
type plan struct {
	Variant  variant
	CSV      string `json:",omitempty"` // the day is in this file; else it is made up from the rest
	Messages int
	Seed     uint64
	Live     int // orders to be in the book at a time, about
}

// A result is what came of it.
type result struct {
	Outcome  outcome
	Latency  histogram
	Busy     time.Duration // all messages; without what it takes to make them or to read the file
	Wall     time.Duration // with that
	GC       gcTotals      // during Wall
	Stall    time.Duration // the longest in which the machine let nothing run, in some of the time
	FinalGC  time.Duration // a collection with the book as it is in the end
	Resident int64         // bytes, with that book
	Peak     int64
}

// An outcome is what must be the same, whatever the orders live in.
type outcome struct {
	Messages uint64
	Tape     tape
	Standing int // orders in the book in the end
	BookHash uint64
}

// gcTotals is what the Go runtime says of its collections.
type gcTotals struct {
	Cycles uint64
	Pauses time.Duration
	CPU    float64 // seconds
}

// share returns what part of the processor time the collector took. The rest of
// the process is one goroutine that never waits.
func (r result) share() float64 { return r.GC.CPU / (r.GC.CPU + r.Wall.Seconds()) }

func newBook(v variant) (book, error) {
	switch v {
	case thisPool:
		return newPoolBook(), nil
	case goHeap:
		return newPlainBook(), nil
	}
	return nil, fmt.Errorf("no variant %q", v)
}

// open returns the source of the plan, and what closes it.
func (p plan) open() (source, func() error, error) {
	if p.CSV == "" {
		return newDay(p.Seed, p.Messages, p.Live), func() error { return nil }, nil
	}
	f, err := os.Open(p.CSV)
	if err != nil {
		return nil, nil, badInput{err}
	}
	src, err := newCSV(p.CSV, f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return src, f.Close, nil
}

// measure replays the day of p with a new book.
func measure(ctx context.Context, p plan) (r result, err error) {
	b, err := newBook(p.Variant)
	if err != nil {
		return r, err
	}
	src, closeSource, err := p.open()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()

	runtime.GC()
	before, start := readGC(), time.Now()
	r.Busy, err = replay(ctx, src, b, &r.Latency)
	if err != nil {
		return r, err
	}
	if r.Latency.Total == 0 {
		return r, badInput{fmt.Errorf("%s has no messages", p.CSV)}
	}
	r.Wall = time.Since(start)
	r.GC = readGC().since(before)
	r.Resident, r.Peak = readResident()

	runtime.GC() // so that the next one starts with nothing left to sweep
	start = time.Now()
	runtime.GC()
	r.FinalGC = time.Since(start)
	runtime.KeepAlive(src) // is in the memory of either variant to the end

	if err := b.check(); err != nil {
		return r, err
	}
	r.Outcome = outcome{Messages: r.Latency.Total, Tape: *b.log(), BookHash: hashBook(b)}
	for range b.standing() {
		r.Outcome.Standing++
	}
	if err := b.close(); err != nil {
		return r, err
	}
	r.Stall = stall(r.Busy / stallPart)
	return r, nil
}

// stallPart is what part of the replay's time goes to find how long the machine
// stalls a process that does nothing but look at the clock.
const stallPart = 8

// stall returns the longest time between two looks at the clock during d. The
// longest messages can be no shorter on such a machine.
func stall(d time.Duration) (longest time.Duration) {
	start := time.Now()
	for last := time.Duration(0); last < d; {
		now := time.Since(start)
		longest = max(longest, now-last)
		last = now
	}
	return longest
}

// chunkSize messages are made, then replayed. They take 1.5 MiB.
const chunkSize = 1 << 16

// replay has b carry out all that src has, and returns how long that took.
func replay(ctx context.Context, src source, b book, h *histogram) (busy time.Duration, err error) {
	chunk := make([]message, chunkSize)
	for {
		n, err := src.read(chunk)
		if err != nil && !errors.Is(err, io.EOF) {
			return busy, err
		}
		// One look at the clock a message: it ends the one and begins the next.
		var last time.Duration
		start := time.Now()
		for _, m := range chunk[:n] {
			b.apply(m)
			now := time.Since(start)
			h.record(now - last)
			last = now
		}
		busy += last
		switch {
		case ctx.Err() != nil:
			return busy, ctx.Err()
		case err != nil:
			return busy, nil
		}
	}
}

func readGC() gcTotals {
	values := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
	}
	metrics.Read(values)
	var m runtime.MemStats
	runtime.ReadMemStats(&m) // which has the exact sum of the pauses, and runtime/metrics a histogram
	return gcTotals{
		Cycles: values[0].Value.Uint64(),
		Pauses: time.Duration(m.PauseTotalNs),
		CPU:    values[1].Value.Float64(),
	}
}

func (g gcTotals) since(before gcTotals) gcTotals {
	return gcTotals{g.Cycles - before.Cycles, g.Pauses - before.Pauses, g.CPU - before.CPU}
}
