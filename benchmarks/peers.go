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
	timing    wire.Timing
	together  int // slices of parallel workloads: each waits until all processors are free

	// attempts are how often a cell is measured in a process until it is quiet. All other
	// cells come between them, since what disturbs often stays for seconds.
	attempts int

	workloads []catalog.Workload
	modes     []catalog.Mode
	sizes     []int
	sides     []catalog.Side // sync.Pool is one of them
	baseline  string         // a checkout of the library; none if empty
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
			for _, m := range p.modes {
				all = append(all, cell{w, size, m})
			}
		}
	}
	return all
}

// versions are the libraries measured: in their order, that around this module and
// the baseline.
func (p plan) versions() []string {
	if p.baseline == "" {
		return []string{""}
	}
	return []string{"", p.baseline}
}

// sidesOf returns the sides of c that the worker has.
func (p plan) sidesOf(c cell) []catalog.Side {
	var sides []catalog.Side
	for _, s := range p.sides {
		if s != catalog.Mimalloc && catalog.TakesPart(s, c.workload, c.mode) {
			sides = append(sides, s)
		}
	}
	return sides
}

// expect is about how long a cell takes: it weighs cells in the time left.
func (p plan) expect(c cell) time.Duration {
	const (
		warmUp   = 2 // and calibration, in rounds
		overhead = 3 // warm-up and probes are a third of a slice
	)
	var sum time.Duration
	for _, s := range p.sidesOf(c) {
		switch {
		case !catalog.NeedsRounds(s, c.workload):
			slices := p.timing.Slices
			if c.workload.Parallel {
				slices = p.together
			}
			sum += time.Duration(slices) * (p.timing.Slice + p.timing.Slice/overhead)
		case c.workload.Kind == catalog.Burst:
			sum += time.Duration(p.timing.Rounds+warmUp) * catalog.BurstRepeat * catalog.BurstIdle
		default:
			sum += time.Duration(p.timing.Rounds+warmUp) * p.timing.Round
		}
	}
	return time.Duration(len(p.versions())) * sum
}

const buildTime = 2 * time.Second // of a worker, most of it linking

func (p plan) expectAll() time.Duration {
	sum := time.Duration(len(p.versions())) * buildTime
	for _, c := range p.cells() {
		sum += p.expect(c)
	}
	return time.Duration(p.processes) * sum
}

// A figureKey says whose figures: those of a side with one version of the library.
type figureKey struct {
	cell     cell
	side     catalog.Side
	baseline bool
}

// A sample is what one process measured.
type sample struct {
	ns    float64
	quiet bool
}

type samples map[figureKey][]sample

// measurePeers runs all cells in each process, and the same ones in a process of
// the C program that waits meanwhile.
func measurePeers(ctx context.Context, p plan, dir string, pr *progress) (*Peers, error) {
	m := &peersRun{plan: p, dir: dir, progress: pr, samples: make(samples)}
	for _, s := range p.sides {
		if s != catalog.Mimalloc {
			continue
		}
		var err error
		if m.mimalloc, err = buildMimalloc(ctx, dir); err != nil {
			if !errors.Is(err, errNoMimalloc) {
				return nil, err
			}
			pr.note(err.Error())
		}
	}
	for i := range p.processes {
		if err := m.process(ctx, i); err != nil {
			return nil, err
		}
	}
	return &Peers{
		Processes: p.processes, Method: p.method(), Mimalloc: m.mimalloc != "", Figures: p.figures(m.samples),
	}, nil
}

// method says in a sentence how figures come about.
func (p plan) method() string {
	return fmt.Sprintf("Processes: %d, each with its functions in another order. In each, the sides take turns in slices of about %s until each has "+
		"had %d (%d if on several goroutines) while nobody else used the core; a figure is the 10th percentile of a side's slices. new, burst-after-idle and request: the median of %d rounds of about %s",
		p.processes, p.timing.Slice, p.timing.Slices, p.together, p.timing.Rounds, p.timing.Round)
}

// A peersRun is a comparison under way.
type peersRun struct {
	plan
	dir      string
	progress *progress
	mimalloc string // the program; none if empty
	quickest time.Duration
	samples  samples
}

// process measures all cells in a process with the layout of number i; with a
// baseline, in two, which take turns.
func (m *peersRun) process(ctx context.Context, i int) error {
	say := func(what string, expected time.Duration) {
		m.progress.step(fmt.Sprintf("process %d of %d: %s", i+1, m.processes, what), expected)
	}
	var workers []*child
	for _, baseline := range m.versions() {
		say("build", buildTime)
		path, err := buildWorker(ctx, m.dir, i+1, baseline)
		if err != nil {
			return err
		}
		defer os.Remove(path)
		w, err := startChild(ctx, path, wire.VerbCells)
		if err != nil {
			return err
		}
		defer w.stop()
		workers = append(workers, w)
	}
	var c *child
	if m.mimalloc != "" {
		var err error
		if c, err = startChild(ctx, m.mimalloc); err != nil {
			return err
		}
		defer c.stop()
	}
	best, inC := make(map[cell][]wire.Cell), make(map[cell]float64)
	todo := m.cells()
	for attempt := 0; attempt < m.attempts && len(todo) > 0; attempt++ {
		var noisy []cell
		for _, t := range todo {
			expected := time.Duration(0) // again
			if attempt == 0 {
				expected = m.expect(t)
			}
			say(fmt.Sprintf("%s, %d bytes, %s", t.workload.Name, t.size, t.mode), expected)
			quiet, err := m.measure(ctx, t, i, workers, best)
			if err != nil {
				return err
			}
			if !quiet {
				noisy = append(noisy, t)
			}
			if attempt == 0 && c != nil && catalog.TakesPart(catalog.Mimalloc, t.workload, t.mode) {
				ns, err := askMimalloc(ctx, c, t.workload, m.spec(t, i))
				if err != nil {
					return err
				}
				inC[t] = ns
			}
		}
		todo = noisy
	}
	for t, of := range best {
		if ns, ok := inC[t]; ok {
			m.add(t, catalog.Mimalloc, false, sample{ns, of[0].Quiet})
		}
		for v, answer := range of {
			for s, ns := range answer.NS {
				m.add(t, s, v > 0, sample{ns, answer.Quiet})
			}
		}
	}
	return nil
}

func (m *peersRun) add(c cell, s catalog.Side, baseline bool, x sample) {
	key := figureKey{c, s, baseline}
	m.samples[key] = append(m.samples[key], x)
}

func (p plan) spec(c cell, turn int) wire.CellSpec {
	spec := wire.CellSpec{Workload: c.workload.Name, Size: c.size, Mode: c.mode, Sides: p.sidesOf(c), Timing: p.timing, Turn: turn}
	if c.workload.Parallel {
		spec.Slices = p.together
	}
	return spec
}

// measure asks each worker once for a cell, writes to best what is better than before,
// and reports whether all of that is quiet.
func (m *peersRun) measure(ctx context.Context, c cell, turn int, workers []*child, best map[cell][]wire.Cell) (bool, error) {
	first := best[c] == nil
	if first {
		best[c] = make([]wire.Cell, len(workers))
	}
	quiet := true
	for i := range workers {
		v := (i + turn) % len(workers)
		if best[c][v].Quiet {
			continue
		}
		spec := m.spec(c, turn)
		spec.Quickest = m.quickest
		line, err := json.Marshal(spec)
		if err != nil {
			return false, err
		}
		var answer wire.Cell
		if err := workers[v].ask(ctx, line, &answer); err != nil {
			return false, err
		}
		m.quickest = answer.Quickest
		if first || answer.Quiet {
			best[c][v] = answer
		}
		quiet = quiet && answer.Quiet
	}
	return quiet, nil
}

// figures puts what was measured into the order of the tables.
func (p plan) figures(all samples) []Figure {
	var figures []Figure
	for _, c := range p.cells() {
		for v := range p.versions() {
			figures = append(figures, cellFigures(c, v > 0, all)...)
		}
	}
	return figures
}

// cellFigures are those of the quiet processes, or of all if none was.
func cellFigures(c cell, baseline bool, all samples) []Figure {
	quiet := 0
	for _, x := range all[figureKey{c, catalog.SyncPool, baseline}] {
		if x.quiet {
			quiet++
		}
	}
	of := func(s catalog.Side) (ns []float64) {
		for _, x := range all[figureKey{c, s, baseline}] {
			if x.quiet || quiet == 0 {
				ns = append(ns, x.ns)
			}
		}
		return ns
	}
	var figures []Figure
	for _, s := range catalog.SidesOf(c.mode) {
		xs := of(s)
		if len(xs) == 0 {
			continue
		}
		f := Figure{
			Workload: c.workload.Name, Size: c.size, Mode: c.mode, Side: s, Baseline: baseline, Noisy: quiet == 0,
			NS: xs, Median: spread(xs).Median, VsSyncPool: against(xs, of(catalog.SyncPool)),
		}
		if s == catalog.Pool {
			f.VsSyncx = against(xs, of(catalog.Syncx))
			f.VsModernc = against(xs, of(catalog.Modernc))
			if f.VsModernc == nil {
				f.VsModernc = against(xs, of(catalog.ModerncLock))
			}
		}
		figures = append(figures, f)
	}
	return figures
}

// against returns the ratios of a side to another, nil if that takes no part.
func against(xs, other []float64) *Spread {
	if len(other) == 0 {
		return nil
	}
	s := spread(ratios(xs, other))
	return &s
}
