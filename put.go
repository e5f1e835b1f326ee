package pool

import (
	"runtime"
	"unsafe"
)

// A Put from beginning to end. It has nothing but an address, and reads nothing there. It finds the
// slot by the address, sees by the slot's word whether the slot is in use, and parks it or pushes
// it on its page's list. Most Puts end in put, which cannot be preempted and has the shard of its P
// to itself for that long (own_nosplit.go). The others start over in putSlow, which gets a shard by
// a pin or a lock.

// put takes back the slot at x. It panics if that is not a slot in use.
//
// It is some 30 instructions and one call for the slot that was handed out last, and some 60 for
// others.
//
//go:nosplit
//go:noinline
func (c *core) put(x unsafe.Pointer) {
	m := getm()
	if !c.fast.has(m) {
		c.putSlow(x) // no fast paths, not made by New, or a P that has no place in the table yet
		return
	}
	s := c.fast.of(m)
	s.busy = 1 // whoever wants the shard now waits until letGo, or has raised a signal that we see
	yieldPoint()
	addr := uintptr(x)
	if sig := s.signals(); sig != 0 {
		if sig != signalRefs {
			s.letGo()
			c.putSlow(x)
			return
		}
		c.endRefs(addr)
	}
	// 1. The slot that the last Get took from the lot goes back there. A loop cannot consist of
	//    this alone, so the scheduler is asked only after it.
	if s.lot.repark(addr) {
		s.letGo()
		return
	}
	if !m.wantsYield() {
		// 2. The page: that of a Put before, if it is still the shard's own; else what the table
		//    says of the address, if it is a page of this pool.
		pg := s.last
		i, ok := pg.indexOf(addr)
		if !ok || pg.ownerID() != s.id {
			pg = pageOfMain(addr)
			if i, ok = pg.indexOf(addr); ok && pg.spec == &c.spec && pg.ownerID() == s.id {
				s.last = pg
			}
			ok = ok && pg.spec == &c.spec
		}
		switch {
		case !ok:
		// 3. Any other shard's slot is parked, and one of our own if the lot is empty. The clock
		//    has to know of parked slots.
		case s.lot.wants(pg):
			if s.lot.armed && s.lot.hasRoom(pg) && s.lot.park(pg, i) {
				s.letGo()
				return
			}
		// 4. The shard's own slots are pushed. If the page may be empty then, the slow path looks
		//    at it.
		case pg.used > 2 && pg.push(i):
			s.letGo()
			return
		}
	}
	s.letGo()
	c.putSlow(x)
}

// putSlow is put from the point where the fast path cannot take the slot. It has an ordinary
// prologue, in which the goroutine yields if the scheduler wants that.
//
//go:noinline
func (c *core) putSlow(x unsafe.Pointer) {
	addr := uintptr(x)
	s, err := c.enter("Put")
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
	runtime.KeepAlive(x) // a page of the Go heap must not go before its slot is free
}

// putResult says how far a Put has come on its shard. finishPut does the rest.
type putResult uint8

const (
	putDone    putResult = iota
	putWatched           // the slot's word said watched, and says leaving now: see watch.go
	putForeign           // there is no slot of this pool
	putDouble            // the slot is not in use
)

// putAt takes back the slot at addr on s: it parks it, sends others home to make room for it,
// claims its page, or pushes it.
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
		if pg = pageOfMain(addr); pg.ownerID() != s.id || pg.spec != &c.spec {
			pg = noPage
		}
	}
	c.leave(s)
}
