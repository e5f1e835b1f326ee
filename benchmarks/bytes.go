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

// A bytesPlan is what is measured of slices of bytes.
type bytesPlan struct {
	processes int // for each size
	together  int // slices on several goroutines
	timing    wire.Timing
	burst     int // slices
	idle      time.Duration
}

const (
	mix = 0 // stands for the sizes of catalog.MixSizes

	bytesBurstSize = 1 << 20
	bytesMostWaste = 1 << 20
)

var bytesSizes = []int{64, 1 << 10, 4 << 10, 32 << 10, 1 << 20, mix}

func bytesSizeName(size int) string {
	if size == mix {
		return "mix"
	}
	return byteSize(size)
}

func (p bytesPlan) expect() time.Duration {
	const overhead = 2
	sides := time.Duration(len(wire.BytesSides) - 1)
	each := overhead*sides*time.Duration(p.timing.Slices)*p.timing.Slice + overhead*time.Duration(p.timing.Rounds)*p.timing.Round
	return time.Duration(len(wire.BytesWorkloads)) * each
}

func (p bytesPlan) expectMemory() time.Duration { return p.idle + 200*time.Millisecond }

func (p bytesPlan) expectAll() time.Duration {
	each := buildTime + time.Duration(len(bytesSizes))*p.expect()
	return time.Duration(p.processes)*each + time.Duration(len(wire.BytesSides))*p.expectMemory()
}

type bytesKey struct {
	size     int
	workload wire.BytesWorkload
}

// measureBytes has a process for each size, with each layout.
func measureBytes(ctx context.Context, p bytesPlan, dir string, pr *progress) (*Bytes, error) {
	t := p.timing
	b := &Bytes{Processes: p.processes, Idle: p.idle, Method: fmt.Sprintf(
		"Processes: %d for each size, each with its functions in another order. In each, the sides take turns in slices of about %s until each has had %d "+
			"(%d if on two goroutines) while nobody else used the core; a figure is the 10th percentile of a side's slices. make: the median of %d rounds of about %s",
		p.processes, t.Slice, t.Slices, p.together, t.Rounds, t.Round)}
	cells := make(map[bytesKey][]wire.BytesCell)
	var quickest time.Duration
	for i := range p.processes {
		pr.step(fmt.Sprintf("bytes, layout %d of %d: build", i+1, p.processes), buildTime)
		worker, err := buildWorker(ctx, dir, i+1, "")
		if err != nil {
			return nil, err
		}
		for _, size := range bytesSizes {
			pr.step(fmt.Sprintf("bytes, layout %d of %d: %s", i+1, p.processes, bytesSizeName(size)), p.expect())
			spec := wire.BytesSpec{Size: size, Timing: t, Together: p.together, Turn: i, Quickest: quickest}
			r, err := once[wire.Bytes](ctx, worker, wire.VerbBytes, spec)
			if err != nil {
				return nil, err
			}
			quickest = r.Quickest
			for _, c := range r.Cells {
				k := bytesKey{size, c.Workload}
				cells[k] = append(cells[k], c)
			}
		}
		if i == 0 {
			if err := p.measureRest(ctx, worker, b, pr); err != nil {
				return nil, err
			}
		}
		os.Remove(worker)
	}
	for _, w := range wire.BytesWorkloads {
		for _, size := range bytesSizes {
			b.Figures = append(b.Figures, bytesFigures(bytesKey{size, w}, cells)...)
		}
	}
	return b, nil
}

// measureRest measures memory, with a process for each side, and what classes waste.
func (p bytesPlan) measureRest(ctx context.Context, worker string, b *Bytes, pr *progress) error {
	for _, s := range wire.BytesSides {
		pr.step(fmt.Sprintf("bytes, memory: %s", s), p.expectMemory())
		spec := wire.BytesMemorySpec{Side: s, Slices: p.burst, Size: bytesBurstSize, Idle: p.idle}
		r, err := once[wire.BytesMemory](ctx, worker, wire.VerbBytesMemory, spec)
		if err != nil {
			return err
		}
		b.Memory = append(b.Memory, r)
	}
	w, err := once[wire.BytesWaste](ctx, worker, wire.VerbBytesWaste, wire.BytesWasteSpec{Most: bytesMostWaste})
	b.Classes = w.Classes
	return err
}

// bytesFigures are those of the quiet processes, or of all if none was.
func bytesFigures(k bytesKey, cells map[bytesKey][]wire.BytesCell) []BytesFigure {
	of := slices.DeleteFunc(slices.Clone(cells[k]), func(c wire.BytesCell) bool { return !c.Quiet })
	noisy := len(of) == 0
	if noisy {
		of = cells[k]
	}
	ns := func(s catalog.Side) (xs []float64) {
		for _, c := range of {
			xs = append(xs, c.NS[s])
		}
		return xs
	}
	var figures []BytesFigure
	for _, s := range wire.BytesSides {
		f := BytesFigure{Workload: k.workload, Size: k.size, Side: s, Noisy: noisy, NS: ns(s), VsSyncPool: *against(ns(s), ns(catalog.SyncPool))}
		var capacities []float64
		for _, c := range of {
			if x, ok := c.Capacity[s]; ok {
				capacities = append(capacities, x)
			}
		}
		if len(capacities) > 0 {
			f.Capacity = spread(capacities).Median
		}
		figures = append(figures, f)
	}
	return figures
}

func writeBytes(out io.Writer, b *Bytes) {
	fmt.Fprintf(out, `
# Slices of bytes

%s.

%s.

Time of a Get and its Put as a ratio to that of a sync.Pool of *[]byte whose slices grow when they are too small ("ns"): median
over the processes of the ratio within the process, and from the second lowest to the second highest. The first byte and the last
are written. "mix" has message sizes of a datacenter. A collection runs when sides have left %d MiB of garbage, outside of
slices. %s before a ratio: others used the cores in all processes, or there were few slices.
`, b.Run, b.Method, wire.MostGarbage>>20, noisy)
	for _, w := range wire.BytesWorkloads {
		fmt.Fprintf(out, "\n## %s\n\n", bytesTitle(w))
		writeTable(out, b.timesTable(w))
	}
	fmt.Fprintf(out, "\n## Capacity\n\nCapacity of the slices that are live in churn, for each byte that was asked for.\n\n")
	writeTable(out, b.capacityTable())
	fmt.Fprintf(out, `
## Memory after a burst

%d slices of %s are got, written on every page of the system, and put, by a process that does nothing else. "idle" is %s later,
with a collection in each second, "trimmed" after Trim (a Bytes only), "freed" after debug.FreeOSMemory. In MiB: what the process
has resident / what the Go heap has in objects; and what a Bytes counts as committed.

`, b.Memory[0].Slices, byteSize(b.Memory[0].Size), b.Idle)
	writeTable(out, b.memoryTable())
	fmt.Fprintf(out, `
## What classes waste

Lengths that are all alike likely lose the mean to the class above them, and a length just above a class loses the most. A page has
a rest behind its last slot: the largest share among the classes.

`)
	writeTable(out, b.wasteTable())
}

func bytesTitle(w wire.BytesWorkload) string {
	switch w {
	case wire.BytesChurn:
		return fmt.Sprintf("Churn: random ones of %d live slices are replaced", wire.BytesLive)
	case wire.BytesAcross:
		return "Across goroutines: one gets, another puts"
	}
	return "Ping-pong: get, put"
}

// timesTable has a row for each size.
func (b *Bytes) timesTable(w wire.BytesWorkload) [][]string {
	head := []string{"size", "ns"}
	for _, s := range wire.BytesSides {
		if s != catalog.SyncPool {
			head = append(head, string(s))
		}
	}
	rows := [][]string{head}
	for figures := range slices.Chunk(b.Figures, len(wire.BytesSides)) {
		if figures[0].Workload != w {
			continue
		}
		row := []string{bytesSizeName(figures[0].Size), ""}
		for _, f := range figures {
			if f.Side == catalog.SyncPool {
				row[1] = fmt.Sprintf("%.1f", spread(f.NS).Median)
			} else {
				row = append(row, noisyRatio(&f.VsSyncPool, len(f.NS), f.Noisy))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (b *Bytes) capacityTable() [][]string {
	head := []string{"size"}
	for _, s := range wire.BytesSides {
		head = append(head, string(s))
	}
	rows := [][]string{head}
	for figures := range slices.Chunk(b.Figures, len(wire.BytesSides)) {
		if figures[0].Workload != wire.BytesChurn {
			continue
		}
		row := []string{bytesSizeName(figures[0].Size)}
		for _, f := range figures {
			row = append(row, fmt.Sprintf("%.2f", f.Capacity))
		}
		rows = append(rows, row)
	}
	return rows
}

func (b *Bytes) memoryTable() [][]string {
	rows := [][]string{{"side", "before", "after the burst", "idle", "trimmed", "freed", "committed: burst, idle, trimmed"}}
	state := func(s wire.BytesState) string { return fmt.Sprintf("%.1f / %.1f", s.Resident, s.Heap) }
	for _, m := range b.Memory {
		trimmed, committed := absent, absent
		if m.Side == wire.BytesOnHeap || m.Side == wire.BytesOffHeap {
			trimmed = state(m.Trim)
			committed = fmt.Sprintf("%.1f, %.1f, %.1f", m.Burst.Committed, m.Idle.Committed, m.Trim.Committed)
		}
		rows = append(rows, []string{string(m.Side), state(m.Before), state(m.Burst), state(m.Idle), trimmed, state(m.Freed), committed})
	}
	return rows
}

// wasteTable has a row for each doubling of the length.
func (b *Bytes) wasteTable() [][]string {
	rows := [][]string{{"lengths", "classes", "lost to the class, mean", "most", "pages of the Go heap", "their rest", "pages off the heap", "their rest"}}
	doublings := make(map[int][]wire.BytesClass) // by the largest length
	for _, c := range b.Classes {
		top := 128
		for top < c.Size {
			top *= 2
		}
		doublings[top] = append(doublings[top], c)
	}
	for _, top := range slices.Sorted(maps.Keys(doublings)) {
		classes := doublings[top]
		from := classes[0].From
		row := []string{fmt.Sprintf("%d–%d", from, top), fmt.Sprint(len(classes))}
		lost, asked, most := 0.0, 0.0, 0.0
		for _, c := range classes {
			lengths, mean := float64(c.Size-c.From+1), float64(c.Size+c.From)/2
			asked += lengths * mean
			lost += lengths * (float64(c.Size) - mean)
			most = max(most, float64(c.Size-c.From)/float64(c.Size))
		}
		percent := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
		row = append(row, percent(lost/(lost+asked)), percent(most))
		for kind := range classes[0].Pages {
			least, largest, rest := classes[0].Pages[kind].Bytes, 0, 0.0
			for _, c := range classes {
				p := c.Pages[kind]
				least, largest = min(least, p.Bytes), max(largest, p.Bytes)
				rest = max(rest, 1-float64(p.Slots*c.Size)/float64(p.Bytes))
			}
			pages := byteSize(least)
			if largest != least {
				pages += " to " + byteSize(largest)
			}
			row = append(row, pages, percent(rest))
		}
		rows = append(rows, row)
	}
	return rows
}
