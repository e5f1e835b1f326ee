package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A largePlan is what is measured of bursts of large objects.
type largePlan struct {
	processes int // for each size
	timing    wire.Timing
	objects   []int // of a burst
	most      int   // bytes of a burst
	idle      time.Duration
}

const (
	// largeStep writes a byte on nearly every page of the system. Without the 64 bytes, all of them
	// would share a set of the first cache.
	largeStep = 4096 + 64

	// largeMemoryBursts are as many as a program needs to be warm.
	largeMemoryBursts = 10
)

var largeSizes = []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 200 << 10, 512 << 10, 1 << 20}

// specs has one for each size.
func (p largePlan) specs() []wire.LargeSpec {
	var all []wire.LargeSpec
	for _, size := range largeSizes {
		spec := wire.LargeSpec{Size: size, Steps: []int{size}, Timing: p.timing}
		if size > largeStep {
			spec.Steps = append(spec.Steps, largeStep)
		}
		for _, n := range p.objects {
			if n*size <= p.most {
				spec.Objects = append(spec.Objects, n)
			}
		}
		all = append(all, spec)
	}
	return all
}

// expect is for a process. What large bursts take beyond a slice is not known before.
func (p largePlan) expect(s wire.LargeSpec) time.Duration {
	const overhead = 2
	cells := time.Duration(len(s.Objects) * len(s.Steps) * len(wire.LargeSides))
	return cells * overhead * time.Duration(p.timing.Slices) * p.timing.Slice
}

func (p largePlan) expectMemory() time.Duration { return p.idle + 200*time.Millisecond }

func (p largePlan) expectAll() time.Duration {
	sum := time.Duration(len(largeSizes)*len(wire.LargeSides)) * p.expectMemory()
	for _, s := range p.specs() {
		sum += time.Duration(p.processes) * p.expect(s)
	}
	return sum + time.Duration(p.processes)*buildTime
}

type largeKey struct {
	size, objects, step int
}

// measureLarge has a process for each size, with each layout.
func measureLarge(ctx context.Context, p largePlan, dir string, pr *progress) (*Large, error) {
	l := &Large{Processes: p.processes, Idle: p.idle, Method: fmt.Sprintf(
		"Processes: %d for each size, each with its functions in another order. In each, the sides take turns in slices of about %s, and of at least one burst, "+
			"until each has had %d while nobody else used the core, or %s are over; a figure is the 10th percentile of a side's slices",
		p.processes, p.timing.Slice, p.timing.Slices, p.timing.Limit)}
	cells := make(map[largeKey][]wire.LargeCell)
	skipped := make(map[int]string)
	var quickest time.Duration
	for i := range p.processes {
		pr.step(fmt.Sprintf("large, layout %d of %d: build", i+1, p.processes), buildTime)
		worker, err := buildWorker(ctx, dir, i+1, "")
		if err != nil {
			return nil, err
		}
		for _, spec := range p.specs() {
			pr.step(fmt.Sprintf("large, layout %d of %d: %s", i+1, p.processes, byteSize(spec.Size)), p.expect(spec))
			spec.Turn, spec.Quickest = i, quickest
			r, err := once[wire.Large](ctx, worker, wire.VerbLarge, spec)
			if err != nil {
				return nil, err
			}
			quickest = r.Quickest
			if r.Skipped != "" {
				skipped[spec.Size] = r.Skipped
			}
			for _, c := range r.Cells {
				k := largeKey{spec.Size, c.Objects, c.Step}
				cells[k] = append(cells[k], c)
			}
		}
		if i == 0 {
			if l.Memory, err = p.measureMemory(ctx, worker, pr); err != nil {
				return nil, err
			}
		}
		os.Remove(worker)
	}
	for _, size := range slices.Sorted(maps.Keys(skipped)) {
		l.Skipped = append(l.Skipped, fmt.Sprintf("%s: %s", byteSize(size), skipped[size]))
	}
	for _, spec := range p.specs() {
		for _, step := range spec.Steps {
			for _, n := range spec.Objects {
				l.Figures = append(l.Figures, largeFigures(largeKey{spec.Size, n, step}, cells)...)
			}
		}
	}
	return l, nil
}

// measureMemory has a process for each size and side.
func (p largePlan) measureMemory(ctx context.Context, worker string, pr *progress) ([]wire.LargeMemory, error) {
	var all []wire.LargeMemory
	for _, s := range p.specs() {
		for _, side := range wire.LargeSides {
			pr.step(fmt.Sprintf("large, memory: %s, %s", byteSize(s.Size), side), p.expectMemory())
			spec := wire.LargeMemorySpec{Side: side, Size: s.Size, Objects: slices.Max(s.Objects), Bursts: largeMemoryBursts, Idle: p.idle}
			r, err := once[wire.LargeMemory](ctx, worker, wire.VerbLargeMemory, spec)
			if err != nil {
				return nil, err
			}
			if r.Skipped == "" {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// largeFigures are those of the quiet processes, or of all if none was.
func largeFigures(k largeKey, cells map[largeKey][]wire.LargeCell) []LargeFigure {
	isNoisy := func(c wire.LargeCell) bool { return !c.Quiet }
	of := slices.DeleteFunc(slices.Clone(cells[k]), isNoisy)
	noisy := len(of) == 0
	if noisy {
		of = cells[k]
	}
	if len(of) == 0 {
		return nil
	}
	xs := func(s catalog.Side, x func(wire.LargeCost) float64) (all []float64) {
		for _, c := range of {
			all = append(all, x(c.Sides[s]))
		}
		return all
	}
	ns := func(c wire.LargeCost) float64 { return c.NS }
	var figures []LargeFigure
	for _, s := range wire.LargeSides {
		figures = append(figures, LargeFigure{
			Size: k.size, Objects: k.objects, Step: k.step, Side: s, Noisy: noisy,
			NS:         xs(s, ns),
			VsSyncPool: *against(xs(s, ns), xs(catalog.SyncPool, ns)),
			Slow:       spread(xs(s, func(c wire.LargeCost) float64 { return c.Slow })),
			Releases:   spread(xs(s, func(c wire.LargeCost) float64 { return c.Releases })),
		})
	}
	return figures
}

func byteSize(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func writeLarge(out io.Writer, l *Large) {
	fmt.Fprintf(out, `
# Large objects in bursts

%s.

%s.

A burst gets n byte arrays of one size (GetNoZero), writes into each, and puts them all, first in, first out. "first byte": that
is all that is written, so the time is that of Get and Put. "every 4 KiB": a byte every %d bytes is written, which is on nearly
every page of the system and in many sets of the cache. Time of an object as a ratio to sync.Pool's ("ns"): median over the
processes of the ratio within the process, and from the second lowest to the second highest. "slow" is the share of slow Gets
after a warm-up, and "releases" are pages for each burst, off the heap / on it. A collection runs when sides have left %d MiB
of garbage, outside of slices. %s before a ratio: others used the cores in all processes, or bursts take so long that there
were few slices.

`, l.Run, l.Method, largeStep, wire.MostGarbage>>20, noisy)
	writeTable(out, l.table())
	for _, s := range l.Skipped {
		fmt.Fprintf(out, "\nNot measured: %s.\n", s)
	}
	fmt.Fprintf(out, `
## Memory after bursts

%d bursts of the largest kind, with a byte on each page of the system written. In MiB: what the process has resident, what the Go
heap has in objects, and what the pool counts as committed. "later" is %s after the last Put. Before it, no collection runs
unless the heap's growth asks for one.

`, largeMemoryBursts, l.Idle)
	writeTable(out, l.memoryTable())
}

// table has a row for each kind of burst.
func (l *Large) table() [][]string {
	rows := [][]string{{"size", "written", "n", "ns", "pool", "pool, Go heap", "slow", "releases"}}
	for figures := range slices.Chunk(l.Figures, len(wire.LargeSides)) {
		off, on, std := figures[0], figures[1], figures[2]
		written := "first byte"
		if off.Step < off.Size {
			written = "every 4 KiB"
		}
		rows = append(rows, []string{
			byteSize(off.Size), written, fmt.Sprint(off.Objects), fmt.Sprintf("%.1f", spread(std.NS).Median), off.ratio(), on.ratio(),
			fmt.Sprintf("%.3g / %.3g", off.Slow.Median, on.Slow.Median),
			fmt.Sprintf("%.3g / %.3g", off.Releases.Median, on.Releases.Median),
		})
	}
	return rows
}

func (f LargeFigure) ratio() string { return noisyRatio(&f.VsSyncPool, len(f.NS), f.Noisy) }

func (l *Large) memoryTable() [][]string {
	rows := [][]string{{
		"size", "n", "side", "resident, before", "after the last Put", "later",
		"Go heap, after the last Put", "later, collected", "collected twice", "committed, later",
	}}
	mib := func(x float64) string { return fmt.Sprintf("%.1f", x) }
	for _, m := range l.Memory {
		row := []string{byteSize(m.Size), fmt.Sprint(m.Objects), string(m.Side)}
		for _, x := range slices.Concat(m.Resident[:], m.Heap[:]) {
			row = append(row, mib(x))
		}
		committed := absent
		if m.Side != catalog.SyncPool {
			committed = mib(m.Committed)
		}
		rows = append(rows, append(row, committed))
	}
	return rows
}
