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
// and some 60 for others.
//
//go:nosplit
//go:noinline
//go:nocheckptr
func (c *core) put(x unsafe.Pointer) {
	if !fastBuild {
		c.putSlow(x)
		return
	}
	m := getm()
	n := atomic.LoadUint32(&c.fast.n)
	if n == 0 || m.p.id >= n {
		c.putSlow(x) // fast paths are off, or New did not make the pool, or the P is new
		return
	}
	var s *shard
	if id := m.p.id; id < fewPs {
		s = (*shard)(atomic.LoadPointer(&c.fast.few[id]))
	} else {
		s = (*shardTable)(atomic.LoadPointer(&c.fast.rest)).shards[id]
	}
	s.busy = 1 // whoever wants the shard now waits for us, or has raised a signal that we see
	if stepping {
		yieldPoint()
	}
	done := false
	sig := atomic.LoadUint32(&s.signal)
	k := s.lot.n
	place := &s.lot.places[k%lotSize]
	if sig == 0 && place.slot == x && *place.word == taken {
		// 1. The slot that the last Get took from the lot goes back there (parkingLot.repark). A
		//    loop cannot consist of this alone, so the scheduler is asked only after it.
		*place.word = parking
		s.lot.n = k + 1
		done = true
	} else if sig&^signalRefs == 0 && m.curg.stackguard0 != stackPreempt {
		// 2. The page: that of a Put before, if it is still the shard's own; otherwise what the
		//    table says of the address, if it is a page of this pool (page.indexOf, pageOfMain).
		pg := s.last
		hi, lo := bits.Mul64(uint64(uintptr(x)-uintptr(pg.base)), pg.recip)
		found := lo < pg.recip && hi < uint64(pg.reserved) && atomic.LoadUint32(&pg.owner) == s.id
		owner := s.id
		if off := uintptr(x) - mainRegion.base; !found && off < mainRegion.size {
			ch := (*chunk)(atomic.LoadPointer(&mainTable[off>>chunkShift%mainChunks].p))
			pg = (*page)(atomic.LoadPointer(&ch.pages[off>>granuleShift%chunkGranules].p))
			hi, lo = bits.Mul64(uint64(uintptr(x)-uintptr(pg.base)), pg.recip)
			found = lo < pg.recip && hi < uint64(pg.reserved) && pg.spec == &c.spec
			if owner = atomic.LoadUint32(&pg.owner); found && owner == s.id {
				s.last = pg
			}
		}
		if i := uint32(hi); found && pg.links[i] == taken {
			// 3. Another shard's slot is parked if there is room, and one of our own if the lot is
			//    empty (parkingLot.wants, hasRoom). The clock has to know of parked slots. Other
			//    slots of our own are pushed; if the page may be empty then, the slow path does it.
			park := s.lot.armed && k < s.lot.room/4
			push := false
			if owner != s.id {
				park = park || s.lot.armed && k < s.lot.room && owner != noOwner
			} else {
				park = park && k == 0 && (pg.used != 1 || pg.localFree == none)
				push = k != 0 && pg.used > 2
			}
			// 4. The Refs of the slot end first (core.endRefs).
			if sig != 0 && (park || push) {
				if u := (*refUnit)(atomic.LoadPointer(&pg.refs)); u != nil {
					if i < unitSlots && u.gens[i] != math.MaxUint32 {
						gen := atomic.LoadUint32(&u.gens[i])
						atomic.CompareAndSwapUint32(&u.gens[i], gen, gen+1)
					} else {
						park, push = false, false
					}
				}
			}
			switch {
			case park:
				pg.links[i] = parking
				place.slot, place.word = x, &pg.links[i]
				s.lot.n = k + 1
				done = true
			case push:
				pg.links[i] = uint16(pg.localFree)
				pg.localFree = i
				pg.used--
				done = true
			}
		}
	}
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
	if !done {
		c.putSlow(x)
	}
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
