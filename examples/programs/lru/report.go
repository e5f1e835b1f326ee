package main

import (
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/columns"
	"github.com/warmpage/pool/examples/programs/internal/latency"
)

func printIntroduction(out io.Writer, o options) {
	p := o.plan
	fmt.Fprintf(out, `An LRU cache of %d entries, each with a key of %d bytes and a value of %d
bytes. It has %d shards; each is an LRU cache with a lock. A Get that misses is
followed by a Put. Each operation, with or without a Put, also allocates %d bytes, as
the request around it would.
`, p.Entries, keySize, valueSize, p.Shards, p.Garbage)
	if p.Trace != "" {
		fmt.Fprintf(out, "Trace: %d keys, %d of them distinct, from %s; the cache is empty at first.\n", p.Ops, o.keys, p.Trace)
		return
	}
	fmt.Fprintf(out, "Trace: %d keys out of %d, Zipf with skew %v, seed %d; the cache is filled first.\n",
		p.Ops, p.Entries*keysPerEntry, p.Skew, p.Seed)
}

// printTable prints one column for each side.
func printTable(out io.Writer, results []result) {
	row := columns.Rows(out, 34, 18, results)
	fmt.Fprintln(out)
	row("", func(r result) string { return string(r.Side) })
	row("entries at the end", func(r result) string { return fmt.Sprint(r.Entries) })
	row("time to fill", func(r result) string { return r.Fill.Round(time.Millisecond).String() })
	row("hits", func(r result) string { return fmt.Sprint(r.Hits) })
	row("hit rate", func(r result) string { return fmt.Sprintf("%.4f %%", 100*float64(r.Hits)/float64(r.Ops)) })
	row("operations per second", func(r result) string { return fmt.Sprintf("%.0f", r.rate()) })
	row("latency: p50", func(r result) string { return latency.Short(r.P50) })
	row("  p99", func(r result) string { return latency.Short(r.P99) })
	row("  p99.9", func(r result) string { return latency.Short(r.P999) })
	row("  max", func(r result) string { return latency.Short(r.Max) })
	row("collections in that time", func(r result) string { return fmt.Sprint(r.GC.Cycles) })
	row("  total pause", func(r result) string { return latency.Short(r.GC.Pause) })
	row("  share of CPU time", func(r result) string { return fmt.Sprintf("%.2f %%", 100*r.gcShare()) })
	row("one runtime.GC(), cache full", func(r result) string { return latency.Short(r.OneGC) })
	if results[0].After.Known {
		row("resident before the cache", func(r result) string { return inMiB(r.Before) })
		row("  after the operations", func(r result) string { return inMiB(r.After.Now) })
		row("  peak", func(r result) string { return inMiB(r.After.Peak) })
		row("  growth per entry, at the peak", func(r result) string { return fmt.Sprintf("%.0f B", r.perEntry()) })
	} else {
		fmt.Fprintln(out, "resident memory is unknown on this system")
	}
	fmt.Fprintf(out, `
%d workers, each with its own shards. Latency is the time from the end of one
operation to the end of the next. It includes making the key, checking the value,
allocating for the request, and whatever the collector took. The memory that is
resident before the cache includes the trace.
`, results[0].Workers)
}

// rate returns operations per second, of all workers together.
func (r result) rate() float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

// gcShare returns the collector's share of the CPU time that was available during the operations,
// from 0 to 1.
func (r result) gcShare() float64 {
	return r.GC.CPU.Seconds() / (r.Elapsed.Seconds() * float64(r.Processors))
}

// perEntry returns how many bytes resident memory grew for each entry, at the peak.
func (r result) perEntry() float64 {
	return float64(r.After.Peak-r.Before) / float64(max(r.Entries, 1))
}

func inMiB(n int64) string { return fmt.Sprintf("%.0f MiB", mebibytes(n)) }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
