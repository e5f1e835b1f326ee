package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// A phase is some time of sending, and as long as it takes until nothing is under
// way any more, so that its numbers add up. An end mark tells when all has been
// read: a datagram of one byte, the number of the phase, that each sender sends
// last. Loopback keeps the order, so what was not read before the mark was
// dropped by the kernel. The mark may be, too, and is sent until it is seen.
const (
	markSize   = 1
	markPeriod = time.Millisecond
	drainTime  = 5 * time.Second // then something is wrong
)

// counts are those of a phase.
type counts struct {
	Sent   uint64
	Read   uint64 // the kernel has dropped the others
	Full   uint64 // of these, dropped for want of room in the queue
	Parsed uint64
	Bad    uint64 // of these, not what was sent
	Bytes  uint64 // of frames that were as they should

	// The sums of the sequence numbers that went through the queue. Were a slot in
	// two hands, a whole packet could take the place of another, with a checksum
	// that is right: then these differ.
	Queued, Worked uint64

	Latency histogram
}

// phase sends for d, or until ctx ends, and returns what came of it.
func (f *flow) phase(ctx context.Context, p plan, number byte, d time.Duration) (counts, error) {
	var senders sync.WaitGroup
	errs := make([]error, len(f.lines))
	for i, l := range f.lines {
		senders.Go(func() { errs[i] = l.send(ctx, p, d) })
	}
	senders.Wait()
	if err := errors.Join(errs...); err != nil {
		return counts{}, err
	}
	if err := f.drain(ctx, number); err != nil {
		return counts{}, err
	}
	return f.take(), nil
}

// Senders look at the clock for more than the time stamp once for each batch.
const batch = 32

// slack is how far behind its rate a sender may be and still make up for it.
const slack = 5 * time.Millisecond

// send sends packets at its part of p.Rate or, if that is 0, as fast as it can.
func (l *line) send(ctx context.Context, p plan, d time.Duration) error {
	var frame [maxFrame]byte
	payloads := make([]byte, 2*maxPayload)
	for i := range payloads {
		payloads[i] = byte(l.rng.Uint32())
	}
	l.sent = 0
	interval := time.Duration(0)
	if p.Rate > 0 {
		interval = time.Second * time.Duration(p.Readers) / time.Duration(p.Rate)
	}
	start := now()
	due := start
	for {
		if l.sent%batch == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at := now()
		if at-start >= d {
			return nil
		}
		if interval > 0 {
			if due > at {
				time.Sleep(due - at)
				continue
			}
			due = max(due, at-slack) + interval
		}
		h := header{sequence: l.next, sent: at}
		if err := l.write(encode(frame[:], h, l.payload(payloads, p.Size))); err != nil {
			return err
		}
		l.next++
		l.sent++
	}
}

// payload returns a part of payloads of 0 to size bytes, from anywhere in it.
func (l *line) payload(payloads []byte, size int) []byte {
	from := l.rng.IntN(len(payloads) - size)
	return payloads[from : from+l.rng.IntN(size+1)]
}

// write sends a datagram. Where a full buffer is an error, it waits for room.
func (l *line) write(datagram []byte) error {
	for {
		_, err := l.out.Write(datagram)
		if !errors.Is(err, syscall.ENOBUFS) {
			return err
		}
		time.Sleep(markPeriod)
	}
}

// drain waits until all that was sent has been read or dropped, and all that was
// read parsed or dropped.
func (f *flow) drain(ctx context.Context, number byte) error {
	mark := []byte{number}
	tick := time.NewTicker(markPeriod)
	defer tick.Stop()
	for start := now(); !f.drained(number); {
		for _, l := range f.lines {
			if l.lastEnd() == number {
				continue
			}
			if err := l.write(mark); err != nil {
				return err
			}
		}
		if now()-start > drainTime {
			return fmt.Errorf("packets are still under way %v after the last was sent", drainTime)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *flow) drained(number byte) bool {
	waiting := uint64(0)
	for _, l := range f.lines {
		l.mu.Lock()
		if l.ended != number {
			l.mu.Unlock()
			return false
		}
		waiting += l.tally.read - l.tally.full
		l.mu.Unlock()
	}
	for _, w := range f.workers {
		w.mu.Lock()
		waiting -= w.tally.packets
		w.mu.Unlock()
	}
	return waiting == 0
}

// end notes that all of a phase has been read.
func (l *line) end(number byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = number
}

func (l *line) lastEnd() byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// take returns what has been counted and starts anew. The flow is drained.
func (f *flow) take() counts {
	var c counts
	for _, l := range f.lines {
		l.mu.Lock()
		c.Sent += l.sent
		c.Read += l.tally.read
		c.Full += l.tally.full
		c.Queued += l.tally.sequences
		l.tally = lineTally{}
		l.mu.Unlock()
	}
	for _, w := range f.workers {
		w.mu.Lock()
		c.Parsed += w.tally.packets
		c.Bad += w.tally.bad
		c.Bytes += w.tally.bytes
		c.Worked += w.tally.sequences
		c.Latency.add(&w.tally.latency)
		w.tally = workerTally{}
		w.mu.Unlock()
	}
	return c
}
