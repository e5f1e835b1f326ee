package main

import (
	"runtime"
	"sync/atomic"
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
var quickest atomic.Int64

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
	if a+b+c+d+e+f+g+h == 0 { // or the compiler would see that nobody needs them
		return 0
	}
	noteProbe(took)
	return took
}

// probeState is where the sums begin: not alike, or there would be only one.
var probeState = [8]uint64{1, 2, 3, 4, 5, 6, 7, 8}

// noteProbe makes took the quickest, if it is.
func noteProbe(took time.Duration) {
	for old := quickest.Load(); took > 0 && (old == 0 || int64(took) < old); old = quickest.Load() {
		if quickest.CompareAndSwap(old, int64(took)) {
			return
		}
	}
}

func isQuiet(probe time.Duration) bool {
	return float64(probe) <= probeSlack*float64(quickest.Load())
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
