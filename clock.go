package pool

import (
	"sync/atomic"
	"time"
)

// A clock makes the ticks of a pool. mimalloc counts the calls of its slow path instead. But a
// shard that churns on its fast path has no slow Gets, nor has one that nobody calls, while a shard
// with many of them would count down its windows in microseconds. (With a tick for every 64 of
// them, a churn over 512 pages went on releasing pages.)
//
// The clock is armed by what time has to undo: a page retired, a slot parked or sent to another
// shard, a page taken. When nothing is left to expire, it is not armed again. No goroutine waits
// for it.
type clock struct {
	onTick func() // set once
	timer  *time.Timer
	armed  atomic.Bool  // the timer is set, or ring is running
	left   atomic.Int32 // ticks to go
	ended  atomic.Bool  // by stop
}

const (
	// tickPeriod makes the longest window 0.8 s. That is longer than the pauses of a busy program,
	// and shorter than the time in which anybody looks at its memory.
	tickPeriod = 50 * time.Millisecond

	// armedTicks is how many ticks follow the last reason for one. Two show that a P is idle, and
	// the third comes after its pages were taken over.
	armedTicks = 3
)

// init makes k a clock that calls onTick at each tick, and that nobody has armed.
func (k *clock) init(onTick func()) {
	k.onTick = onTick
	k.timer = time.AfterFunc(time.Hour, k.ring)
	k.timer.Stop()
}

// arm asks for armedTicks more ticks. Any goroutine that has no shard.
func (k *clock) arm() {
	if k.left.Load() != armedTicks {
		k.left.Store(armedTicks)
	}
	if !k.armed.Load() && !k.ended.Load() && k.armed.CompareAndSwap(false, true) {
		k.timer.Reset(tickPeriod)
	}
}

// ring is the timer's function. It never runs twice at a time: only the goroutine that sets armed
// resets the timer.
func (k *clock) ring() {
	if k.ended.Load() {
		return
	}
	k.onTick()
	if k.left.Add(-1) > 0 {
		k.timer.Reset(tickPeriod)
		return
	}
	k.armed.Store(false)
	// An arm that saw armed before this store has set left before that look.
	if k.left.Load() > 0 && k.armed.CompareAndSwap(false, true) {
		k.timer.Reset(tickPeriod)
	}
}

// stop ends the clock.
func (k *clock) stop() {
	k.ended.Store(true)
	k.timer.Stop()
}

// tick has every shard do its tick. The shard of a P that is at work does it itself: its signal is
// raised, and the P's next operation answers. A shard whose signal is still raised at the next tick
// is idle: the tick is done for it here.
func (c *core) tick() {
	c.stopMu.Lock()
	if c.depot.closed.Load() {
		c.stopMu.Unlock()
		return
	}
	var idle []*shard
	for _, s := range c.shards.Load().present() {
		switch wasRaised := s.raise(signalTick)&signalTick != 0; {
		case !wasRaised:
			s.settled = false
		case !s.settled:
			idle = append(idle, s)
		}
	}
	out := stop(idle, func() {
		for _, s := range idle {
			s.tick(true)
			s.settled = s.hasNothing()
		}
	})
	c.stopMu.Unlock()
	c.settle(out...)
	if c.depot.tick() {
		c.clock.arm()
	}
}
