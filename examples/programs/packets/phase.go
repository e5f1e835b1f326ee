package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/latency"
)

// A phase lasts for some time of sending, and then until no packet is under way any more, so that
// its numbers add up. An end mark shows when everything has been read. It is a datagram of one
// byte, the number of the phase, that each sender sends last. Loopback keeps the order, so the
// kernel has dropped every packet that was not read before the mark. It may also drop the mark, so
// the sender repeats the mark until it is read.
const (
	markSize   = 1
	markPeriod = time.Millisecond
	drainTime  = 5 * time.Second // after this something is wrong
)

// counts are the results of a phase.
type counts struct {
	Sent   uint64
	Read   uint64 // of these; the kernel has dropped the others
	Full   uint64 // of those read, dropped because the queue was full
	Parsed uint64 // of those read, parsed by a worker
	Bad    uint64 // of those parsed, corrupted
	Bytes  uint64 // of the frames that were not

	// Queued and Worked are sums of the sequence numbers at the two ends of the queue. If a slot
	// had two users, a whole packet with a valid checksum could replace another. Then the sums
	// would differ.
	Queued, Worked uint64

	Latency latency.Histogram
}

// phase sends for d and returns the counts. If ctx ends first, it returns an error. number must
// differ from that of the previous phase, and must not be 0.
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

// A sender checks whether ctx has ended once per batch of packets.
const batch = 32

// slack is how far a sender may fall behind its rate and still catch up.
const slack = 5 * time.Millisecond

// send sends packets for d, at the line's share of p.Rate or, if that is 0, as fast as it can.
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

// payload returns a random part of payloads, of 0 to size bytes.
func (l *line) payload(payloads []byte, size int) []byte {
	from := l.rng.IntN(len(payloads) - size)
	return payloads[from : from+l.rng.IntN(size+1)]
}

// write sends a datagram. On systems where a full buffer is an error, it waits for room.
func (l *line) write(datagram []byte) error {
	for {
		_, err := l.out.Write(datagram)
		if !errors.Is(err, syscall.ENOBUFS) {
			return err
		}
		time.Sleep(markPeriod)
	}
}

// drain waits until every packet that was sent has been read or dropped, and every packet that was
// read has been parsed or dropped.
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
			return fmt.Errorf("packets are still under way %v after the last one was sent", drainTime)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drained reports whether no packet of the phase is under way any more.
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

// end records that everything the line sent in a phase has been read.
func (l *line) end(number byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = number
}

// lastEnd returns the number of the last phase whose end mark was read.
func (l *line) lastEnd() byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// take returns the counts and resets the tallies. The flow must be drained.
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
		c.Latency.Add(w.tally.latency)
		w.tally = workerTally{}
		w.mu.Unlock()
	}
	return c
}
