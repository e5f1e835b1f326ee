package pool

import (
	"errors"
	"math"
	"sync/atomic"
	"unsafe"
)

// A Get from beginning to end. Most Gets end in get, which cannot be preempted and has the shard of
// its P to itself for that long (own_nosplit.go). What it cannot serve in a few instructions starts
// over in mustGet and tryGet, which get a shard by a pin or a lock. And if the shard has no page for
// it, it goes on in supply, without a shard.

// get hands out a slot. It panics if it can get none.
//
// Between getm and the store that clears busy it calls nothing, in no build: the steps are written
// out here, and helpers of page and parkingLot that say the same are for the slow path. See
// own_nosplit.go for the reason. It is some 30 instructions for a parked slot, and some 40 for one
// of the current page.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (c *core) get() unsafe.Pointer {
	var (
		m *mLayout
		s *shard
		x unsafe.Pointer
	)
	if fastBuild && c != nil {
		m = getm()
		switch id, t := m.p.id, c.fast.rest; {
		case id < fewPs:
			s = c.fast.few[id]
		case t != nil && uint64(id) < uint64(len(t.shards)):
			s = t.shards[id]
		}
	}
	if s == nil {
		return c.mustGet() // the P is new, or there are no fast paths, or New did not make the pool
	}
	s.busy = 1 // whoever wants the shard now waits for us, or has raised a signal that we see
	if stepping {
		yieldPoint()
	}
	// sampleIn counts Gets; 1 says that this one is to be sampled. Refs do not matter to Get, nor
	// does what Put has to claim.
	if atomic.LoadUint32(&s.signal)&^(signalRefs|signalClaims) != 0 || s.sampleIn <= 1 || m.curg.stackguard0 == stackPreempt {
		goto slow
	}
	if k := s.lot.n; k != 0 {
		// 1. The slot that was parked last (parkingLot.unpark). Its page is not touched.
		p := &s.lot.places[(k-1)%lotSize]
		if *p.word != parking {
			goto slow
		}
		*p.word = taken
		s.lot.n = k - 1
		x = p.slot
	} else {
		pg := s.cur
		i := pg.bump
		if i < pg.capacity {
			// 2. The next slot of the current page in address order (page.popBump).
			pg.bump = i + 1
		} else {
			// 3. The head of its free list (page.popFree). If that is empty, localFree takes its
			//    place (page.useLocal).
			if i = pg.free; i >= pg.reserved {
				if i = pg.localFree; i == none {
					goto slow
				}
				pg.localFree = none
				pg.isFresh = false
				pg.free = i
			}
			next := pg.links[i]
			if next >= unmade && next != none {
				goto slow // the slot is unmade, or in use: see page.popFree
			}
			pg.free = uint32(next)
		}
		pg.links[i] = taken
		pg.used++
		x = unsafe.Pointer(&(*[largePageSize]byte)(pg.base)[uintptr(i)*uintptr(pg.stride)])
	}
	s.sampleIn--
	if stepping {
		yieldPoint()
	}
	if storesInOrder {
		s.busy = 0
	} else {
		atomic.StoreUint32(&s.busy, 0) // a release: who sees it sees what was written before
	}
	if stepping {
		stepUnpin()
	}
	return x

slow: // no slot has been taken
	atomic.StoreUint32(&s.busy, 0)
	if stepping {
		stepUnpin()
	}
	return c.mustGet()
}

// mustGet is get from the point where the fast path cannot serve it. It has an ordinary prologue,
// in which the goroutine yields if the scheduler wants that.
//
//go:noinline
func (c *core) mustGet() unsafe.Pointer {
	x, _, err := c.tryGet()
	if err != nil {
		panic(err)
	}
	return x
}

// tryGet is get with an error instead of a panic, and without the fast path. It also tells whether
// the slot is fresh, which means that it is zero if the pool has no WithInit function.
func (c *core) tryGet() (x unsafe.Pointer, isFresh bool, err error) {
	return c.getFor(&getting{op: "Get"})
}

// A getting is a Get of one slot, which may try more than once.
type getting struct {
	op        string
	waits     bool // it tries again if there is no slot, and so it has not failed yet
	isCounted bool
	isSampled bool
}

// getFor is one try of g.
func (c *core) getFor(g *getting) (x unsafe.Pointer, isFresh bool, err error) {
	// 4. What is signalled comes first. Then a sample is due, or a guarded slot.
	s, err := c.enterToGet(g.op)
	if err != nil {
		return nil, false, err
	}
	if !g.isCounted {
		g.isCounted, g.isSampled = true, s.count(1) != 0
	}
	watch := g.isSampled || watchAll
	if c.guardEvery != 0 && s.guardDue() {
		c.leave(s)
		x, refused := c.guards.get()
		if x != nil {
			c.got(g.op, x, g.isSampled)
			if c.construct != nil {
				err = c.makeObject(g.op, x, watched) // its last memory is gone
			}
			return x, false, err
		}
		if refused {
			c.slotsFreed(1) // for closing.left, that may be one too many: see close.go
		}
		if s, err = c.enter(g.op); err != nil {
			return nil, false, err
		}
	}
	for {
		// 5. Whatever the shard has: collected, carved, or in another page of its own.
		if x, isFresh = s.get(); x != nil {
			use := uint16(taken)
			if watch {
				use = watched
			}
			isUnmade := isFresh && c.construct != nil
			if isUnmade {
				s.mark(x, leaving)
			} else if watch {
				s.mark(x, use)
			}
			c.leave(s)
			if watch {
				c.got(g.op, x, g.isSampled)
			}
			if isUnmade {
				err = c.makeObject(g.op, x, use)
			}
			return x, isFresh, err
		}
		// 6. A page from elsewhere, and then the same again.
		if s, err = c.supply(s, g.op); err != nil {
			if !g.waits {
				c.failedGets.Add(1)
			}
			return nil, false, err
		}
	}
}

// supply gets a page for s, which has none to serve a Get from. It returns with the shard that the
// page was attached to, which the caller owns, and the caller tries again there.
func (c *core) supply(s *shard, op string) (*shard, error) {
	seemedSpare := c.depot.hasSpare()
	c.leave(s)
	c.requireNew()
	pg := c.depot.adopt()
	if pg == nil && seemedSpare {
		// They were gone, but s may have passed over a retired page of its own for them.
		s, err := c.enter(op)
		if err == nil {
			s.counts.slowGets++
		}
		return s, err
	}
	if pg == nil {
		var err error
		if pg, err = c.fresh(); err != nil && !errors.Is(err, ErrClosed) {
			pg, err = c.search(err)
		}
		// The limit of the process, or the system, may have refused; or a limit that other classes
		// share.
		for rounds := 0; err != nil && !errors.Is(err, ErrClosed) && rounds < 100 && c.takeRoom(err); rounds++ {
			pg, err = c.fresh() // another pool may have been faster
		}
		if err != nil {
			return nil, err
		}
	}
	s, err := c.enter(op)
	if err != nil {
		return nil, err // Close has released pg with the others
	}
	s.attach(pg)
	return s, nil
}

// fresh is depot.fresh. If memory was refused, the slots that the page would have had are not counted
// any more, and somebody may have waited because they were.
func (c *core) fresh() (*page, error) {
	pg, err := c.depot.fresh()
	if err != nil && !c.isAtBound(err) {
		c.hand(nil)
	}
	return pg, err
}

// takeRoom has others release pages for c, which gets none because of err. It reports whether to try
// again. The caller has no shard.
func (c *core) takeRoom(err error) bool {
	if c.takeFromKin != nil && errors.Is(err, c.depot.errLimit) {
		return c.takeFromKin(c)
	}
	return c.depot.hasRoom() && takeFromOthers(c)
}

// batchSize is how many slots the batch calls move in one go, so that a long batch does not keep
// its P from the scheduler.
const batchSize = 64

// A batch is the first n slots of a slice. Bit k of fresh says that slot k is fresh, and that of
// watched, that it is watched.
type batch struct {
	n              int
	fresh, watched uint64
}

// getBatch fills dst, which has at most batchSize places, as far as it can. With WithInit, the
// caller has to make the objects of the fresh slots. Their words say leaving.
func (c *core) getBatch(dst []unsafe.Pointer) (b batch, err error) {
	s, err := c.enterToGet("GetBatch")
	if err != nil {
		return b, err
	}
	sampled := s.count(uint32(len(dst)))
	if b.watched = sampled; watchAll {
		b.watched = math.MaxUint64
	}
	for {
		from := b.n
		got, fresh := s.getMany(dst[from:])
		b.fresh |= fresh << from
		b.n += got
		if c.construct == nil {
			fresh = 0
		}
		if b.watched != 0 || fresh != 0 {
			c.gotBatch(s, dst[from:b.n], sampled>>from, fresh)
			if b.n == len(dst) {
				return b, nil
			}
			if s, err = c.enter("GetBatch"); err != nil {
				return b, err
			}
		}
		if b.n == len(dst) {
			c.leave(s)
			return b, nil
		}
		if s, err = c.supply(s, "GetBatch"); err != nil {
			c.failedGets.Add(uint64(len(dst) - b.n))
			return b, err
		}
	}
}
