package pool

import (
	"fmt"
	"reflect"
	"unsafe"
)

// What a slot holds while nobody uses it, and who sees to it.
//
//   - By default, Get clears the slot.
//   - On the Go heap, Put clears it if T has pointers, so that a free slot keeps nothing alive.
//   - With WithInit, an object is made in the slot before it is first handed out. Get and Put leave
//     it alone from then on.
//   - WithReset is called in Put, and before Put clears.
//
// Put may only touch a slot that is its caller's. So where Put resets or clears, it claims the slot
// first: its word changes from taken to leaving. A second Put of the slot finds it leaving, and
// fails. Then the slot is reset and cleared, without a shard, and then it is put by core.putClaimed.
// (All shards of such a pool have signalClaims raised, and so core.put does no more than claim.) Two
// Puts of one slot that race may both claim it, as core.put does that by a plain store. Then both
// reset the object, one of them puts it, and the other one fails.
//
// An object is made without a shard too. The Get that has found the slot has marked it as leaving
// before it left its shard, and it enters one again to hand it out.
//
// Whoever changes a word has a shard, or knows that the page is still the pool's. Close takes the
// pages of the Go heap although slots are in use, and after that the words are another page's.
//
// A function that does not return, because it panics or ends its goroutine, leaves an object about
// which nothing is known. Then the slot is cleared and goes home unmade (page.setNext). The next Get
// that pops it makes its object anew.

// contents is what a pool does with what slots hold. It is set once, in New.
type contents struct {
	clearsOnGet bool
	clearsOnPut bool

	construct func(unsafe.Pointer) // WithInit; nil: none
	reset     func(unsafe.Pointer) // WithReset; nil: none
	clear     func(unsafe.Pointer) // assigns the zero value of T
}

// contentsOf returns what a pool with this spec and these options does with what slots hold. clear
// clears a slot.
func contentsOf(sp *spec, o *options, clear func(unsafe.Pointer)) contents {
	return contents{
		clearsOnGet: !sp.keeps && !sp.clearedOnPut(),
		clearsOnPut: sp.clearedOnPut(),
		construct:   o.init.f,
		reset:       o.reset.f,
		clear:       clear,
	}
}

// clearedOnPut reports whether Put clears a slot, so that nothing that it refers to stays alive.
func (sp *spec) clearedOnPut() bool { return !sp.keeps && sp.goHeap && sp.scanned }

// checkFor returns an error if f, given to the named option, is no function for objects of t.
func (f slotFunc) checkFor(t reflect.Type, option string) error {
	switch {
	case f.t == nil: // the option was not given
	case f.t != t:
		return fmt.Errorf("pool (%s): %s was given a function for *%s; give one for *%s", t, option, f.t, t)
	case f.f == nil:
		return fmt.Errorf("pool (%s): %s(nil): give a function, or leave the option out", t, option)
	}
	return nil
}

// A slotFunc is a function for objects of a type.
type slotFunc struct {
	t reflect.Type // nil: the option was not given
	f func(unsafe.Pointer)
}

// slotFuncOf returns f without its type.
func slotFuncOf[T any](f func(*T)) slotFunc {
	s := slotFunc{t: reflect.TypeFor[T]()}
	if f != nil {
		s.f = func(x unsafe.Pointer) { f((*T)(x)) }
	}
	return s
}

// clearSlot assigns the zero value of T to the slot at x. The collector sees pointers go.
func clearSlot[T any](x unsafe.Pointer) { clear((*[1]T)(x)[:]) }

// makeObject makes the object of a slot that a Get is about to return, and whose word says leaving.
// use is what it says afterwards: taken or watched. If the function does not return, the slot is
// free afterwards. If the pool was closed meanwhile, there is no slot any more.
func (c *core) makeObject(op string, x unsafe.Pointer, use uint16) error {
	made := false
	defer func() {
		if !made {
			c.putUnmade(op, x)
		}
	}()
	c.clear(x)
	c.construct(x)
	made = true
	s, err := c.enter(op)
	if err != nil {
		return err
	}
	s.mark(x, use)
	c.leave(s)
	return nil
}

// makeObjects is makeObject for the fresh slots of a batch, which is in dst from begin on. If the
// function does not return, all slots in dst are free afterwards, and dst has only nil.
func (c *core) makeObjects(dst []unsafe.Pointer, begin int, b batch) (err error) {
	k := 0
	defer func() {
		if k < b.n && err == nil {
			c.undoBatch(dst[:begin+b.n])
			clear(dst)
		}
	}()
	for ; k < b.n && err == nil; k++ {
		if b.fresh>>k&1 == 0 {
			continue
		}
		use := uint16(taken)
		if b.watched>>k&1 != 0 {
			use = watched
		}
		x := dst[begin+k]
		dst[begin+k] = nil // if the function does not return, makeObject puts it back
		err = c.makeObject("GetBatch", x, use)
		dst[begin+k] = x
	}
	return err
}

// undoBatch takes back the slots of a GetBatch that fails, and which nobody has seen: without a
// reset.
func (c *core) undoBatch(xs []unsafe.Pointer) {
	for _, x := range xs {
		if x == nil {
			continue
		}
		if pg, i, ok := c.find(uintptr(x)); ok && *pg.link(i) == leaving {
			c.putUnmade("GetBatch", x) // its object is not made yet
		} else {
			_ = c.putEntering("GetBatch", x) // if it fails, the pool was closed, and has no slots
		}
	}
}

// use returns what the word of slot i says, which has a user: taken or watched.
func (pg *page) use(i uint32) uint16 {
	if *pg.link(i) == watched {
		return watched
	}
	return taken
}

// claimSlot makes slot i the caller's, if it is in use. It returns what its word said, or none. Any P.
func (pg *page) claimSlot(i uint32) (was uint16) {
	if was = pg.use(i); !pg.changeLink(i, was, leaving) {
		return none
	}
	return was
}

// putClaiming takes back the slot at x in a pool whose Put resets or clears.
func (c *core) putClaiming(op string, x unsafe.Pointer) error {
	if c.isCollected(x) {
		return c.errForeignPut(op, uintptr(x))
	}
	// The slot is claimed with a shard. All, which stops all shards, must not see the slot in use
	// after its Refs have ended, nor give it one before it is claimed. And after Close, its word may
	// be another page's.
	s, err := c.enter(op)
	if err != nil {
		return err
	}
	pg, i, ok := c.find(uintptr(x))
	if !ok {
		c.leave(s)
		return c.errForeignPut(op, uintptr(x))
	}
	hasRefs := c.hasRefs.Load()
	if hasRefs {
		c.endRefs(uintptr(x))
	}
	was := pg.claimSlot(i)
	c.leave(s)
	return c.finishClaimed(op, x, pg, i, was, hasRefs)
}

// putTidied is what core.put leaves to do of a Put for which it has claimed the slot at x, of pg.
//
//go:noinline
func (c *core) putTidied(x unsafe.Pointer, pg *page) {
	i, _ := pg.indexOf(uintptr(x))
	if err := c.finishClaimed("Put", x, pg, i, taken, false); err != nil {
		panic(err)
	}
}

// finishClaimed is a Put from when slot i of pg is claimed, which is at x. was is what claimSlot has
// returned, and refsEnded says that the Refs of the slot have ended.
func (c *core) finishClaimed(op string, x unsafe.Pointer, pg *page, i uint32, was uint16, refsEnded bool) error {
	if was == none {
		return c.errDoublePut(op, uintptr(x))
	}
	if c.reset != nil {
		c.callReset(op, x)
	}
	if c.clearsOnPut {
		c.clear(x)
	}
	switch {
	case pg.isOver(): // only Close does that to a page with a slot in use
		return c.errClosed(op)
	case was == watched:
		return c.putWatched(op, x)
	case refsEnded:
		return c.putBack(op, x)
	}
	c.putClaimed(x, pg, i)
	return nil
}

// callReset resets a slot that is leaving.
func (c *core) callReset(op string, x unsafe.Pointer) {
	done := false
	defer func() {
		if !done {
			c.putUnmade(op, x)
		}
	}()
	c.reset(x)
	done = true
}

// putUnmade takes back a slot that is leaving, and whose object is not to be used again.
func (c *core) putUnmade(op string, x unsafe.Pointer) {
	c.clear(x)
	pg, i, ok := c.find(uintptr(x))
	if !ok {
		return // the pool was closed meanwhile
	}
	if pg.guard != nil {
		_ = c.putWatched(op, x) // a guard's object is made anew in any case
		return
	}
	c.watches.drop(x)
	s, err := c.enter(op)
	if err != nil {
		return
	}
	if c.hasRefs.Load() {
		c.endRefs(uintptr(x))
	}
	if *pg.link(i) == leaving {
		s.refilled()
		s.freed()
		if c.construct != nil {
			pg.unmade.Store(true)
			*pg.link(i) = unmade | (unmade - 1)
		} else {
			*pg.link(i) = none
		}
		s.sendHome(chain{pg, i, i, 1, x})
	}
	c.leave(s)
}
