package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	// stopGap is how many pairs come between two stops: some 100 microseconds.
	stopGap = 1 << 13

	// stopLoop is how many pairs the others do in one loop: some milliseconds. Code that
	// cannot be interrupted delays a stop until its end.
	stopLoop = 1 << 18
)

// A stopper is a runner that can be stopped while it runs.
type stopper interface {
	runner
	stops(n int) []float64 // microseconds
}

// measureStops stops the world many times while a ping-pong runs on all processors,
// the sides in turn.
func measureStops(spec wire.StopsSpec) (wire.Stops, error) {
	w, err := catalog.Find("ping-pong-parallel")
	if err != nil {
		return wire.Stops{}, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // its stops are not ours
	sides := append([]catalog.Side{wire.Idle}, spec.Sides...)
	stoppers := make(map[catalog.Side]stopper)
	for _, s := range spec.Sides {
		make := makerOf(small(s))
		if make == nil {
			return wire.Stops{}, fmt.Errorf("no side %q", s)
		}
		r := make(w, min(runtime.GOMAXPROCS(0), runtime.NumCPU())).(stopper)
		defer r.close()
		r.run(stopGap)
		stoppers[s] = r
	}
	runtime.GC()
	times := make(map[catalog.Side][]float64)
	for turn := range spec.Turns {
		for i := range sides {
			s := sides[(i+turn)%len(sides)]
			if s == wire.Idle {
				times[s] = append(times[s], idleStops(spec.Stops)...)
			} else {
				times[s] = append(times[s], stoppers[s].stops(spec.Stops)...)
			}
		}
	}
	result := wire.Stops{Sides: make(map[catalog.Side]wire.StopTimes)}
	for s, us := range times {
		result.Sides[s] = wire.StopTimes{Median: median(us), P99: round(quantile(us, 0.99))}
	}
	return result, nil
}

// stopWorld returns how many microseconds it takes to stop the world and start it
// again. runtime.Stack does nothing else when there is no room for a stack, and waits
// for no collection.
func stopWorld() float64 {
	start := time.Now()
	runtime.Stack(nil, true)
	return float64(time.Since(start)) / float64(time.Microsecond)
}

// idleStops stops a world in which nobody else runs.
func idleStops(n int) []float64 {
	time.Sleep(2 * helperPatience) // or they would spin
	us := make([]float64, n)
	for i := range us {
		probe()
		us[i] = stopWorld()
	}
	return us
}

// stops are issued by one of the crew, which does between them as the others do.
func (r pingPong[H]) stops(n int) []float64 {
	us := make([]float64, n)
	var over atomic.Bool
	r.do(0, func(k int, l loops.Loops[H]) {
		if k == 0 {
			for i := range us {
				l.PingPong(stopGap)
				us[i] = stopWorld()
			}
			over.Store(true)
			return
		}
		for !over.Load() {
			l.PingPong(stopLoop)
		}
	})
	return us
}
