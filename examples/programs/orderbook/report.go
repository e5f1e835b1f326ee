package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/columns"
)

func printIntroduction(out io.Writer, p plan) {
	what := fmt.Sprintf("%d messages from seed %d, with about %d\norders in the book", p.Messages, p.Seed, p.Live)
	if p.CSV != "" {
		what = "the messages of " + p.CSV
	}
	fmt.Fprintf(out, `A day of a limit order book: %s.
It is replayed twice: first with orders in a pool that refer to each other by Ref,
then with new and Go pointers. Each replay runs in its own process.

`, what)
}

// compare returns an error that lists all differences.
func compare(a, b outcome) error {
	var errs []error
	same := func(what string, x, y any) {
		if x != y {
			errs = append(errs, fmt.Errorf("  %s: %v with %s, %v with %s", what, x, thisPool, y, goHeap))
		}
	}
	same("messages", a.Messages, b.Messages)
	same("trades", a.Tape.Trades, b.Tape.Trades)
	same("volume", a.Tape.Volume, b.Tape.Volume)
	same("hash of all trades", a.Tape.Hash, b.Tape.Hash)
	same("orders rested", a.Tape.Rested, b.Tape.Rested)
	same("orders cancelled", a.Tape.Cancelled, b.Tape.Cancelled)
	same("orders reduced", a.Tape.Reduced, b.Tape.Reduced)
	same("messages rejected", a.Tape.Rejected, b.Tape.Rejected)
	same("orders in the book", a.Standing, b.Standing)
	same("hash of the book", a.BookHash, b.BookHash)
	return errors.Join(errs...)
}

func printOutcome(out io.Writer, o outcome) {
	t := o.Tape
	fmt.Fprintf(out, `Both: %d messages; %d orders rested, %d cancelled, %d reduced,
%d messages rejected (mostly cancels that came too late)
%d trades, volume %d, hash of all trades %016x
%d orders in the book at the end, hash of the book %016x

`, o.Messages, t.Rested, t.Cancelled, t.Reduced, t.Rejected, t.Trades, t.Volume, t.Hash, o.Standing, o.BookHash)
}

// quantiles are the ones that the table shows.
var quantiles = []struct {
	name  string
	share float64
}{
	{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
}

func printTable(out io.Writer, results []result) {
	row := columns.Rows(out, 34, 16, results)
	fmt.Fprintf(out, "%-34s%16s%16s\n", "", thisPool, goHeap)
	row("messages/s", func(r result) string { return fmt.Sprintf("%.0f", r.rate()) })
	for i, q := range quantiles {
		label := "  " + q.name
		if i == 0 {
			label = "latency per message, " + q.name
		}
		row(label, func(r result) string { return short(r.Latency.Quantile(q.share)) })
	}
	row("  max", func(r result) string { return short(r.Latency.Quantile(1)) })
	row("longest stall without a book", func(r result) string { return short(r.Stall) })
	row("GC cycles", func(r result) string { return fmt.Sprint(r.GC.Cycles) })
	row("  total pause", func(r result) string { return short(r.GC.Pause) })
	row("  share of CPU time", func(r result) string { return fmt.Sprintf("%.1f %%", 100*r.share()) })
	row("runtime.GC() with the final book", func(r result) string { return short(r.FinalGC) })
	row("resident memory at the end", func(r result) string { return inMiB(r.Resident.Now) })
	row("  peak", func(r result) string { return inMiB(r.Resident.Peak) })
	fmt.Fprintf(out, `
The time of a message includes one reading of the clock, but not making the message.
The stall is the longest one in a loop that does nothing but read the clock, for 1/%d
of the time. It shows what the machine does to any process. Memory includes what makes
the messages, which is the same on both sides.
`, stallPart)
}

// rate returns messages per second.
func (r result) rate() float64 { return float64(r.Latency.Count()) / max(r.Busy.Seconds(), 1e-9) }

// short formats d with about three digits.
func short(d time.Duration) string {
	unit, name := time.Nanosecond, "ns"
	switch {
	case d >= time.Second:
		unit, name = time.Second, "s"
	case d >= time.Millisecond:
		unit, name = time.Millisecond, "ms"
	case d >= time.Microsecond:
		unit, name = time.Microsecond, "µs"
	}
	x := float64(d) / float64(unit)
	decimals := 0
	if unit > 1 && x < 100 {
		decimals = 1
		if x < 10 {
			decimals = 2
		}
	}
	return fmt.Sprintf("%.*f %s", decimals, x, name)
}

func inMiB(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
