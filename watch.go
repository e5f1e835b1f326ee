package pool

import (
	"sync"
	"unsafe"
)

// Watched slots. Some slots in use get more attention: those that the profile has
// sampled (profile.go), guarded ones (guard.go), and all of them in builds that
// look for the program's mistakes (debug_on.go, race_on.go, asan_on.go). Their word
// says watched instead of taken. The fast paths of Put take that for a slot which is
// not in use, and leave it to putOn, so that watching costs the others nothing.
//
// What there is to do is done unpinned: before Get hands the slot out, and in Put
// when the slot has its user no more and no new one yet.

// watchAll says that this build watches every slot.
const watchAll = debugging || raceEnabled || asanEnabled

// watches is what a pool knows of its watched slots.
type watches struct {
	mu      sync.Mutex
	samples map[uintptr]stack // where each sampled slot was got
	//lint:ignore U1000 for the debug build
	history history
}

// watch marks a slot that s has taken for its caller, and that is to be watched.
// Pinned: others look at the words of a page when they have seized all shards.
func (s *shard) watch(x unsafe.Pointer) {
	pg := pageOf(uintptr(x))
	i, _ := pg.indexOf(uintptr(x))
	*pg.link(i) = watched
}

// leaveWatched unpins after a batch of Gets on s, of which those are watched whose
// bits are set, or all.
func (c *core) leaveWatched(s *shard, xs []unsafe.Pointer, sampled uint64) {
	isWatched := func(k int) bool { return watchAll || sampled>>k&1 != 0 }
	for k, x := range xs {
		if isWatched(k) {
			s.watch(x)
		}
	}
	c.leave(s)
	for k, x := range xs {
		if isWatched(k) {
			c.gotWatched("GetBatch", x, sampled>>k&1 != 0)
		}
	}
}

// gotWatched is the end of a Get of a watched slot. It panics if the slot shows
// that it was misused since its last Put.
func (c *core) gotWatched(op string, x unsafe.Pointer, sampled bool) {
	raceGot(x, int(c.size))
	asanGot(x, int(c.geo.stride))
	if sampled {
		c.addSample(uintptr(x))
	}
	if debugging {
		if err := c.debugGot(op, x); err != nil {
			c.put(uintptr(x))
			panic(err)
		}
	}
}

// putWatched is the Put of a watched slot, unpinned. putOn has changed its word to
// kept.
func (c *core) putWatched(op string, addr uintptr) error {
	pg := pageOf(addr)
	i, _ := pg.indexOf(addr)
	x := pg.slot(i)
	c.dropSample(addr)
	if pg.guard != nil {
		c.debugPutGuarded(addr)
		return c.putGuarded(op, pg)
	}
	if debugging {
		return c.debugPut(op, x)
	}
	racePut(x, int(c.size))
	asanPut(x, int(c.geo.stride))
	return c.putBack(op, addr)
}

// putBack makes a slot free whose word says kept. If it does not, another Put of
// the slot has run at the same time.
func (c *core) putBack(op string, addr uintptr) error {
	s := c.heed(c.pin())
	if s == nil {
		return c.errClosed(op) // kept slots count as in use: there has been another Put
	}
	pg := pageOf(addr)
	i, ok := pg.indexOf(addr)
	if ok = ok && pg.core == c && *pg.link(i) == kept; ok {
		*pg.link(i) = taken
		ok = s.put(pg, i)
	}
	c.leave(s)
	if !ok {
		return c.errDoublePut(op, addr)
	}
	return nil
}

// forgetWatched is the end of a page of which no slot is in use.
func (c *core) forgetWatched(pg *page) {
	asanGot(pg.base, int(c.geo.pageSize))
	c.debugForget(pg)
}
