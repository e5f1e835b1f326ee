package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A core is often shared: by another virtual machine on its second hardware thread,
// which this one cannot see. For seconds, whatever needs many execution units then
// takes up to 1.6 times as long, and what waits for memory hardly longer, so that
// ratios move as well as times. A probe notices: it takes a fifth longer meanwhile.

const (
	probeLen   = 4000 // about 2.5 microseconds
	probeSlack = 1.1  // of the quickest; its clock rate alone moves a core by 5 %
)

// quickest is the least that a probe has taken, in this process or before.
var quickest time.Duration

var probeState [8]uint64

// probe returns how long additions take of which a core can do several at a time.
//
//go:noinline
func probe() time.Duration {
	s := &probeState
	a, b, c, d, e, f, g, h := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	start := time.Now()
	for i := range uint64(probeLen) {
		a += i
		b += i
		c += i
		d += i
		e += i
		f += i
		g += i
		h += i
	}
	took := time.Since(start)
	*s = [8]uint64{a, b, c, d, e, f, g, h}
	return took
}

// probeAll probes the processors of so many workers and returns the longest probe.
func probeAll(workers int) time.Duration {
	probes := make([]time.Duration, workers)
	if workers == 1 {
		probes[0] = probe()
	} else {
		together.do(workers, func(k int) { probes[k] = probe() })
	}
	var longest time.Duration
	for _, p := range probes {
		longest = max(longest, p)
		if quickest == 0 || p < quickest {
			quickest = p
		}
	}
	return longest
}

func isQuiet(probe time.Duration) bool {
	return float64(probe) <= probeSlack*float64(quickest)
}

// A tour takes the calling goroutine from one processor to the next. It stays on its
// thread meanwhile.
type tour struct {
	all unix.CPUSet // empty if there is nowhere to go
	at  int
}

func newTour() *tour {
	t := new(tour)
	runtime.LockOSThread()
	_ = unix.SchedGetaffinity(0, &t.all)
	return t
}

func (t *tour) next() {
	if t.all.Count() < 2 {
		return
	}
	for t.at++; !t.all.IsSet(t.at); t.at++ {
		if t.at >= len(t.all)*64 {
			t.at = -1
		}
	}
	var one unix.CPUSet
	one.Set(t.at)
	_ = unix.SchedSetaffinity(0, &one)
}

func (t *tour) end() {
	if t.all.Count() > 0 {
		_ = unix.SchedSetaffinity(0, &t.all)
	}
	runtime.UnlockOSThread()
}
