package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A goHeapPlan is what is measured of pools on the Go heap.
type goHeapPlan struct {
	times     plan
	processes int  // of times and of collections
	onlyTimes bool // -workload, -baseline

	warm             int // objects
	pauses           []time.Duration
	forgotten        int // objects
	collections      int // objects
	collectionRounds int
	retention        int // objects
	losses           wire.LossesSpec
}

const (
	warmCollections = 5

	// retainedBuffer is what an object has besides, in half of the rows of the table of retention.
	retainedBuffer = 256
)

var (
	retentionShares = []float64{0.7, 0.9, 0.99}
	lossesShares    = []float64{0.001, 0.1, 0.9}
)

// planGoHeap sets the part of the plan that follows from the options for the comparison.
func (o *options) planGoHeap() error {
	p := o.peers
	p.processes, p.sides = o.goHeap.processes, catalog.HeapSides
	p.sizes, p.modes = []int{catalog.HeapSize}, []catalog.Mode{catalog.Pointers}
	isOther := func(w catalog.Workload) bool {
		return !slices.ContainsFunc(catalog.HeapWorkloads, func(h catalog.Workload) bool { return h.Name == w.Name })
	}
	p.workloads = slices.DeleteFunc(slices.Clone(p.workloads), isOther)
	o.goHeap.times = p
	if !o.has(studyGoHeap) {
		return nil
	}
	switch {
	case len(p.workloads) == 0:
		return fmt.Errorf("-workload matches none of the study goheap")
	case p.baseline != "" && !hasGoHeap(p.baseline):
		return fmt.Errorf("-study goheap: the library in %s has no WithGoHeap", p.baseline)
	}
	return nil
}

// A goHeapStep is a process of the study.
type goHeapStep struct {
	name   string
	expect time.Duration
	do     func(ctx context.Context, worker string, to *GoHeap) error
}

// goHeapStepOf has a worker answer spec, and adds the answer to what to returns.
func goHeapStepOf[R any](name string, expect time.Duration, verb string, spec any, to func(*GoHeap) *[]R) goHeapStep {
	return goHeapStep{"goheap: " + name, expect, func(ctx context.Context, worker string, g *GoHeap) error {
		r, err := once[R](ctx, worker, verb, spec)
		all := to(g)
		*all = append(*all, r)
		return err
	}}
}

// steps are all but the times, and the collections.
func (p goHeapPlan) steps() []goHeapStep {
	const nsPerObject, nsPerPair = 500, 250 // with all that is done to one
	var all []goHeapStep
	for _, pause := range p.pauses {
		for _, s := range wire.WarmSides {
			spec := wire.WarmSpec{Side: s, Objects: p.warm, Collections: warmCollections, Pause: pause}
			all = append(all, goHeapStepOf("warm objects", warmCollections*pause, wire.VerbWarm, spec, func(g *GoHeap) *[]wire.Warm { return &g.Warm }))
		}
	}
	for _, s := range wire.HeapSides {
		spec := wire.ForgottenSpec{Side: s, Objects: p.forgotten}
		expect := time.Duration(p.forgotten) * nsPerObject
		all = append(all, goHeapStepOf("forgotten objects", expect, wire.VerbForgotten, spec, func(g *GoHeap) *[]wire.Forgotten { return &g.Forgotten }))
	}
	for _, buffer := range []int{0, retainedBuffer} {
		for _, share := range retentionShares {
			for _, s := range wire.HeapSides {
				spec := wire.RetentionSpec{Side: s, Objects: p.retention, Buffer: buffer, Share: share}
				expect := time.Duration(p.retention) * nsPerObject
				all = append(all, goHeapStepOf("retention", expect, wire.VerbRetention, spec, func(g *GoHeap) *[]wire.Retention { return &g.Retention }))
			}
		}
	}
	for _, share := range lossesShares {
		for _, s := range wire.HeapSides {
			spec := p.losses
			spec.Side, spec.Share = s, share
			expect := time.Duration(spec.Rounds*spec.Gets) * nsPerPair
			all = append(all, goHeapStepOf(fmt.Sprintf("an hour of losses, %s", s), expect, wire.VerbLosses, spec, func(g *GoHeap) *[]wire.Losses { return &g.Losses }))
		}
	}
	return all
}

func (p goHeapPlan) expectCollections() time.Duration {
	const nsPerObject, nsPerScan = 500, 100
	return time.Duration(p.collections) * time.Duration(nsPerObject+p.collectionRounds*nsPerScan)
}

func (p goHeapPlan) expectAll() time.Duration {
	sum := p.times.expectAll()
	if p.onlyTimes {
		return sum
	}
	for _, s := range p.steps() {
		sum += s.expect
	}
	return sum + time.Duration(p.processes*len(wire.HeapSides))*p.expectCollections()
}

func measureGoHeap(ctx context.Context, p goHeapPlan, dir, worker string, pr *progress) (*GoHeap, error) {
	peers, err := measurePeers(ctx, p.times, dir, pr)
	if err != nil {
		return nil, err
	}
	t := p.times.timing
	g := &GoHeap{Processes: p.processes, Times: peers.Figures, Method: fmt.Sprintf(
		"Processes: %d, each with its functions in another order. In each, the sides take turns in slices of about %s until each has had %d (%d if on several goroutines) "+
			"while nobody else used the core; a figure is the 10th percentile of a side's slices. new: the median of %d rounds of about %s",
		p.processes, t.Slice, t.Slices, p.times.together, t.Rounds, t.Round)}
	if p.onlyTimes {
		return g, nil
	}
	for _, s := range p.steps() {
		pr.step(s.name, s.expect)
		if err := s.do(ctx, worker, g); err != nil {
			return nil, err
		}
	}
	g.Collections, err = p.measureCollections(ctx, worker, pr)
	return g, err
}

// measureCollections has the sides take turns, each time in a new process.
func (p goHeapPlan) measureCollections(ctx context.Context, worker string, pr *progress) ([]CollectionsRow, error) {
	answers := make(map[catalog.Side][]wire.Collections)
	for range p.processes {
		for _, s := range wire.HeapSides {
			pr.step(fmt.Sprintf("goheap: collections with %d live objects, %s", p.collections, s), p.expectCollections())
			spec := wire.CollectionsSpec{Side: s, Objects: p.collections, Rounds: p.collectionRounds}
			r, err := once[wire.Collections](ctx, worker, wire.VerbCollections, spec)
			if err != nil {
				return nil, err
			}
			answers[s] = append(answers[s], r)
		}
	}
	var rows []CollectionsRow
	for _, s := range wire.HeapSides {
		of := func(x func(wire.Collections) float64) Spread {
			var xs []float64
			for _, a := range answers[s] {
				xs = append(xs, x(a))
			}
			return spread(xs)
		}
		rows = append(rows, CollectionsRow{
			Side: s, Objects: p.collections, Rounds: p.collectionRounds,
			Millis:    of(func(c wire.Collections) float64 { return c.Millis }),
			CPUMillis: of(func(c wire.Collections) float64 { return c.CPUMillis }),
			PauseUS:   of(func(c wire.Collections) float64 { return c.PauseUS }),
			LowUS:     of(func(c wire.Collections) float64 { return c.LowUS }),
		})
	}
	return rows, nil
}

func writeGoHeap(out io.Writer, g *GoHeap) {
	fmt.Fprintf(out, `
# Pages of the Go heap

%s.

Structs of %d bytes with pointers, on pages of the Go heap.

## Times

%s.

Time of a Get and Put pair as a ratio to that of a sync.Pool whose objects keep what they hold ("ns"): median over the
processes of the ratio within the process, and from the second lowest to the second highest. %s before a ratio: others used
the cores in all processes.

`, g.Run, catalog.HeapSize, g.Method, noisy)
	writeTable(out, g.timesTable())
	if g.Warm == nil {
		return
	}
	fmt.Fprintf(out, "\n## Objects that are there after %d collections\n\nObjects are got and put, and nothing is in use during the collections. Then as many are got again, and some more.\n\n", warmCollections)
	writeTable(out, g.warmTable())
	fmt.Fprint(out, "\n## Objects that are dropped, all of them\n\nOf the Go heap, in MiB, with the slice that holds them; live and lost as Stats has them.\n\n")
	writeTable(out, g.forgottenTable())
	fmt.Fprintf(out, "\n## Collections with %d live objects in a []*T\n\nEach object has pointers to two others. Medians of %d collections; for pauses, which are two each, their 10th percentile as well,\n"+
		"which is without the scheduler of the kernel.\n\n", g.Collections[0].Objects, g.Collections[0].Rounds)
	writeTable(out, g.collectionsTable())
	fmt.Fprintf(out, "\n## Retention: a share is dropped at random, and the program holds the others\n\n%d objects; MiB of the Go heap that is left of them.\n\n", g.Retention[0].Objects)
	writeTable(out, g.retentionTable())
	l := g.Losses[0]
	fmt.Fprintf(out, "\n## An hour of losses\n\n%d rounds that stand for a second each; in each, %d replacements in a window of %d live objects. What is replaced is put, but\n"+
		"for a share that is dropped. A collection every %d rounds, and no others. KiB of the Go heap after a collection.\n\n", l.Rounds, l.Gets, l.Live, l.CollectEvery)
	writeTable(out, g.lossesTable())
}

// timesTable has a row for each workload, and columns for the baseline where there is one.
func (g *GoHeap) timesTable() [][]string {
	head := []string{"workload", "ns"}
	row := make(map[string][]string) // by workload
	var names []string
	for _, s := range catalog.HeapSides {
		for _, baseline := range []bool{false, true} {
			measured := false
			for _, f := range g.Times {
				if f.Side != s || f.Baseline != baseline || s == catalog.SyncPool {
					continue
				}
				measured = true
				if row[f.Workload] == nil {
					names = append(names, f.Workload)
					row[f.Workload] = []string{f.Workload, absent}
				}
				row[f.Workload] = append(row[f.Workload], f.ratio(f.VsSyncPool))
			}
			switch {
			case measured && baseline:
				head = append(head, string(s)+", baseline")
			case measured:
				head = append(head, string(s))
			}
		}
	}
	for _, f := range g.Times {
		if f.Side == catalog.SyncPool && !f.Baseline && row[f.Workload] != nil {
			row[f.Workload][1] = fmt.Sprintf("%.1f", f.Median)
		}
	}
	rows := [][]string{head}
	for _, name := range names {
		rows = append(rows, row[name])
	}
	return rows
}

func (g *GoHeap) warmTable() [][]string {
	rows := [][]string{{"side", "pause before each", "objects", "made by as many Gets", "there still"}}
	for _, w := range g.Warm {
		rows = append(rows, []string{
			string(w.Side), w.Pause.String(), fmt.Sprint(w.Objects), fmt.Sprint(w.Made), fmt.Sprint(w.There),
		})
	}
	return rows
}

func (g *GoHeap) forgottenTable() [][]string {
	head := []string{"side, objects", "before", "all held"}
	for i := range len(g.Forgotten[0].States) - 2 {
		head = append(head, fmt.Sprintf("collection %d", i+1))
	}
	rows := [][]string{append(head, "live at the end", "lost")}
	for _, f := range g.Forgotten {
		row := []string{fmt.Sprintf("%s, %d", f.Side, f.Objects)}
		for _, s := range f.States {
			row = append(row, fmt.Sprintf("%.1f", s.MiB))
		}
		last := f.States[len(f.States)-1]
		rows = append(rows, append(row, ofPool(f.Side, last.Live), ofPool(f.Side, last.Lost)))
	}
	return rows
}

// ofPool returns what only a pool of this library counts.
func ofPool(s catalog.Side, n any) string {
	if s != catalog.Pool {
		return absent
	}
	return fmt.Sprint(n)
}

func (g *GoHeap) collectionsTable() [][]string {
	rows := [][]string{{"side", "runtime.GC, ms", "processor time, ms", "pauses, us", "10th percentile"}}
	for _, c := range g.Collections {
		row := []string{string(c.Side)}
		for _, s := range []Spread{c.Millis, c.CPUMillis, c.PauseUS, c.LowUS} {
			row = append(row, fmt.Sprintf("%.0f (%.0f–%.0f)", s.Median, s.Low, s.High))
		}
		rows = append(rows, row)
	}
	return rows
}

// retentionTable has a row for each share with and without buffers, and the sides in columns.
func (g *GoHeap) retentionTable() [][]string {
	head := []string{"dropped", "an object has"}
	for _, s := range wire.HeapSides {
		head = append(head, fmt.Sprintf("%s, all", s), fmt.Sprintf("%s, left", s))
	}
	rows := [][]string{head}
	for i, r := range g.Retention {
		if i%len(wire.HeapSides) == 0 {
			has := "no buffer"
			if r.Buffer > 0 {
				has = fmt.Sprintf("a buffer of %d bytes", r.Buffer)
			}
			rows = append(rows, []string{fmt.Sprintf("%.4g %%", 100*r.Share), has})
		}
		last := &rows[len(rows)-1]
		*last = append(*last, fmt.Sprintf("%.1f", r.FullMiB), fmt.Sprintf("%.1f", r.LeftMiB))
	}
	return rows
}

func (g *GoHeap) lossesTable() [][]string {
	head := []string{"side, dropped", "start"}
	for i := range len(g.Losses[0].MiB) - 1 {
		head = append(head, fmt.Sprintf("%d/%d", i+1, len(g.Losses[0].MiB)-1))
	}
	rows := [][]string{append(head, "most before a collection", "dropped", "lost")}
	kib := func(mib float64) string { return fmt.Sprintf("%.0f", 1024*mib) }
	for _, l := range g.Losses {
		row := []string{fmt.Sprintf("%s, %.4g %%", l.Side, 100*l.Share)}
		for _, mib := range l.MiB {
			row = append(row, kib(mib))
		}
		rows = append(rows, append(row, kib(l.MostMiB), fmt.Sprint(l.Forgot), ofPool(l.Side, l.Lost)))
	}
	return rows
}
