package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

func (r result) perSecond(n uint64) float64 { return float64(n) / r.Elapsed.Seconds() }

// mallocsPerPacket is what the check of the pool's side is about.
func (r result) mallocsPerPacket() float64 { return float64(r.Mallocs) / float64(r.Counts.Parsed) }

func printIntroduction(out io.Writer, p plan) {
	rate := "as fast as they can"
	if p.Rate > 0 {
		rate = fmt.Sprintf("%d packets a second", p.Rate)
	}
	gc := "Collections run as the Go runtime sees fit"
	if p.GC > 0 {
		gc = fmt.Sprintf("A collection runs every %v", p.GC)
	}
	fmt.Fprintf(out, `UDP over %s, payloads of 0 to %d bytes: %s, %s,
%s, for %v after %v of warm-up. %s.
The two sides do the same, one after the other, each in a process of its own.

`, p.Host, p.Size, number(p.Readers, "sender and reader", "senders and readers"), number(p.Workers, "worker", "workers"),
		rate, p.Time, p.WarmUp, gc)
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printTable(out io.Writer, results []result) {
	row := func(label string, cell func(r result) string) {
		fmt.Fprintf(out, "%-34s", label)
		for _, r := range results {
			fmt.Fprintf(out, "%14s", cell(r))
		}
		fmt.Fprintln(out)
	}
	count := func(label string, n func(r result) uint64) {
		row(label, func(r result) string { return fmt.Sprint(n(r)) })
	}
	latency := func(label string, percent float64) {
		row(label, func(r result) string { return round(r.Counts.Latency.percentile(percent)).String() })
	}
	row("", func(r result) string { return string(r.Plan.Side) })
	count("packets sent", func(r result) uint64 { return r.Counts.Sent })
	count("  dropped by the kernel", func(r result) uint64 { return r.Counts.Sent - r.Counts.Read })
	count("  dropped, no room in the queue", func(r result) uint64 { return r.Counts.Full })
	count("  parsed", func(r result) uint64 { return r.Counts.Parsed })
	count("  of these, not what was sent", func(r result) uint64 { return r.Counts.Bad })
	row("parsed packets/s", func(r result) string { return fmt.Sprintf("%.0f", r.perSecond(r.Counts.Parsed)) })
	row("  MB/s", func(r result) string { return fmt.Sprintf("%.1f", r.perSecond(r.Counts.Bytes)/1e6) })
	latency("from send to parse, p50", 50)
	latency("  p99", 99)
	latency("  longest", 100)
	count("allocations (Mallocs)", func(r result) uint64 { return r.Mallocs })
	row("  a packet", func(r result) string { return fmt.Sprintf("%.5f", r.mallocsPerPacket()) })
	count("GC cycles", func(r result) uint64 { return uint64(r.Cycles) })
	row("  pauses in all", func(r result) string { return r.Pause.Round(time.Microsecond).String() })
	fmt.Fprint(out, `
Allocations are those of the whole process, also of what goes by time rather than
by packets: goroutines that start, a pool's ticks, collections. Latency is first of
all the kernel's and the scheduler's: senders, readers and workers share the Ps.
`)
}

// round leaves of d what a histogram knows.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 100 {
		unit *= 10
	}
	return d.Round(unit)
}

// mostMallocs is how often the pool's side may allocate for a packet.
const mostMallocs = 0.01

// check returns an error that lists what went wrong. What counts nothing would
// pass any check, so it also wants packets to have come, and from the pool.
func check(results []result) error {
	var errs []error
	for _, r := range results {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("  %s: %s", r.Plan.Side, fmt.Sprintf(format, args...)))
		}
		c := r.Counts
		switch {
		case c.Parsed == 0:
			fail("no packet came through")
			continue
		case c.Sent < c.Read || c.Read != c.Full+c.Parsed:
			fail("of %d packets sent, %d were read, %d of these dropped, and %d parsed: this does not add up", c.Sent, c.Read, c.Full, c.Parsed)
		case c.Bad > 0:
			fail("%d packets were not what was sent, want 0", c.Bad)
		case c.Queued != c.Worked:
			fail("the packets that were parsed are not those that were queued")
		}
		if r.Plan.Side != thisPool {
			continue
		}
		if r.Mapped == 0 {
			fail("the pool had no memory: the packets came from elsewhere")
		}
		if n := r.mallocsPerPacket(); n >= mostMallocs {
			fail("%.3f allocations a packet, want less than %v", n, mostMallocs)
		}
	}
	return errors.Join(errs...)
}
