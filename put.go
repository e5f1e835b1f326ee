package pool

import "unsafe"

// A Put from beginning to end. It has nothing but an address, and reads nothing there. It finds the
// slot by the address, sees by the slot's word whether the slot is in use, and parks it or pushes it
// on its page's list. Most Puts end in put or putElsewhere; the others go on in putSlow, on the same
// shard.

// put takes back the slot at addr. It panics if that is not a slot in use.
//
//go:nosplit
func (c *core) put(addr uintptr) {
	t := c.shards.Load()
	if t == nil {
		panic(errNotNew)
	}
	s := t.own(procPin())
	if s.signal.Load() == 0 {
		if c.hasRefs.Load() {
			c.endRefs(addr)
		}
		// 1. The slot that the last Get handed out from the lot.
		if s.lot.repark(addr) {
			s.unpin()
			return
		}
		// 2. A slot of the page of the Put before, if the lot has one already.
		if pg := s.last; s.lot.n != 0 {
			if i, ok := pg.indexOf(addr); ok && pg.owner.Load() == s.id && pg.push(i) {
				c.leavePushed(s, pg)
				return
			}
		}
	}
	c.putElsewhere(s, addr)
}

// putElsewhere is put on s, which the caller owns, for a slot that has to be looked up.
//
//go:nosplit
func (c *core) putElsewhere(s *shard, addr uintptr) {
	pg := pageOfMain(addr)
	i, ok := pg.indexOf(addr)
	if ok && pg.spec == &c.spec && s.signal.Load() == 0 {
		switch {
		// 3. A slot to park, if the lot has room and the clock knows of it.
		case s.lot.wants(pg):
			if s.lot.armed && s.lot.hasRoom(pg) && s.lot.park(pg, i) {
				s.unpin()
				return
			}
		// 4. A slot of the shard's own page.
		case pg.push(i):
			s.last = pg
			c.leavePushed(s, pg)
			return
		}
	}
	c.putSlow(s, addr)
}

// leavePushed is the end of a Put that has pushed a slot of pg. It retires the page if it is empty now.
//
//go:nosplit
func (c *core) leavePushed(s *shard, pg *page) {
	if pg.used <= 1 {
		c.leaveDrained(s, pg)
		return
	}
	s.unpin()
}

// leaveDrained is leavePushed for a page of which at most one slot is in use.
func (c *core) leaveDrained(s *shard, pg *page) {
	s.drained(pg)
	c.leave(s)
}

// putSlow is put from the point where s, which the caller owns, cannot take the slot in a few
// instructions.
func (c *core) putSlow(s *shard, addr uintptr) {
	s, err := c.answer(s, "Put")
	if err != nil {
		panic(err)
	}
	if c.hasRefs.Load() {
		c.endRefs(addr)
	}
	how := s.putAt(addr)
	c.leave(s)
	if err := c.finishPut("Put", addr, how); err != nil {
		panic(err)
	}
}

// putResult says how far a Put has come on its shard. finishPut does the rest.
type putResult uint8

const (
	putDone    putResult = iota
	putWatched           // the slot's word said watched, and says leaving now: see watch.go
	putForeign           // there is no slot of this pool
	putDouble            // the slot is not in use
)

// putAt takes back the slot at addr on s: it parks it, sends others home to make room for it, claims
// its page, or pushes it.
func (s *shard) putAt(addr uintptr) putResult {
	pg, i, ok := s.spec.find(addr)
	switch {
	case !ok:
		return putForeign
	case *pg.link(i) == watched:
		*pg.link(i) = leaving // so that another Put of it does not come here
		return putWatched
	case !s.put(pg, i):
		return putDouble
	}
	return putDone
}

// finishPut does what is left of a Put, without a shard. op names the call, for the error.
func (c *core) finishPut(op string, addr uintptr, how putResult) error {
	switch how {
	case putWatched:
		return c.putWatched(op, addr)
	case putForeign:
		return c.errForeignPut(op, addr)
	case putDouble:
		return c.errDoublePut(op, addr)
	}
	return nil
}

// putBatch takes back the slots at xs, at most batchSize. On misuse it panics when those before the
// misused one have been taken back.
func (c *core) putBatch(xs []unsafe.Pointer) {
	s, err := c.enter("PutBatch")
	if err != nil {
		panic(err)
	}
	pg := noPage // of the slot before, if s owns it
	for _, x := range xs {
		addr := uintptr(x)
		if x == nil {
			continue
		}
		if c.hasRefs.Load() {
			c.endRefs(addr)
		}
		if i, ok := pg.indexOf(addr); ok && pg.push(i) {
			if pg.used <= 1 {
				s.drained(pg)
				pg = noPage
			}
			continue
		}
		if how := s.putAt(addr); how != putDone {
			c.leave(s)
			if err = c.finishPut("PutBatch", addr, how); err == nil {
				s, err = c.enter("PutBatch")
			}
			if err != nil {
				panic(err)
			}
			pg = noPage
			continue
		}
		if pg = pageOfMain(addr); pg.owner.Load() != s.id || pg.spec != &c.spec {
			pg = noPage
		}
	}
	c.leave(s)
}
