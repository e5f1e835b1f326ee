package main

import (
	"sync/atomic"
	"time"
)

// A team is goroutines that do the same work at the same time, each on a processor.
//
// To have been started is not enough. A virtual machine may take milliseconds to
// wake an idle processor, and the kernel may put two threads on the same one until
// it next balances its load: a slice is over by then, one worker after the other,
// with no contention at all. So helpers spin between two slices. All members pass
// barriers together, and start when that is as quick as only processors at work are.
type team struct {
	helpers []*helper
	arrived atomic.Int64
	quick   atomic.Bool // written by the one who leads, before a barrier
}

// together is the team of all runners: they take turns.
var together team

// A helper is a goroutine that waits for work, or the place of one that has ended.
type helper struct {
	state atomic.Int32
	work  func() // written before state
	_     [128]byte
}

// The states of a helper.
const (
	gone int32 = iota // its goroutine has ended, or will do no more work
	waiting
	working
)

const (
	helperPatience = 5 * time.Millisecond // then a helper ends

	meetBarriers = 8
	meetQuick    = 20 * time.Microsecond // for all of them; they take one
	meetPatience = 30 * time.Millisecond // then they start as they are
)

// do runs work on n goroutines, of which the caller is number 0.
func (t *team) do(n int, work func(k int)) {
	for len(t.helpers) < n-1 {
		t.helpers = append(t.helpers, new(helper))
	}
	t.arrived.Store(0)
	helpers := t.helpers[:n-1]
	for i, h := range helpers {
		h.call(func() {
			t.meet(n, false)
			work(i + 1)
		})
	}
	t.meet(n, true)
	work(0)
	for _, h := range helpers {
		for h.state.Load() == working {
		}
	}
}

func (h *helper) call(work func()) {
	h.work = work
	if !h.state.CompareAndSwap(waiting, working) {
		h.state.Store(working)
		go h.run()
	}
}

func (h *helper) run() {
	for {
		h.work()
		h.state.Store(waiting)
		for start := time.Now(); h.state.Load() == waiting; {
			if time.Since(start) > helperPatience && h.state.CompareAndSwap(waiting, gone) {
				return
			}
		}
	}
}

// meet returns when all n members run at the same time.
func (t *team) meet(n int, leads bool) {
	passed := int64(0)
	barrier := func() {
		passed += int64(n)
		for t.arrived.Add(1); t.arrived.Load() < passed; {
		}
	}
	for begin := time.Now(); ; {
		start := time.Now()
		for range meetBarriers {
			barrier()
		}
		if leads {
			t.quick.Store(time.Since(start) < meetQuick || time.Since(begin) > meetPatience)
		}
		barrier()
		if t.quick.Load() {
			return
		}
	}
}
