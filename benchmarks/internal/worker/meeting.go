package main

import (
	"sync/atomic"
	"time"
)

// A meeting is where goroutines wait for each other to run, each on a processor.
//
// To have been started is not enough. A virtual machine may take milliseconds to
// wake an idle processor, and the kernel may put both threads on the same one
// until it next balances its load: a round of 5 ms is over by then, one worker
// after the other, with no contention at all. So they pass barriers together, and
// start when that is as quick as only processors at work are.
type meeting struct {
	members int64
	arrived atomic.Int64
	quick   atomic.Bool // written by the one who leads, before a barrier
}

const (
	meetBarriers = 8
	meetQuick    = 50 * time.Microsecond  // for all of them; they take one
	meetPatience = 100 * time.Millisecond // then they start as they are
)

func (m *meeting) wait(leads bool) {
	passed := int64(0)
	barrier := func() {
		passed += m.members
		for m.arrived.Add(1); m.arrived.Load() < passed; {
		}
	}
	for begin := time.Now(); ; {
		start := time.Now()
		for range meetBarriers {
			barrier()
		}
		if leads {
			m.quick.Store(time.Since(start) < meetQuick || time.Since(begin) > meetPatience)
		}
		barrier()
		if m.quick.Load() {
			return
		}
	}
}
