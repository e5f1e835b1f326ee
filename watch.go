package pool

import (
	"cmp"
	"errors"
	"sync"
	"unsafe"
)

// Watched slots. Some slots in use get more attention: those that the profile has sampled
// (profile.go), guarded ones (guard.go), and in builds that look for the program's mistakes all of
// them (debug_on.go, sanitize_*.go). Their word says watched instead of taken. The fast paths of
// Put take that for a slot that is not in use and leave it to putAt, so that watching costs the
// other slots nothing.
//
// What there is to do is done without a shard: after Get has taken the slot and before it hands the
// slot out, and in Put when the slot has no user any more and no new one yet.

// watchAll says that this build watches every slot.
const watchAll = debugging || raceEnabled || asanEnabled

// watches is where a pool calls what observes its slots: got, put and forget.
type watches struct {
	spec    *spec    // set once
	transit *transit // set once
	//lint:ignore U1000 for the debug build
	clear func(unsafe.Pointer) // contents.clear; set once

	mu      sync.Mutex
	samples map[uintptr]stack // where each sampled slot was got
	//lint:ignore U1000 for the debug build
	history history
}

func (w *watches) init(sp *spec, t *transit, clear func(unsafe.Pointer)) {
	w.spec, w.transit, w.clear = sp, t, clear
}

// got is told of a watched slot that a Get is about to hand out. It returns an error if the slot
// shows that it was misused since its last Put.
func (w *watches) got(op string, x unsafe.Pointer, sampled bool) error {
	raceGot(x, int(w.spec.size))
	asanGot(x, int(w.spec.geo.stride))
	if sampled {
		w.addSample(uintptr(x))
	}
	return w.debugGot(op, x)
}

// put is told of a watched slot that was put. It reports whether the slot is free now; otherwise it
// is in quarantine.
func (w *watches) put(op string, x unsafe.Pointer) (free bool, err error) {
	w.dropSample(uintptr(x))
	if debugging {
		return false, w.debugPut(op, x)
	}
	racePut(x, int(w.spec.size))
	asanPut(x, int(w.spec.geo.stride))
	return true, nil
}

// drop is told of a watched slot that was put, and that goes back to its page at once.
func (w *watches) drop(x unsafe.Pointer) {
	w.dropSample(uintptr(x))
	w.debugDrop(x)
	racePut(x, int(w.spec.size))
	asanPut(x, int(w.spec.geo.stride))
}

// forget is told of a page that goes back to the arena, and that has no slot in use; or of one that
// the collector has taken.
func (w *watches) forget(pg *page) {
	if pg.heap != nil && w.spec.sampler.mean != 0 {
		w.dropSamples(pg)
	}
	if base := pg.first(); base != nil {
		asanGot(base, int(pg.reserved*pg.stride))
	}
	w.debugForget(pg)
}

// mark changes the word of the slot at x, which the caller has got. The caller owns s: who has
// seized all shards looks at the words of pages.
func (s *shard) mark(x unsafe.Pointer, word uint16) {
	pg := pageOf(uintptr(x))
	i, _ := pg.indexOf(uintptr(x))
	*pg.link(i) = word
}

// got is the end of a Get of a watched slot. It panics if the slot was misused.
func (c *core) got(op string, x unsafe.Pointer, sampled bool) {
	if err := c.watches.got(op, x, sampled); err != nil {
		c.undoBatch([]unsafe.Pointer{x})
		panic(err)
	}
}

// gotBatch leaves s after a batch of Gets. Those of xs are watched whose bits in sampled are set, or
// all. The objects of those in unmade are not made yet.
func (c *core) gotBatch(s *shard, xs []unsafe.Pointer, sampled, unmade uint64) {
	isWatched := func(k int) bool { return watchAll || sampled>>k&1 != 0 }
	for k, x := range xs {
		if unmade>>k&1 != 0 {
			s.mark(x, leaving)
		} else if isWatched(k) {
			s.mark(x, watched)
		}
	}
	c.leave(s)
	for k, x := range xs {
		if isWatched(k) {
			c.got("GetBatch", x, sampled>>k&1 != 0)
		}
	}
}

// putWatched is the Put of a watched slot. putAt has changed its word to leaving, so that no other
// Put of the slot comes here while this one looks at it, poisons it, or takes its memory away.
func (c *core) putWatched(op string, x unsafe.Pointer) error {
	pg, i, ok := c.find(uintptr(x))
	if !ok || *pg.link(i) != leaving {
		if c.depot.closed.Load() { // on the Go heap, meanwhile
			return c.errClosed(op)
		}
		return c.errDoublePut(op, uintptr(x))
	}
	if pg.guard != nil {
		c.watches.dropSample(uintptr(x))
		err := c.watches.debugPutGuarded(op, x)
		c.guards.put(pg)
		c.slotsFreed(1)
		return err
	}
	free, err := c.watches.put(op, x)
	if free {
		return c.putBack(op, x)
	}
	if errors.Is(err, ErrDoublePut) && c.depot.closed.Load() { // Close has forgotten that it was in use
		return c.errClosed(op)
	}
	// The slot is in quarantine by now. A waiter that joins after this look ends all quarantine in its
	// search, and CloseWhenEmpty does once more when it has begun.
	yieldPoint()
	if c.waiters.n.Load() != 0 || c.closing.begun.Load() {
		return cmp.Or(err, c.putQuarantined(op, c.watches.takeQuarantined()))
	}
	return cmp.Or(err, c.putQuarantined(op, c.watches.overdue()))
}

// putBack makes a slot free whose word says leaving. If it does not, another Put of the slot has
// run at the same time.
func (c *core) putBack(op string, x unsafe.Pointer) error {
	s, err := c.enter(op)
	if err != nil {
		return err // a slot that is leaving counts as in use: there was another Put
	}
	how := s.putLeaving(x)
	c.leave(s)
	return c.finishPut(op, x, how)
}

// endQuarantine ends all quarantine, for op. It panics if it finds damage.
func (c *core) endQuarantine(op string) {
	if err := c.putQuarantined(op, c.watches.takeQuarantined()); err != nil {
		panic(err)
	}
}

// putQuarantined makes slots free that have left quarantine. It returns the first error.
func (c *core) putQuarantined(op string, slots []quarantinedSlot) (err error) {
	for _, q := range slots {
		err = cmp.Or(err, c.watches.checkQuarantined(op, q))
		c.watches.leaveQuarantine()                            // before the last Put closes the pool
		if e := c.putBack(op, q.x); !errors.Is(e, ErrClosed) { // Close has taken a slot of the Go heap
			err = cmp.Or(err, e)
		}
		c.watches.transit.leave()
	}
	return err
}
