package pool

import (
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A Put from beginning to end. It has nothing but an address, and reads nothing there. It finds the
// slot by the address, sees by the slot's word whether the slot is in use, and parks it or pushes
// it on its page's list. Most Puts end in put, which cannot be preempted and has the shard of its P
// to itself for that long (own_nosplit.go). The others start over in putSlow, which gets a shard by
// a pin or a lock.

// put takes back the slot at x. It panics if that is not a slot in use.
//
// Between getm and the store that clears busy it calls nothing, in no build: the steps are written
// out here, and helpers of page and parkingLot that say the same are for the slow path. See
// own_nosplit.go for the reason. It is some 30 instructions for the slot that was handed out last,
// and some 60 for others. Most loads that lead to the page are plain: see fastTable.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (c *core) put(x unsafe.Pointer) {
	var (
		s      *shard
		sig    uint32
		k      uint32      // slots parked
		place  *parkedSlot // for the next one
		l      *leaf       // of the table that has x
		pg     *page       // of x
		hi, lo uint64      // hi is the index of the slot, if lo says that x is the address of one
		word   *uint16     // of the slot
		id     uint32      // of the P; then of the page's owner; then the slot's generation
		push   bool        // the slot goes on its page's list, and is not parked
		m      *mLayout
	)
	if fastBuild && c != nil {
		m = getm()
		id = m.p.id
		switch t := c.fast.rest; {
		case id < fewPs:
			s = c.fast.few[id]
		case t != nil && uint64(id) < uint64(len(t.shards)):
			s = t.shards[id]
		}
	}
	if s == nil {
		c.putSlow(x) // the P is new, or there are no fast paths, or New did not make the pool
		return
	}
	s.busy = 1 // whoever wants the shard now waits for us, or has raised a signal that we see
	if stepping {
		yieldPoint()
	}
	sig = atomic.LoadUint32(&s.signal)
	k = s.lot.n
	place = &s.lot.places[k%lotSize]
	if sig == 0 && place.slot == x && *place.word == taken {
		// 1. The slot that the last Get took from the lot goes back there. The entry that is still
		//    there says all that step 2 would look up. A loop cannot consist of this alone, so the
		//    scheduler is asked only after it. The signal comes first: whoever has seized the shard
		//    may be clearing the entry.
		*place.word = parking
		s.lot.n = k + 1
		goto done
	}
	// 2. The page is what the table says of the address, if it is a page of this pool (pageOf,
	//    page.indexOf). To try the page of an earlier Put first saves nothing: the table costs a few
	//    loads from the cache, and a wrong guess costs more.
	l = *(**leaf)(unsafe.Pointer(&tableRoot[uintptr(x)>>leafShift%rootEntries]))
	if l == nil {
		goto slow
	}
	pg = *(**page)(unsafe.Pointer(&l[uintptr(x)>>tableShift%leafEntries]))
	if pg == nil {
		goto slow
	}
	hi, lo = bits.Mul64(uint64(uintptr(x)-uintptr(pg.base)), pg.recip)
	if lo >= pg.recip || hi >= uint64(len(pg.links)) || pg.spec != c.spec {
		goto slow
	}
	word = &pg.links[hi]
	if *word != taken || m.curg.stackguard0 == stackPreempt {
		goto slow
	}
	if sig&^signalRefs != 0 {
		if sig == signalClaims { // this is all that is done here of a Put that resets or clears
			*word = leaving
			k = claimed
		}
		goto slow
	}
	// 3. The slot is parked if there is room; the clock has to know of parked slots. Without room, a
	//    slot of our own is pushed. If its page would be empty then, or is not ours, the slow path
	//    does it.
	push = k >= s.lot.room
	id = atomic.LoadUint32(&pg.owner)
	if push && (id != s.id || pg.used <= 1) || !push && !s.lot.armed {
		goto slow
	}
	// 4. The Refs of the slot end first (core.endRefs). If the page has become weak since step 2,
	//    whoever has made it so may have looked at its Refs before that: the slow path makes it
	//    strong (shard.strengthen). Or else that look comes after it, for the page is made weak
	//    first (page.weaken).
	if sig != 0 {
		if stepping {
			yieldPoint()
		}
		if u := (*refUnit)(atomic.LoadPointer(&pg.refs)); u != nil {
			gen := &u.gens[min(hi, unitSlots-1)]
			id = atomic.LoadUint32(gen)
			// One condition, for the frame: see TestFastCode. The slow path also ends what others
			// may be ending.
			if hi >= unitSlots || id == math.MaxUint32 || !atomic.CompareAndSwapUint32(gen, id, id+1) || atomic.LoadPointer(&pg.base) == nil {
				goto slow
			}
		}
	}
	if push {
		*word = uint16(pg.localFree)
		pg.localFree = uint32(hi)
		pg.used--
	} else {
		*word = parking
		place.slot, place.word = x, word
		s.lot.n = k + 1
	}

done:
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
	return

slow: // nothing has changed, or the slot is claimed, or its Refs have ended
	atomic.StoreUint32(&s.busy, 0)
	if stepping {
		stepUnpin()
	}
	if k == claimed {
		c.putTidied(x, pg)
		return
	}
	c.putSlow(x)
}

// claimed is more slots than a lot has.
const claimed = 1 << 31

// putClaimed takes back slot i of pg, which is at x, and whose word says leaving: its caller has
// claimed it (contents.go). It is put without the steps that find the slot, and the rules for put
// hold for it too.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (c *core) putClaimed(x unsafe.Pointer, pg *page, i uint32) {
	if !fastBuild {
		c.putClaimedSlow(x)
		return
	}
	var (
		s    *shard
		k    uint32
		word *uint16
	)
	m := getm()
	switch id, t := m.p.id, c.fast.rest; {
	case id < fewPs:
		s = c.fast.few[id]
	case t != nil && uint64(id) < uint64(len(t.shards)):
		s = t.shards[id]
	}
	if s == nil {
		c.putClaimedSlow(x)
		return
	}
	s.busy = 1
	if stepping {
		yieldPoint()
	}
	k = s.lot.n
	// Refs are ended by the slow path.
	if atomic.LoadUint32(&s.signal) != signalClaims || uint64(i) >= uint64(len(pg.links)) || m.curg.stackguard0 == stackPreempt {
		goto slow
	}
	word = &pg.links[i]
	if *word != leaving {
		goto slow
	}
	if k >= s.lot.room {
		if atomic.LoadUint32(&pg.owner) != s.id || pg.used <= 1 {
			goto slow
		}
		*word = uint16(pg.localFree)
		pg.localFree = i
		pg.used--
	} else {
		if !s.lot.armed {
			goto slow
		}
		*word = parking
		s.lot.places[k%lotSize] = parkedSlot{x, word}
		s.lot.n = k + 1
	}
	if stepping {
		yieldPoint()
	}
	if storesInOrder {
		s.busy = 0
	} else {
		atomic.StoreUint32(&s.busy, 0)
	}
	if stepping {
		stepUnpin()
	}
	return

slow: // nothing has changed
	atomic.StoreUint32(&s.busy, 0)
	if stepping {
		stepUnpin()
	}
	c.putClaimedSlow(x)
}

// putSlow is put from the point where the fast path cannot take the slot. It has an ordinary
// prologue, in which the goroutine yields if the scheduler wants that.
//
//go:noinline
func (c *core) putSlow(x unsafe.Pointer) {
	if err := c.putOne("Put", x); err != nil {
		panic(err)
	}
}

// putOne takes back the slot at x, for op.
func (c *core) putOne(op string, x unsafe.Pointer) (err error) {
	switch {
	case c == nil || c.shards.Load() == nil:
		err = errNotNew
	case c.claims:
		err = c.putClaiming(op, x)
	case c.isCollected(x):
		err = c.putForeign(op, x)
	default:
		err = c.putEntering(op, x)
	}
	runtime.KeepAlive(x) // a page of the Go heap must not go before its slot is free
	return err
}

// putEntering takes back the slot at x on a shard.
func (c *core) putEntering(op string, x unsafe.Pointer) error {
	s, err := c.enter(op)
	if err != nil {
		return err
	}
	if c.hasRefs.Load() {
		c.endRefs(uintptr(x))
	}
	how := s.putAt(x)
	c.leave(s)
	return c.finishPut(op, x, how)
}

// putClaimedSlow is putClaimed from the point where the fast path cannot take the slot.
//
//go:noinline
func (c *core) putClaimedSlow(x unsafe.Pointer) {
	s, err := c.enter("Put")
	if err == nil {
		if c.hasRefs.Load() {
			c.endRefs(uintptr(x))
		}
		how := s.putLeaving(x)
		c.leave(s)
		err = c.finishPut("Put", x, how)
	}
	if err != nil {
		panic(err)
	}
	runtime.KeepAlive(x)
}

// putResult says how far a Put has come on its shard. finishPut does the rest.
type putResult uint8

const (
	putDone    putResult = iota
	putWatched           // the slot's word said watched, and says leaving now: see watch.go
	putAwaited           // somebody waits for the slot, and its word says leaving: see wait.go
	putForeign           // there is no slot of this pool
	putDouble            // the slot is not in use
)

// putAt takes back the slot at x on s: it parks it, sends others home to make room for it, claims
// its page, or pushes it.
func (s *shard) putAt(x unsafe.Pointer) putResult {
	pg, i, ok := s.spec.find(uintptr(x))
	switch {
	case !ok:
		return putForeign
	case *pg.link(i) == watched && pg.changeLink(i, watched, leaving):
		return putWatched // only one Put of the slot comes here
	case *pg.link(i) == taken && s.isAwaited(pg):
		*pg.link(i) = leaving
		return putAwaited
	case !s.put(pg, i, x, taken):
		return putDouble
	}
	return putDone
}

// putLeaving is putAt for a slot whose word says leaving. If it does not, another Put of the slot
// has run at the same time.
func (s *shard) putLeaving(x unsafe.Pointer) putResult {
	if pg, i, ok := s.spec.find(uintptr(x)); ok && *pg.link(i) == leaving && s.isAwaited(pg) {
		return putAwaited
	}
	return s.makeFree(x)
}

// makeFree is putLeaving for a slot that nobody waits for.
func (s *shard) makeFree(x unsafe.Pointer) putResult {
	pg, i, ok := s.spec.find(uintptr(x))
	if !ok || !s.put(pg, i, x, leaving) { // its word never says taken: a second Put would believe it
		return putDouble
	}
	return putDone
}

// finishPut does what is left of a Put, without a shard. op names the call, for the error.
func (c *core) finishPut(op string, x unsafe.Pointer, how putResult) error {
	switch how {
	case putWatched:
		return c.putWatched(op, x)
	case putAwaited:
		return c.putAwaited(op, x)
	case putForeign:
		return c.putForeign(op, x)
	case putDouble:
		return c.errDoublePut(op, uintptr(x))
	}
	return nil
}

// owns reports whether there is a slot of c at x.
func (c *core) owns(x unsafe.Pointer) bool {
	c.requireNew()
	if c.isCollected(x) {
		return false
	}
	_, _, ok := c.find(uintptr(x))
	runtime.KeepAlive(x) // a weak page is not collected meanwhile
	return ok
}

// putForeign is the Put of an address that is no slot of c.
func (c *core) putForeign(op string, x unsafe.Pointer) error {
	if c.putElsewhere != nil {
		return c.putElsewhere(op, x)
	}
	return c.errForeignPut(op, uintptr(x))
}

// putBatch takes back the slots at xs, at most batchSize. On misuse it panics when those before the
// misused one have been taken back.
func (c *core) putBatch(xs []unsafe.Pointer) {
	if c == nil || c.shards.Load() == nil {
		panic(errNotNew)
	}
	if c.claims || c.isAnyCollected(xs) {
		for _, x := range xs {
			if x == nil {
				continue
			}
			if err := c.putOne("PutBatch", x); err != nil {
				panic(err)
			}
		}
		return
	}
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
		if s == nil {
			if s, err = c.enter("PutBatch"); err != nil {
				panic(err)
			}
		}
		if c.hasRefs.Load() {
			c.endRefs(addr)
		}
		if i, ok := pg.indexOf(addr); ok && pg.push(i, taken) {
			if pg.used == 0 {
				s.emptied(pg)
				pg = noPage
			}
			continue
		}
		if how := s.putAt(x); how != putDone {
			c.leave(s)
			if err = c.finishPut("PutBatch", x, how); err != nil {
				panic(err)
			}
			s, pg = nil, noPage // if it was the last slot, the pool may be closed now
			continue
		}
		if pg = pageOf(addr); pg.ownerID() != s.id || pg.spec != c.spec || s.signals()&signalClosing != 0 {
			pg = noPage
		}
	}
	if s != nil {
		c.leave(s)
	}
}
