package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The clock makes the ticks of all pools and of the arena. mimalloc counts the calls of its slow
// path instead. But a shard that churns on its fast path has no slow Gets, nor has one that nobody
// calls, while a shard with many of them would count down its windows in microseconds. (With a tick
// for every 64 of them, a churn over 512 pages went on releasing pages.)
//
// The clock runs while somebody has something to wait for. Then it stops, and no goroutine waits for
// it. The process has one clock, so that a thousand pools in light use do not have a thousand
// timers.
//
// In a bubble of testing/synctest, time is not the process's. A timer that was made there cannot be
// used outside, and one that was reset there waits for the bubble's time. So the timer is made when
// the package is initialized, which is outside of any bubble, and nothing resets it in one. What
// begins to wait there does so until the clock is woken outside, or for the next garbage collection,
// which Go does within two minutes.
type clock struct {
	timer   *time.Timer // set once
	onTick  func()      // set once
	hasWork func() bool // whether anybody waits for the next tick; set once

	running  atomic.Bool // the timer is set, or ring is running; it changes under mu
	mu       sync.Mutex
	awaitsGC bool // start was called in a bubble
}

// tickPeriod makes the longest window of retire.go 0.8 s. That is longer than the pauses of a busy
// program, and shorter than the time in which anybody looks at its memory.
const tickPeriod = 50 * time.Millisecond

// theClock is the process's, and begin is when the package was initialized.
var (
	theClock = new(clock)
	begin    = time.Now()
)

// init makes k a clock that stands still.
func (k *clock) init(onTick func(), hasWork func() bool) {
	k.onTick, k.hasWork = onTick, hasWork
	k.timer = time.AfterFunc(time.Hour, k.ring)
	k.timer.Stop()
}

// inBubble reports whether the caller is in a bubble of testing/synctest. There it is the year 2000,
// which is decades away from begin by the clock that time.Since goes by.
func inBubble() bool { return time.Since(begin).Abs() > 10*365*24*time.Hour }

// wake starts the clock, if it stands still and hasWork. Whoever has begun to wait calls it then.
// Any goroutine that has no shard.
func (k *clock) wake() {
	if k.running.Load() || !k.hasWork() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.start()
}

// start sets the timer, unless it is set. In a bubble it has a garbage collection do that. mu is
// held.
func (k *clock) start() {
	switch {
	case k.running.Load():
	case !inBubble():
		k.running.Store(true)
		k.timer.Reset(tickPeriod)
	case !k.awaitsGC:
		k.awaitsGC = true
		runtime.AddCleanup(new(*clock), func(k *clock) {
			k.mu.Lock()
			k.awaitsGC = false
			k.mu.Unlock()
			k.wake()
		}, k)
	}
}

// ring is the timer's function. It never runs twice at a time: only who changes running resets the
// timer.
func (k *clock) ring() {
	k.onTick()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running.Store(false)
	// Who has begun to wait, and saw the clock running before this store, began before this look.
	if k.hasWork() {
		k.running.Store(true)
		k.timer.Reset(tickPeriod)
	}
}
