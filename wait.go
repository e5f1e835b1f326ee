package pool

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"
)

// Waiting at the bound. A GetContext that finds no free slot, and may make none, joins a queue. While
// somebody is in the queue, signalWaiting is raised on all shards. A Put leaves its fast path for any
// signal, so it pays nothing for this while nobody waits. It claims its slot then (the word says
// leaving) and hands it to the first in the queue. So slots go to those who wait, in the order in
// which they came.
//
// No slot stays free while somebody waits for it. A waiter joins the queue, raises the signal, and
// then looks for a slot as any Get does, until it is known that none is free (core.isExhausted). A
// slot that a Put has parked or pushed before it could see the signal is found by that: a search stops
// the shards, and waits for the Put. A Put that comes later sees the signal, and hands its slot over.
// If the queue is empty by then, it makes the slot free, and looks at the signal once more while it
// has the shard (shard.freed): if somebody has joined meanwhile, it tells the first in the queue to
// look again. All else that makes a slot free does the same, or makes room for one: an object that
// could not be made, a guard, a page that the collector has taken, a page that memory was refused for
// (core.fresh). There may be many such slots at a time. So a waiter that was told to look again and
// has found a slot, or got an error, tells the next one. The last one finds nothing and goes on
// waiting.
//
// In a bubble of testing/synctest, the channel that a goroutine waits for is the bubble's, so that
// the wait counts as one there. Whoever sends to it from elsewhere ends the process. So a Put passes
// over those who wait in another bubble. They look once more for a slot when their time is up.

// waiters are the GetContexts of a pool that wait.
type waiters struct {
	n     atomic.Int32  // how many there are; changed under mu, any goroutine reads it
	waits atomic.Uint64 // that have begun

	mu    mutex     // one of the last in the order of locks (see depot.mu)
	queue list.List // of *waiter; the longest wait comes first
}

// A waiter is a GetContext that waits.
type waiter struct {
	// given gets a slot whose word says leaving, or nil: look again. It has room for one, because
	// whoever sends takes the waiter out of the queue.
	given  chan unsafe.Pointer
	bubble uint64        // of testing/synctest; 0: none
	place  *list.Element // in the queue, or nil; under waiters.mu
	told   bool          // to look again, and has not found yet that nothing is free; its goroutine only
	passed bool          // a slot was put elsewhere than in the bubble; under waiters.mu
}

// getContext is tryGet that waits at the pool's own bound.
func (c *core) getContext(ctx context.Context) (x unsafe.Pointer, isFresh bool, err error) {
	c.requireNew()
	if ctx == nil {
		panic(fmt.Errorf("%s: GetContext(nil): give a context, such as context.Background()", c.spec))
	}
	if ctx.Err() != nil {
		return nil, false, fmt.Errorf("%s: GetContext: %w", c.spec, context.Cause(ctx))
	}
	g := getting{op: "GetContext", waits: true}
	if err = c.depot.errLimit; c.waiters.n.Load() == 0 { // otherwise those who wait come first
		x, isFresh, err = c.getFor(&g)
	}
	if c.isAtBound(err) {
		x, isFresh, err = c.wait(ctx, &g)
	}
	if err != nil && g.isCounted {
		c.failedGets.Add(1)
	}
	return x, isFresh, err
}

// isAtBound reports whether err says that a Get has found the pool at its own bound.
func (c *core) isAtBound(err error) bool { return err != nil && errors.Is(err, c.depot.errLimit) }

// wait is the part of getContext that is in the queue.
func (c *core) wait(ctx context.Context, g *getting) (x unsafe.Pointer, isFresh bool, err error) {
	w := &waiter{given: make(chan unsafe.Pointer, 1), bubble: bubbleID()}
	c.waiters.waits.Add(1)
	c.join(w, (*list.List).PushBack)
	defer c.stopWaiting(w, g.op) // also if a WithInit function panics
	for n := 0; ; n++ {
		yieldPoint()
		if x, isFresh, err = c.getFor(g); !c.isAtBound(err) {
			return x, isFresh, err
		}
		if !c.isExhausted() && len(w.given) == 0 && ctx.Err() == nil {
			pause(n) // a slot has been on its way for long
			continue
		}
		w.told = false
		given, err := w.wait(ctx)
		switch {
		case given != nil:
			return given, false, c.accept(g, given)
		case err == nil:
			w.told = true
			c.join(w, (*list.List).PushFront)
			n = 0
		case c.waiters.hasPassed(w):
			if x, isFresh, err = c.getFor(g); !c.isAtBound(err) {
				return x, isFresh, err
			}
			return nil, false, fmt.Errorf("%s: GetContext: %w while it waited; slots were put outside of the bubble of testing/synctest, and no wait inside ends by that: use TryGet there: %w", c.spec, context.Cause(ctx), c.depot.errLimit)
		default:
			return nil, false, fmt.Errorf("%s: GetContext: %w while it waited: %w", c.spec, context.Cause(ctx), c.depot.errLimit)
		}
	}
}

// wait waits for what w is given. It returns an error if ctx has ended.
func (w *waiter) wait(ctx context.Context) (given unsafe.Pointer, err error) {
	for n := 0; stepping && len(w.given) == 0; n++ { // the scheduler of TestSteps has to go on
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
			pause(n)
		}
	}
	select {
	case given = <-w.given:
		return given, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// accept makes a slot taken that its Put has handed over: the Get has ended.
func (c *core) accept(g *getting, x unsafe.Pointer) error {
	s, err := c.enter(g.op)
	if err != nil {
		return err // a pool on the Go heap was closed, and has no slots
	}
	if !g.isSampled && !watchAll {
		s.mark(x, taken)
		c.leave(s)
		return nil
	}
	s.mark(x, watched)
	c.leave(s)
	c.got(g.op, x, g.isSampled)
	return nil
}

// join enters w in the queue, by PushBack, or by PushFront if it has been the first before.
func (c *core) join(w *waiter, push func(*list.List, any) *list.Element) {
	q := &c.waiters
	q.mu.Lock()
	defer q.mu.Unlock()
	w.place = push(&q.queue, w)
	if q.n.Add(1) != 1 {
		return
	}
	yieldPoint()
	for _, s := range c.shards.Load().present() {
		s.raise(signalWaiting)
	}
}

// takeWaiter takes w out of the queue. After the last one it lowers the signal. waiters.mu is held.
func (c *core) takeWaiter(w *waiter) {
	q := &c.waiters
	q.queue.Remove(w.place)
	w.place = nil
	if q.n.Add(-1) == 0 {
		for _, s := range c.shards.Load().present() {
			s.lower(signalWaiting)
		}
	}
}

// hand gives a slot, or nil, to the waiter that has waited longest, and reports whether there was one.
// The channel publishes what the caller has done with the slot. If n is 0 here, nobody waits who could
// have missed the slot: a waiter that joins later looks for a free slot itself, and the caller makes x
// free next, or looks at the signal once more (shard.freed). The caller has no shard.
func (c *core) hand(x unsafe.Pointer) bool {
	q := &c.waiters
	if q.n.Load() == 0 {
		return false
	}
	bubble := bubbleID()
	q.mu.Lock()
	defer q.mu.Unlock()
	for at := q.queue.Front(); at != nil; at = at.Next() {
		w := at.Value.(*waiter)
		if w.bubble != 0 && (w.bubble != bubble || bubble == unknownBubble) {
			w.passed = true
			continue
		}
		c.takeWaiter(w)
		w.given <- x
		return true
	}
	return false
}

// hasPassed reports whether w has missed a slot.
func (q *waiters) hasPassed(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return w.passed
}

// stopWaiting ends the wait of w, for op. What it was given and has not taken goes to the next one. If
// it was told to look again, it tells the next one: more slots may have become free than one.
func (c *core) stopWaiting(w *waiter, op string) {
	q := &c.waiters
	q.mu.Lock()
	if w.place != nil {
		c.takeWaiter(w)
	}
	q.mu.Unlock()
	select {
	case x := <-w.given:
		if x == nil {
			w.told = true
		} else if err := c.putAwaited(op, x); err != nil && !errors.Is(err, ErrClosed) {
			panic(err)
		}
	default:
	}
	if w.told {
		c.hand(nil)
	}
}

// endWaits has all who wait look again: the pool is closed.
func (c *core) endWaits() {
	for c.hand(nil) {
	}
}

// isAwaited reports whether s may hand over a slot of pg that is about to be put. It may not if the
// page is weak and has Refs, because one that ends now has to claim the page (shard.strengthen).
func (s *shard) isAwaited(pg *page) bool {
	return s.signals()&signalWaiting != 0 && (pg.heap == nil || pg.first() != nil || pg.firstUnit() == nil)
}

// putAwaited is the Put of a slot that somebody seemed to wait for, and whose word says leaving.
func (c *core) putAwaited(op string, x unsafe.Pointer) error {
	yieldPoint()
	if c.hand(x) {
		return nil
	}
	s, err := c.enter(op)
	if err != nil {
		return err
	}
	how := s.makeFree(x)
	c.leave(s)
	return c.finishPut(op, x, how)
}

// freed notes that a slot has become free on s, and not by a Put on its fast path.
func (s *shard) freed() {
	if s.signals()&(signalWaiting|signalClosing) != 0 {
		s.outbox.freed++
	}
}

// slotsFreed is told of slots that have become free, or that are gone, if somebody may wait for them.
// One waiter looks again, and tells the next one if it finds one. The caller has no shard.
func (c *core) slotsFreed(n int) {
	c.hand(nil)
	c.countDown(n)
}

// bubbleID returns which bubble of testing/synctest the caller is in; 0: none. The only place where Go
// tells that is the first line of a stack, as in "goroutine 7 [running, synctest bubble 6]:".
func bubbleID() uint64 {
	if !inBubble() {
		return 0
	}
	line := make([]byte, 128)
	line = line[:runtime.Stack(line, false)]
	_, line, _ = bytes.Cut(line, []byte("synctest bubble "))
	end := bytes.IndexFunc(line, func(r rune) bool { return r < '0' || r > '9' })
	id, err := strconv.ParseUint(string(line[:max(end, 0)]), 10, 64)
	if err != nil {
		return unknownBubble
	}
	return id
}

// unknownBubble is in place of the id if a Go release writes something else there. No bubble is taken
// for the same as it.
const unknownBubble = 1<<64 - 1
