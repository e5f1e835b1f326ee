package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// stopsSides are those of the stops study if -sides names no others.
var stopsSides = []catalog.Side{catalog.Pool, catalog.SyncPool, catalog.Syncx}

// noStops reports whether s has no ping-pong on several goroutines.
func noStops(s catalog.Side) bool {
	w := catalog.Workload{Kind: catalog.PingPong, Parallel: true}
	return s == catalog.Mimalloc || !catalog.TakesPart(s, w, catalog.Zeroed)
}

// A stopsPlan is how often the world is stopped.
type stopsPlan struct {
	processes int
	turns     int
	stops     int // in a turn
	sides     []catalog.Side
	versions  []string // as plan.versions
}

func (p stopsPlan) expect() time.Duration {
	const stop = 250 * time.Microsecond // with what comes between two
	return time.Duration(p.turns*p.stops*(len(p.sides)+1)) * stop
}

func (p stopsPlan) expectAll() time.Duration {
	return time.Duration(p.processes*len(p.versions)) * (buildTime + p.expect())
}

// measureStops has a process for each layout and version.
func measureStops(ctx context.Context, p stopsPlan, dir string, pr *progress) (*Stops, error) {
	type key struct {
		side     catalog.Side
		baseline bool
	}
	medians, p99s := make(map[key][]float64), make(map[key][]float64)
	for i := range p.processes {
		for v, baseline := range p.versions {
			pr.step(fmt.Sprintf("stops, layout %d of %d", i+1, p.processes), buildTime+p.expect())
			worker, err := buildWorker(ctx, dir, i+1, baseline)
			if err != nil {
				return nil, err
			}
			r, err := once[wire.Stops](ctx, worker, wire.VerbStops, wire.StopsSpec{Sides: p.sides, Turns: p.turns, Stops: p.stops})
			if err != nil {
				return nil, err
			}
			os.Remove(worker)
			for s, t := range r.Sides {
				k := key{s, v > 0}
				medians[k], p99s[k] = append(medians[k], t.Median), append(p99s[k], t.P99)
			}
		}
	}
	result := &Stops{Processes: p.processes, Stops: p.turns * p.stops}
	for v := range p.versions {
		for _, s := range append([]catalog.Side{wire.Idle}, p.sides...) {
			if k := (key{s, v > 0}); len(medians[k]) > 0 {
				result.Figures = append(result.Figures, StopsFigure{Side: s, Baseline: v > 0, Median: spread(medians[k]), P99: spread(p99s[k])})
			}
		}
	}
	return result, nil
}

func writeStops(out io.Writer, s *Stops) {
	fmt.Fprintf(out, `
# Stops of the world

%s.

How long a goroutine waits that stops the world and starts it again, in microseconds, while it and others do ping-pong on all
processors (64 bytes, zeroed). Processes: %d; stops of every side in each: %d, the sides in turn. Median over the processes,
and from the second lowest to the second highest.

`, s.Run, s.Processes, s.Stops)
	rows := [][]string{{"side", "median", "99th percentile"}}
	for _, f := range s.Figures {
		name := string(f.Side)
		if f.Baseline {
			name += ", baseline"
		}
		cell := func(x Spread) string { return fmt.Sprintf("%.0f (%.0f–%.0f)", x.Median, x.Low, x.High) }
		rows = append(rows, []string{name, cell(f.Median), cell(f.P99)})
	}
	writeTable(out, rows)
}
