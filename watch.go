package pool

import (
	"cmp"
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

	mu      sync.Mutex
	samples map[uintptr]stack // where each sampled slot was got
	//lint:ignore U1000 for the debug build
	history history
}

func (w *watches) init(sp *spec, t *transit) { w.spec, w.transit = sp, t }

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

// forget is told of a page that goes back to the arena, and that has no slot in use.
func (w *watches) forget(pg *page) {
	asanGot(pg.base, int(w.spec.geo.pageSize))
	w.debugForget(pg)
}

// watch marks a slot that s has taken for its caller and that is to be watched. The caller owns s:
// who has seized all shards looks at the words of pages.
func (s *shard) watch(x unsafe.Pointer) {
	pg := pageOf(uintptr(x))
	i, _ := pg.indexOf(uintptr(x))
	*pg.link(i) = watched
}

// got is the end of a Get of a watched slot. It panics if the slot was misused.
func (c *core) got(op string, x unsafe.Pointer, sampled bool) {
	if err := c.watches.got(op, x, sampled); err != nil {
		c.put(x)
		panic(err)
	}
}

// gotBatch leaves s after a batch of Gets. Those of xs are watched whose bits are set, or all.
func (c *core) gotBatch(s *shard, xs []unsafe.Pointer, sampled uint64) {
	isWatched := func(k int) bool { return watchAll || sampled>>k&1 != 0 }
	for k, x := range xs {
		if isWatched(k) {
			s.watch(x)
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
func (c *core) putWatched(op string, addr uintptr) error {
	pg, i, ok := c.find(addr)
	if !ok || *pg.link(i) != leaving {
		return c.errDoublePut(op, addr)
	}
	if pg.guard != nil {
		c.watches.dropSample(addr)
		err := c.watches.debugPutGuarded(op, pg.slot(i))
		c.guards.put(pg)
		return err
	}
	free, err := c.watches.put(op, pg.slot(i))
	if free {
		return c.putBack(op, addr)
	}
	return cmp.Or(err, c.putQuarantined(op, c.watches.overdue()))
}

// putBack makes a slot free whose word says leaving. If it does not, another Put of the slot has
// run at the same time.
func (c *core) putBack(op string, addr uintptr) error {
	s, err := c.enter(op)
	if err != nil {
		return err // a slot that is leaving counts as in use: there was another Put
	}
	pg, i, ok := c.find(addr)
	if ok = ok && *pg.link(i) == leaving; ok {
		*pg.link(i) = taken
		ok = s.put(pg, i)
	}
	c.leave(s)
	if !ok {
		return c.errDoublePut(op, addr)
	}
	return nil
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
		err = cmp.Or(err, c.putBack(op, q.addr))
		c.watches.leftQuarantine()
	}
	return err
}
