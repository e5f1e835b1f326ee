package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/latency"
	"github.com/warmpage/pool/examples/programs/internal/process"
)

// A variant says where the orders of a book live.
type variant string

const (
	thisPool variant = "this pool"
	goHeap   variant = "new"
)

var variants = []variant{thisPool, goHeap}

// A plan says what one variant has to do.
type plan struct {
	Variant  variant
	CSV      string `json:",omitempty"` // file with the day; "": generate one from the fields below
	Messages int
	Seed     uint64
	Live     int // approximate number of orders in the book
}

// A result is what measuring one variant gave.
type result struct {
	Outcome  outcome
	Latency  latency.Histogram
	Busy     time.Duration       // time for all messages, without generating or reading them
	Wall     time.Duration       // time for all messages, including that
	GC       process.Collections // during Wall
	Stall    time.Duration       // see stall
	FinalGC  time.Duration       // time for a collection with the final book
	Resident process.Resident    // with the final book
}

// An outcome is the part of the result that must be the same for both variants.
type outcome struct {
	Messages uint64
	Tape     tape
	Standing int // orders in the book at the end
	BookHash uint64
}

// share returns the collector's share of the CPU time, from 0 to 1. The rest of the process is one
// goroutine that never waits.
func (r result) share() float64 { return float64(r.GC.CPU) / float64(r.GC.CPU+r.Wall) }

func newBook(v variant) (book, error) {
	switch v {
	case thisPool:
		return newPoolBook(), nil
	case goHeap:
		return newPlainBook(), nil
	}
	return nil, fmt.Errorf("unknown variant %q", v)
}

// open returns the source of the plan, and a function that closes it.
func (p plan) open() (source, func() error, error) {
	if p.CSV == "" {
		return newDay(p.Seed, p.Messages, p.Live), func() error { return nil }, nil
	}
	f, err := os.Open(p.CSV)
	if err != nil {
		return nil, nil, command.BadUsage(err)
	}
	src, err := newCSV(p.CSV, f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return src, f.Close, nil
}

// measure replays the day of p with a new book, in this process.
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
	before, start := process.ReadCollections(), time.Now()
	r.Busy, err = replay(ctx, src, b, &r.Latency)
	if err != nil {
		return r, err
	}
	if r.Latency.Count() == 0 {
		return r, command.BadUsage(fmt.Errorf("%s has no messages", p.CSV))
	}
	r.Wall = time.Since(start)
	r.GC = process.ReadCollections().Since(before)
	r.Resident = process.ReadResident()

	runtime.GC() // so that the next one has nothing left to sweep
	start = time.Now()
	runtime.GC()
	r.FinalGC = time.Since(start)
	runtime.KeepAlive(src) // so that both variants have it in memory until here

	if err := b.check(); err != nil {
		return r, err
	}
	r.Outcome = outcome{Messages: uint64(r.Latency.Count()), Tape: *b.log(), BookHash: hashBook(b)}
	for range b.standing() {
		r.Outcome.Standing++
	}
	if err := b.close(); err != nil {
		return r, err
	}
	r.Stall = stall(r.Busy / stallPart)
	return r, nil
}

// The search for the longest stall takes 1/stallPart of the replay's time.
const stallPart = 8

// stall reads the clock again and again for d, and returns the longest time between two readings.
// That is how long the machine stalls a process that does nothing else, so the slowest messages
// cannot be expected to take less.
func stall(d time.Duration) (longest time.Duration) {
	start := time.Now()
	for last := time.Duration(0); last < d; {
		now := time.Since(start)
		longest = max(longest, now-last)
		last = now
	}
	return longest
}

// chunkSize is the number of messages that are generated and then replayed together. They take 1.5
// MiB.
const chunkSize = 1 << 16

// replay applies all messages of src to b, and records the time of each in h. It returns how long
// they took together, without the time for reading src.
func replay(ctx context.Context, src source, b book, h *latency.Histogram) (busy time.Duration, err error) {
	chunk := make([]message, chunkSize)
	for {
		n, err := src.read(chunk)
		if err != nil && !errors.Is(err, io.EOF) {
			return busy, err
		}
		// Read the clock once per message: the end of one message is the start of the next.
		var last time.Duration
		start := time.Now()
		for _, m := range chunk[:n] {
			b.apply(m)
			now := time.Since(start)
			h.Record(now - last)
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
