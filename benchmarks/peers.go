package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A plan is what the comparison measures.
type plan struct {
	processes int
	rounds    int
	target    time.Duration // of a round
	workloads []catalog.Workload
	sizes     []int
}

// A cell is a workload with one size and mode: all sides of it are measured in
// turns, in one process.
type cell struct {
	workload catalog.Workload
	size     int
	mode     catalog.Mode
}

func (p plan) cells() []cell {
	var all []cell
	for _, w := range p.workloads {
		for _, size := range p.sizes {
			for _, m := range catalog.Modes {
				all = append(all, cell{w, size, m})
			}
		}
	}
	return all
}

// expect is about how long a cell takes: it weighs cells in the time left.
func (p plan) expect(c cell) time.Duration {
	sides := 0
	for _, s := range catalog.Sides {
		if catalog.TakesPart(s, c.workload, c.mode) {
			sides++
		}
	}
	round := p.target
	if c.workload.Kind == catalog.Burst {
		round = catalog.BurstRepeat * catalog.BurstIdle
	}
	const warmUp = 2 // and calibration, in rounds
	return time.Duration(sides*(p.rounds+warmUp)) * round
}

const buildTime = 2 * time.Second // of a worker, most of it linking

func (p plan) expectAll() time.Duration {
	var sum time.Duration
	for _, c := range p.cells() {
		sum += p.expect(c)
	}
	return time.Duration(p.processes) * (sum + buildTime)
}

type figureKey struct {
	cell cell
	side catalog.Side
}

// measurePeers runs all cells in each process, and the same ones in a process of
// the C program that waits meanwhile.
func measurePeers(ctx context.Context, p plan, dir string, pr *progress) (*Peers, error) {
	mimalloc, err := buildMimalloc(ctx, dir)
	if err != nil && !errors.Is(err, errNoMimalloc) {
		return nil, err
	}
	if err != nil {
		pr.note(err.Error())
	}
	ns := make(map[figureKey][]float64)
	for i := range p.processes {
		pr.step(fmt.Sprintf("process %d of %d: build", i+1, p.processes), buildTime)
		worker, err := buildWorker(ctx, dir, i+1)
		if err != nil {
			return nil, err
		}
		if err := measureProcess(ctx, p, i, worker, mimalloc, pr, ns); err != nil {
			return nil, err
		}
		os.Remove(worker)
	}
	return &Peers{
		Processes: p.processes, Rounds: p.rounds, Mimalloc: mimalloc != "", Figures: p.figures(ns),
	}, nil
}

func measureProcess(ctx context.Context, p plan, i int, worker, mimalloc string, pr *progress, ns map[figureKey][]float64) error {
	w, err := startChild(ctx, worker, wire.VerbCells)
	if err != nil {
		return err
	}
	defer w.stop()
	var m *child
	if mimalloc != "" {
		if m, err = startChild(ctx, mimalloc); err != nil {
			return err
		}
		defer m.stop()
	}
	for _, c := range p.cells() {
		pr.step(fmt.Sprintf("process %d of %d: %s, %d bytes, %s", i+1, p.processes, c.workload.Name, c.size, c.mode), p.expect(c))
		spec := wire.CellSpec{Workload: c.workload.Name, Size: c.size, Mode: c.mode, Rounds: p.rounds, Target: p.target, Turn: i}
		line, err := json.Marshal(spec)
		if err != nil {
			return err
		}
		var answer wire.Cell
		if err := w.ask(ctx, line, &answer); err != nil {
			return err
		}
		for s, x := range answer.NS {
			ns[figureKey{c, s}] = append(ns[figureKey{c, s}], x)
		}
		if m == nil || !catalog.TakesPart(catalog.Mimalloc, c.workload, c.mode) {
			continue
		}
		x, err := askMimalloc(ctx, m, c.workload, spec)
		if err != nil {
			return err
		}
		ns[figureKey{c, catalog.Mimalloc}] = append(ns[figureKey{c, catalog.Mimalloc}], x)
	}
	return nil
}

// figures puts what was measured into the order of the tables.
func (p plan) figures(ns map[figureKey][]float64) []Figure {
	var all []Figure
	for _, c := range p.cells() {
		of := func(s catalog.Side) []float64 { return ns[figureKey{c, s}] }
		for _, s := range catalog.Sides {
			xs := of(s)
			if len(xs) == 0 {
				continue
			}
			f := Figure{
				Workload: c.workload.Name, Size: c.size, Mode: c.mode, Side: s,
				NS: xs, Median: spread(xs).Median, VsSyncPool: against(xs, of(catalog.SyncPool)),
			}
			if s == catalog.Pool {
				f.VsSyncx = against(xs, of(catalog.Syncx))
				f.VsModernc = against(xs, of(catalog.Modernc))
				if f.VsModernc == nil {
					f.VsModernc = against(xs, of(catalog.ModerncLock))
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// against returns the ratios of a side to another, nil if that takes no part.
func against(xs, other []float64) *Spread {
	if len(other) == 0 {
		return nil
	}
	s := spread(ratios(xs, other))
	return &s
}
