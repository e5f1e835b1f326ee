package pool

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A tick of the clock, as far as pools are concerned. A pool is armed by what time has to undo: a
// page retired, a slot parked or sent to another shard, a page taken. All pools that are armed have
// their ticks together, some dozens with one memory barrier.

const (
	// armedTicks is how many ticks follow the last reason for one. Two show that a P is idle, and
	// the third comes after its pages were taken over.
	armedTicks = 3

	// tickTogether is how many pools have their tick with one barrier. It bounds how long a shard
	// can be seized for that.
	tickTogether = 128
)

// An alarm is what a pool has of the clock. Any goroutine, atomic.
type alarm struct {
	armed atomic.Bool  // armed has the pool, or onTick is about to
	left  atomic.Int32 // ticks to go
	ended atomic.Bool  // the pool is closed
}

// armed are the pools that wait for the next tick.
var armed struct {
	mu    sync.Mutex // one of the last in the order of locks (see depot.mu)
	pools []*core
}

func init() { theClock.init(tickAll, waitsForTick) }

// waitsForTick reports whether anybody waits for the next tick.
func waitsForTick() bool {
	armed.mu.Lock()
	n := len(armed.pools)
	armed.mu.Unlock()
	return n > 0 || theArena.isWaiting()
}

// arm asks for armedTicks more ticks of the pool. Any goroutine that has no shard.
func (c *core) arm() {
	a := &c.alarm
	if a.left.Load() != armedTicks {
		a.left.Store(armedTicks)
	}
	yieldPoint()
	if !a.armed.Load() && !a.ended.Load() && a.armed.CompareAndSwap(false, true) {
		armed.mu.Lock()
		armed.pools = append(armed.pools, c)
		armed.mu.Unlock()
	}
	theClock.wake()
}

// goesOn counts a tick, and reports whether another one is to come.
func (a *alarm) goesOn() bool {
	switch {
	case a.ended.Load():
		return false
	case a.left.Add(-1) > 0:
		return true
	}
	yieldPoint()
	a.armed.Store(false)
	yieldPoint()
	// An arm that saw armed before this store has set left before that look.
	return a.left.Load() > 0 && a.armed.CompareAndSwap(false, true)
}

// tickAll is a tick of everything.
func tickAll() {
	armed.mu.Lock()
	due := armed.pools
	armed.pools = nil
	armed.mu.Unlock()
	for together := range slices.Chunk(due, tickTogether) {
		tick(together)
	}
	theArena.tick()
	due = slices.DeleteFunc(due, func(c *core) bool { return !c.alarm.goesOn() })
	armed.mu.Lock()
	armed.pools = append(due, armed.pools...)
	armed.mu.Unlock()
}

// tick has every shard of some pools do its tick, tickTogether pools at most. The shard of a P that
// is at work does it itself: its signal is raised, and the P's next operation answers. A shard whose
// signal is still raised at the next tick is idle: the tick is done for it here.
//
// This holds the stopMu of several pools, which nobody else does. It waits for none of them while it
// has another.
func tick(pools []*core) {
	var room struct { // so that nothing is allocated
		ticking, of [tickTogether]*core
		idle        [tickTogether]*shard
		out         [tickTogether]outbox
	}
	ticking, idle := room.ticking[:0], room.idle[:0]
	of := room.of[:0] // the pools of idle
	var later []*core
	for _, c := range pools {
		if !c.stopMu.TryLock() {
			if len(pools) > 1 {
				later = append(later, c)
				continue
			}
			c.stopMu.Lock()
		}
		if c.depot.closed.Load() {
			c.stopMu.Unlock()
			continue
		}
		ticking = append(ticking, c)
		for _, s := range c.shards.Load().shards {
			switch {
			case s == &c.absent:
			case s.signals()&signalTick == 0:
				s.raise(signalTick)
				s.settled = false
			case !s.settled:
				idle = append(idle, s)
				of = append(of, c)
			}
		}
	}
	out := stop(room.out[:0], idle, func() {
		for _, s := range idle {
			s.tick(true)
			s.settled = s.hasNothing() && len(s.strong) == 0
		}
	})
	for i, c := range of {
		c.deliver(out[i : i+1])
	}
	for _, c := range ticking {
		c.stopMu.Unlock()
	}
	for i, c := range of {
		c.notify(out[i : i+1])
	}
	for _, c := range ticking {
		if c.depot.tick() {
			c.arm()
		}
	}
	for _, c := range later {
		tick([]*core{c})
	}
}
