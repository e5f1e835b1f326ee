package main

import (
	"fmt"
	"io"

	"github.com/warmpage/pool/examples/programs/internal/columns"
	"github.com/warmpage/pool/examples/programs/internal/latency"
	"github.com/warmpage/pool/examples/programs/internal/process"
)

func printIntroduction(out io.Writer, w workload) {
	fmt.Fprintf(out, `Trades over HTTP on loopback, by %d connections with %d sessions: %d per second
for %v, then twice as many for %v, while %d more sessions are opened, which
expire; then nothing for %v. Latency counts from the time when a request was due.
Both sides get the same requests, one after the other, each in its own process.

`, w.Connections, w.Members, w.Rate, w.Steady, w.Burst, w.Visitors, w.Idle)
}

func printTable(out io.Writer, results []result) {
	row := columns.Rows(out, 36, 22, results)
	mark := func(label string) { fmt.Fprintln(out, label) }
	row("", func(r result) string { return r.Variant.String() })
	for _, phase := range []struct {
		name        string
		tally       func(r result) tally
		start, then func(r result) sample
	}{
		{"steady", func(r result) tally { return r.Steady }, func(r result) sample { return r.Start }, func(r result) sample { return r.SteadyEnd }},
		{"burst", func(r result) tally { return r.Burst }, func(r result) sample { return r.SteadyEnd }, func(r result) sample { return r.BurstEnd }},
	} {
		row(phase.name+": trades", func(r result) string { return fmt.Sprint(phase.tally(r).Requests) })
		for _, q := range []struct {
			label string
			share float64
		}{{"  latency p50", 0.5}, {"          p99", 0.99}, {"          p99.9", 0.999}} {
			row(q.label, func(r result) string {
				t := phase.tally(r)
				return latency.Short(t.Latency.Quantile(q.share))
			})
		}
		row("          max", func(r result) string { return latency.Short(phase.tally(r).Latency.Quantile(1)) })
		row("  delay before sending: p50, p99", func(r result) string {
			late := phase.tally(r).Late
			return latency.Short(late.Quantile(0.5)) + ", " + latency.Short(late.Quantile(0.99))
		})
		printCollections(row, phase.start, phase.then)
	}
	mark("idle")
	printCollections(row, func(r result) sample { return r.BurstEnd }, func(r result) sample { return r.IdleEnd })
	printResident(row, mark)
	row("sessions at the peak, at the end", func(r result) string {
		return fmt.Sprintf("%d, %d", r.PeakSessions, r.IdleEnd.Sources[1].Live)
	})
	row("refused (503)", func(r result) string { return fmt.Sprint(r.refused()) })
	row("checksum of all answers", func(r result) string { return fmt.Sprintf("%08x…", uint32(r.checksum()>>32)) })
	fmt.Fprint(out, `
Collections, CPU time and memory are those of the server's process. The collector's
CPU time includes what it used of idle processors; the percentage is its share of
the CPU time of the process.
`)
}

func printCollections(row func(string, func(result) string), start, end func(r result) sample) {
	gc := func(r result) process.Collections { return end(r).Collections.Since(start(r).Collections) }
	row("  collections, total pause", func(r result) string {
		return fmt.Sprintf("%d, %s", gc(r).Cycles, latency.Short(gc(r).Pause))
	})
	row("  CPU time of the collector", func(r result) string {
		text := latency.Short(gc(r).CPU)
		if all := end(r).CPU - start(r).CPU; all > 0 {
			text += fmt.Sprintf(", %.0f %%", 100*gc(r).CPU.Seconds()/all.Seconds())
		}
		return text
	})
}

func printResident(row func(string, func(result) string), mark func(string)) {
	mark("resident")
	for _, at := range []struct {
		label string
		of    func(r result) int64
	}{
		{"  with the sessions that stay", func(r result) int64 { return r.Start.Resident.Now }},
		{"  peak", func(r result) int64 { return r.IdleEnd.Resident.Peak }},
		{"  after the idle phase", func(r result) int64 { return r.IdleEnd.Resident.Now }},
	} {
		row(at.label, func(r result) string {
			if !r.IdleEnd.Resident.Known {
				return "unknown"
			}
			return fmt.Sprintf("%.1f MiB", float64(at.of(r))/mib)
		})
	}
}
