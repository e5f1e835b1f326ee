package pool

import (
	"sync/atomic"
	"time"
)

// Time makes the ticks. mimalloc counts calls of its slow path instead; but a
// shard that churns on its fast path, and one that nobody calls, have no slow
// Gets, while one that has many would count down its windows in microseconds:
// with a tick each 64 of them, a churn over 512 pages went on releasing pages.
//
// The timer is armed by what time has to undo: a page retired, a slot parked or
// sent to another shard, a page taken. It does not touch the shard of a P that
// is at work: it raises signalTick, and the P's next operation does the
// heartbeat. A shard whose signal is still raised at the next tick is idle: the
// timer's goroutine seizes it. When nothing is left to expire the timer is not
// armed again; no goroutine waits.
const (
	// tickPeriod makes the longest window 0.8 s: longer than the pauses of a
	// busy program, shorter than anybody looks at its memory.
	tickPeriod = 50 * time.Millisecond

	// heartBeats is how many ticks follow the last reason for one: two show
	// that a P is idle, the third comes after its pages were taken over.
	heartBeats = 3
)

// heart is the timer's side of a core.
type heart struct {
	mu    mutex  // held by who seizes shards
	tick  uint32 // beats; wraps; under core.mu
	timer *time.Timer
	armed atomic.Bool  // the timer is set, or beat is running
	beats atomic.Int32 // ticks to go
}

// arm asks for heartBeats more ticks. Any goroutine, unpinned.
func (c *core) arm() {
	h := &c.heart
	if h.beats.Load() != heartBeats {
		h.beats.Store(heartBeats)
	}
	if !h.armed.Load() && !c.closed.Load() && h.armed.CompareAndSwap(false, true) {
		h.timer.Reset(tickPeriod)
	}
}

// beat is the timer's function.
func (c *core) beat() {
	h := &c.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed.Load() {
		return
	}
	c.tickAll()
	if h.beats.Add(-1) > 0 {
		h.timer.Reset(tickPeriod)
		return
	}
	h.armed.Store(false)
	// An arm that saw armed before this store has set beats before that look.
	if h.beats.Load() > 0 && h.armed.CompareAndSwap(false, true) {
		h.timer.Reset(tickPeriod)
	}
}

// tickAll has every shard do a heartbeat: those in use by themselves, idle ones
// here. heart.mu is held.
func (c *core) tickAll() {
	var idle []*shard
	for _, s := range c.present() {
		switch wasRaised := s.signal.Or(signalTick)&signalTick != 0; {
		case !wasRaised:
			s.quiet = false
		case !s.quiet:
			idle = append(idle, s)
		}
	}
	all := make([]chores, len(idle))
	seize(idle)
	for i, s := range idle {
		s.heartbeat(true)
		s.quiet = s.bare()
		all[i] = s.takeChores()
	}
	yield(idle)
	for _, ch := range all {
		c.do(ch)
	}
	c.mu.Lock()
	c.heart.tick++
	c.mu.Unlock()
	if c.releasePartial(false) {
		c.arm()
	}
}
