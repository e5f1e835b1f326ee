package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/columns"
)

// perSecond returns the rate at which n things happened during the measured phase.
func (r result) perSecond(n uint64) float64 { return float64(n) / r.Elapsed.Seconds() }

// mallocsPerPacket returns allocations per parsed packet. check limits them for the pool's side.
func (r result) mallocsPerPacket() float64 { return float64(r.Mallocs) / float64(r.Counts.Parsed) }

func printIntroduction(out io.Writer, p plan) {
	rate := "as fast as possible"
	if p.Rate > 0 {
		rate = fmt.Sprintf("%d packets per second", p.Rate)
	}
	gc := "Collections run as the Go runtime sees fit"
	if p.GC > 0 {
		gc = fmt.Sprintf("A collection runs every %v", p.GC)
	}
	fmt.Fprintf(out, `UDP over %s, payloads of 0 to %d bytes: %s, %s,
%s, for %v after %v of warm-up. %s.
Both sides do the same, one after the other, each in its own process.

`, p.Host, p.Size, number(p.Readers, "sender and reader", "senders and readers"), number(p.Workers, "worker", "workers"),
		rate, p.Time, p.WarmUp, gc)
}

// number returns n with the singular or the plural of what it counts.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printTable(out io.Writer, results []result) {
	row := columns.Rows(out, 34, 14, results)
	count := func(label string, n func(r result) uint64) {
		row(label, func(r result) string { return fmt.Sprint(n(r)) })
	}
	latency := func(label string, q float64) {
		row(label, func(r result) string { return round(r.Counts.Latency.Quantile(q)).String() })
	}
	row("", func(r result) string { return string(r.Plan.Side) })
	count("packets sent", func(r result) uint64 { return r.Counts.Sent })
	count("  dropped by the kernel", func(r result) uint64 { return r.Counts.Sent - r.Counts.Read })
	count("  dropped because of a full queue", func(r result) uint64 { return r.Counts.Full })
	count("  parsed", func(r result) uint64 { return r.Counts.Parsed })
	count("  of these, corrupted", func(r result) uint64 { return r.Counts.Bad })
	row("parsed packets/s", func(r result) string { return fmt.Sprintf("%.0f", r.perSecond(r.Counts.Parsed)) })
	row("  MB/s", func(r result) string { return fmt.Sprintf("%.1f", r.perSecond(r.Counts.Bytes)/1e6) })
	latency("from send to parse, p50", 0.5)
	latency("  p99", 0.99)
	latency("  longest", 1)
	count("allocations (Mallocs)", func(r result) uint64 { return r.Mallocs })
	row("  per packet", func(r result) string { return fmt.Sprintf("%.5f", r.mallocsPerPacket()) })
	count("GC cycles", func(r result) uint64 { return uint64(r.Cycles) })
	row("  total pause", func(r result) string { return r.Pause.Round(time.Microsecond).String() })
	fmt.Fprint(out, `
Allocations are those of the whole process. Some depend on time rather than on
packets: starting goroutines, a pool's ticks, collections. Latency is mostly that of
the kernel and the scheduler: senders, readers and workers share the Ps.
`)
}

// round rounds d to two digits, because more would say nothing.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 100 {
		unit *= 10
	}
	return d.Round(unit)
}

// mostMallocs is the number of allocations per packet that the pool's side must stay below.
const mostMallocs = 0.01

// check returns an error that lists what went wrong. Counters that count nothing would pass, so
// check also demands that packets came through, and that they came from the pool.
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
			fail("%d packets were sent, %d read, %d of these dropped and %d parsed: this does not add up", c.Sent, c.Read, c.Full, c.Parsed)
		case c.Bad > 0:
			fail("%d packets were corrupted, want 0", c.Bad)
		case c.Queued != c.Worked:
			fail("the parsed packets are not those that were queued")
		}
		if r.Plan.Side != thisPool {
			continue
		}
		if r.Mapped == 0 {
			fail("the pool has no memory: the packets came from elsewhere")
		}
		if n := r.mallocsPerPacket(); n >= mostMallocs {
			fail("%.3f allocations per packet, want less than %v", n, mostMallocs)
		}
	}
	return errors.Join(errs...)
}
