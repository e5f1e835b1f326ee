package main

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/valyala/bytebufferpool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A maker makes the runner of a variant for a workload on so many goroutines, if
// it is a parallel one.
type maker func(w catalog.Workload, workers int) runner

// makerOf returns nil if there is none.
func makerOf(v loops.Variant) maker {
	switch newLoops := loops.Maker(v).(type) {
	case func() loops.Loops[*loops.Obj16]:
		return makerWith(newLoops)
	case func() loops.Loops[*loops.Obj64]:
		return makerWith(newLoops)
	case func() loops.Loops[*loops.Obj96]:
		return makerWith(newLoops)
	case func() loops.Loops[*loops.Obj256]:
		return makerWith(newLoops)
	case func() loops.Loops[*loops.Obj1024]:
		return makerWith(newLoops)
	case func() loops.Loops[*bytebufferpool.ByteBuffer]:
		return makerWith(newLoops)
	case func() loops.Loops[uint32]:
		return makerWith(newLoops)
	}
	return nil
}

func makerWith[H any](newLoops func() loops.Loops[H]) maker {
	return func(w catalog.Workload, workers int) runner { return newRunner(w, workers, newLoops()) }
}

// warmShare of a slice or round comes before it, untimed: the side before has filled
// the caches with its own things, and a collection may have emptied a sync.Pool.
const warmShare = 10

// A contender is a side in a cell.
type contender struct {
	side   catalog.Side
	runner runner
	n      int       // pairs that take about the target time
	rounds []float64 // long ones, ns a pair
	slices []lap     // short ones
}

// measureCell measures a workload on some sides, which take turns: whatever else the
// machine does meets all of them.
func measureCell(spec wire.CellSpec) (wire.Cell, error) {
	w, err := catalog.Find(spec.Workload)
	if err != nil {
		return wire.Cell{}, err
	}
	var short, long []*contender
	for _, s := range spec.Sides {
		make := makerOf(loops.Variant{Side: s, Size: spec.Size, Mode: spec.Mode})
		if make == nil {
			return wire.Cell{}, fmt.Errorf("%s has no %d bytes %s", s, spec.Size, spec.Mode)
		}
		c := &contender{side: s, runner: make(w, runtime.GOMAXPROCS(0))}
		defer c.runner.close()
		if catalog.NeedsRounds(s, w) {
			long = append(long, c)
		} else {
			short = append(short, c)
		}
	}
	cell := wire.Cell{NS: make(map[catalog.Side]float64), Quiet: true}
	noteProbe(spec.Quickest)
	if len(short) > 0 {
		cell.Quiet = takeSlices(short, spec, w.Parallel)
		for _, c := range short {
			cell.NS[c.side] = c.low(cell.Quiet)
		}
	}
	takeRounds(long, spec)
	for _, c := range long {
		cell.NS[c.side] = median(c.rounds)
	}
	cell.Quickest = time.Duration(quickest.Load())
	return cell, nil
}

const (
	checkEvery  = 20 // rounds; then takeSlices looks whether it has enough
	enoughShare = 5  // of the quiet slices asked for, as a divisor: so many are enough
)

// takeSlices gives each of all a slice in turn until it has had as many quiet ones as
// spec asks for, or twice as many in all. It reports whether quiet ones are enough.
//
// No collection runs meanwhile: it would be at work in the slice of whoever is next.
// A workload on one goroutine moves to the next processor when its own is not quiet.
func takeSlices(all []*contender, spec wire.CellSpec, parallel bool) bool {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	tour := new(tour)
	if !parallel {
		tour = newTour()
		defer tour.end()
	}
	for _, c := range all {
		c.n = calibrate(c.runner, spec.Slice)
	}
	runtime.GC()
	before, start := 0, time.Now()
	for round := 0; round < 2*spec.Slices && (round == 0 || time.Since(start) < spec.Limit); round++ {
		for i := range all {
			all[(i+round+spec.Turn)%len(all)].takeSlice()
		}
		if done := round + 1; done%checkEvery == 0 || done == spec.Slices {
			for _, c := range all {
				if c.lengthen(spec.Slice) {
					c.takeSlice()
				}
			}
			quiet := leastQuiet(all)
			switch {
			case quiet >= spec.Slices:
				return true
			case done == spec.Slices && quiet < done/10:
				return false // it may not become so soon
			case quiet-before < checkEvery/2:
				tour.next()
			}
			before = quiet
		}
	}
	return leastQuiet(all) >= max(1, spec.Slices/enoughShare)
}

func (c *contender) takeSlice() {
	c.runner.run(c.n/warmShare + 1)
	c.slices = append(c.slices, c.runner.run(c.n))
}

// lengthen starts again with longer slices if they are far too short: calibrate may have
// had no processor to itself. It reports whether they were.
func (c *contender) lengthen(target time.Duration) bool {
	var took []float64
	for _, l := range c.slices {
		took = append(took, float64(l.took))
	}
	most := quantile(took, 0.25)
	if most >= float64(target)/2 {
		return false
	}
	c.n = int(float64(c.n) * float64(target) / most)
	c.slices = nil
	return true
}

// leastQuiet returns how many slices were quiet of the side with the fewest.
func leastQuiet(all []*contender) int {
	least := math.MaxInt
	for _, c := range all {
		n := 0
		for _, l := range c.slices {
			if isQuiet(l.probe) {
				n++
			}
		}
		least = min(least, n)
	}
	return least
}

// lowShare of the slices take less than what low returns.
const lowShare = 0.1

// low returns the 10th percentile of the slices, or of the quiet ones. It leaves out
// the half in which workers ended furthest apart: one of them was interrupted, and
// what the others did without contention meanwhile may have saved more than it cost.
func (c *contender) low(quiet bool) float64 {
	of := c.slices
	if quiet {
		of = slices.DeleteFunc(slices.Clone(of), func(l lap) bool { return !isQuiet(l.probe) })
	}
	var gaps, ns []float64
	for _, l := range of {
		gaps = append(gaps, l.gapShare())
	}
	most := quantile(gaps, 0.5)
	for _, l := range of {
		if l.gapShare() <= most {
			ns = append(ns, l.each())
		}
	}
	return round(quantile(ns, lowShare))
}

// takeRounds gives each of all a long round in turn.
func takeRounds(all []*contender, spec wire.CellSpec) {
	for _, c := range all {
		c.n = calibrate(c.runner, spec.Round)
	}
	runtime.GC() // none inside a round but what its own garbage causes
	for round := range spec.Rounds {
		for i := range all {
			all[(i+round+spec.Turn)%len(all)].play()
		}
	}
}

// calibrate returns for how many pairs r takes about target, and warms it up.
func calibrate(r runner, target time.Duration) int {
	const steps, most = 20, 16
	n := 64
	for range steps {
		best := bestRun(r, n)
		if best.pairs < n { // a burst does not do more than it wants to
			return n
		}
		next := max(1, int(float64(target)/best.each()))
		if next <= n+n/2 && n <= next+next/2 {
			return next
		}
		n = min(next, most*n)
	}
	return n
}

// bestRun returns the quickest of some runs: one is interrupted now and then. It goes on
// for a while until the workers end together.
func bestRun(r runner, n int) lap {
	const enough, most = 3, 20
	best := r.run(n)
	for i := 1; i < enough || i < most && best.gapShare() > 0.5; i++ {
		if l := r.run(n); l.gapShare() <= best.gapShare() && l.each() < best.each() || best.gapShare() > 0.5 {
			best = l
		}
	}
	return best
}

// garbage is what a round leaves of it when the heap is not how its side gets
// memory.
const garbage = 256 << 10

// play does one long round. A side that leaves garbage has it collected before the
// next is on: the collector would otherwise be at work in the round of whoever
// follows, on a processor that a parallel workload wants, and with stores of pointers
// that cost more meanwhile.
func (c *contender) play() {
	before := allocated()
	c.runner.run(c.n/warmShare + 1)
	c.rounds = append(c.rounds, c.runner.run(c.n).each())
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

// A meter knows how much the heap has handed out since the last collection that it has made.
type meter struct{ from uint64 }

func (m *meter) collectAbove(bytes uint64) {
	if allocated()-m.from > bytes {
		runtime.GC()
		m.from = allocated()
	}
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return round((xs[(n-1)/2] + xs[n/2]) / 2)
}

// quantile returns the value that a share of xs are below.
func quantile(xs []float64, share float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[int(share*float64(len(xs)-1))]
}

// round leaves what a clock is good for: the figures are kept as text.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
