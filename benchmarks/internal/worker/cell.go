package main

import (
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A variant is a side with one size and mode.
type variant struct {
	side catalog.Side
	size int
	mode catalog.Mode
}

// A maker makes the runner of a variant for a workload on so many goroutines, if
// it is a parallel one.
type maker func(w catalog.Workload, workers int) runner

// warmShare of a round comes before it, untimed: the side before has filled the
// caches with its own things, and a collection may have emptied a sync.Pool.
const warmShare = 10

// A contender is a side in a cell.
type contender struct {
	side   catalog.Side
	runner runner
	n      int       // pairs that take about the target time
	rounds []float64 // ns a pair
}

// measureCell measures a workload on all sides, which take turns: whatever else
// the machine does meets all of them. It returns the median round of each. The
// least would show, in parallel workloads, the round in which the other goroutine
// happened to be late.
func measureCell(spec wire.CellSpec) (wire.Cell, error) {
	w, err := catalog.Find(spec.Workload)
	if err != nil {
		return wire.Cell{}, err
	}
	var all []*contender
	for _, s := range catalog.GoSides {
		if !catalog.TakesPart(s, w, spec.Mode) {
			continue
		}
		make := makers[variant{s, spec.Size, spec.Mode}]
		if make == nil {
			return wire.Cell{}, fmt.Errorf("%s has no %d bytes %s", s, spec.Size, spec.Mode)
		}
		all = append(all, &contender{side: s, runner: make(w, runtime.GOMAXPROCS(0))})
	}
	for _, c := range all {
		c.n = calibrate(c.runner, spec.Target)
	}
	runtime.GC() // none inside a round but what its own garbage causes
	for round := range spec.Rounds {
		for i := range all {
			all[(i+round+spec.Turn)%len(all)].play()
		}
	}
	cell := wire.Cell{NS: make(map[catalog.Side]float64)}
	for _, c := range all {
		cell.NS[c.side] = median(c.rounds)
		c.runner.close()
	}
	return cell, nil
}

// calibrate returns for how many pairs r takes about target, and warms it up.
func calibrate(r runner, target time.Duration) int {
	for n := 64; ; n *= 4 {
		pairs, took := r.run(n)
		if took > target/8 || pairs < n { // a burst does not do more than it wants to
			return max(1, int(float64(pairs)*float64(target)/float64(took)))
		}
	}
}

// garbage is what a round leaves of it when the heap is not how its side gets
// memory.
const garbage = 256 << 10

// play does one round. A side that leaves garbage has it collected before the next
// is on: the collector would otherwise be at work in the round of whoever follows,
// on a processor that a parallel workload wants, and with stores of pointers that
// cost more meanwhile.
func (c *contender) play() {
	before := allocated()
	c.runner.run(c.n/warmShare + 1)
	pairs, took := c.runner.run(c.n)
	c.rounds = append(c.rounds, float64(took)/float64(pairs))
	if allocated()-before > garbage {
		runtime.GC()
	}
}

// allocated returns how many bytes the heap has handed out so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return round((xs[(n-1)/2] + xs[n/2]) / 2)
}

// round leaves what a clock is good for: the figures are kept as text.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
