package pool

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// How a pool ends, at once or when its last slot is put; and how it starts over.
//
// CloseWhenEmpty counts the slots that are out while all shards are stopped, and raises signalClosing
// on them. From then on, no Get begins (enterToGet), and each Put takes the slow path and counts down
// (shard.freed), and so does all else that ends the use of a slot. Nobody counts before that. A shard
// that is made later has the signal from the start (core.firstShard), and what is in quarantine by
// then is put afterwards. Whoever comes to 0 closes the pool. The count may be too low, because a Get
// that was under way may have got a slot since. It is never too high, or nobody would come to 0. So
// Close looks for itself, and if slots are out, counts them again.

// closing is what CloseWhenEmpty has begun.
type closing struct {
	begun atomic.Bool  // changes under core.stopMu; never goes back
	left  atomic.Int64 // slots that are out
}

// close ends the pool, if no slot is out. A pool on the Go heap is closed whatever is out.
func (c *core) close() error {
	c.requireNew()
	return c.end("Close", c.goHeap)
}

// end ends the pool for op, if no slot is out, or in any case.
func (c *core) end(op string, inAnyCase bool) error {
	c.endQuarantine(op)
	err := c.errClosed(op)
	c.stopped(func(shards []*shard) {
		if c.depot.closed.Load() {
			return
		}
		for _, s := range shards {
			s.flush(0)
		}
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		if inAnyCase {
			c.depot.lostSlots += uint64(max(c.live(shards), 0))
			err = nil
		} else if err = c.checkUnused(shards); err != nil {
			return
		}
		c.finish(shards)
	})
	if err == nil {
		c.endWaits()
	}
	return err
}

// checkUnused reports whether a slot is out. depot.mu is held, and no slot is parked.
func (c *core) checkUnused(shards []*shard) error {
	if out := c.out(shards); out != 0 {
		c.closing.left.Store(int64(out))
		return fmt.Errorf("%s: Close: %w: %d of its slots have not been Put%s", c.spec, ErrInUse, out, c.watches.someLeaks())
	}
	return nil
}

// out returns how many slots are out. depot.mu is held, and no slot is parked.
func (c *core) out(shards []*shard) int {
	live := c.live(shards)
	if live == 0 && c.depot.allClean() {
		return 0
	}
	return max(live, 1) // a slot that is not counted, after a misuse that went unnoticed
}

// countOut returns how many slots are out, for op.
func (c *core) countOut(op string) (out int) {
	c.endQuarantine(op)
	c.stopped(func(shards []*shard) {
		for _, s := range shards {
			s.flush(0)
		}
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		out = c.out(shards)
	})
	return out
}

// finish releases everything. depot.mu is held, and the shards are seized.
func (c *core) finish(shards []*shard) {
	c.alarm.ended.Store(true)
	c.absent.raise(signalClosed)
	for _, s := range shards {
		s.raise(signalClosed)
		s.startOver()
	}
	c.depot.close()
	c.guards.releaseIdleLocked()
	c.spec.pool = nil // what is left of its pages and Refs keeps the spec
	unregister(c.id)
}

// closeWhenEmpty closes the pool, now or when its last slot is put.
func (c *core) closeWhenEmpty() error {
	c.requireNew()
	c.endQuarantine("CloseWhenEmpty")
	err := c.errClosed("CloseWhenEmpty")
	c.stopped(func(shards []*shard) {
		if c.depot.closed.Load() || c.closing.begun.Load() {
			return
		}
		err = nil
		for _, s := range shards {
			s.flush(0)
			s.raise(signalClosing)
		}
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		c.closing.left.Store(int64(c.out(shards)))
		c.closing.begun.Store(true)
	})
	if err == nil {
		c.endWaits()
		c.endQuarantine("CloseWhenEmpty") // Puts may have come there that have not seen begun
		c.countDown(0)
	}
	return err
}

// countDown counts slots that are not in use any more, if CloseWhenEmpty waits for that. Whoever comes
// to 0 closes the pool. The caller has no shard.
func (c *core) countDown(slots int) {
	if !c.closing.begun.Load() || c.closing.left.Add(-int64(slots)) > 0 {
		return
	}
	if err := c.end("Put", false); err != nil && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrClosed) {
		panic(err)
	}
}

// clearAll takes back all slots, for Clear. All pages go back to the arena, or to the Go heap.
func (c *core) clearAll() error {
	c.requireNew()
	c.endQuarantine("Clear")
	for n := range 1000 {
		inUse, cleared, err := 0, false, error(nil)
		if c.waiters.n.Load() != 0 || c.isBusy() {
			return c.errBusy()
		}
		c.stopped(func(shards []*shard) {
			c.depot.mu.Lock()
			defer c.depot.mu.Unlock()
			switch {
			case c.depot.closed.Load():
				err = c.errClosed("Clear")
			case uint32(c.depot.transit.word.Load()) == 0 && c.depot.making == 0:
				inUse, cleared = max(c.live(shards), 0), true
				c.startOver(shards)
			}
		})
		if cleared {
			c.slotsFreed(inUse)
		}
		if cleared || err != nil {
			return err
		}
		pause(n) // a tick may have a page under way
	}
	return c.errBusy()
}

// errBusy is what Clear panics with if it sees another call.
func (c *core) errBusy() error {
	return fmt.Errorf("%s: Clear: %w by another call that is under way; call Clear when nobody else uses the pool", c.spec, ErrInUse)
}

// isBusy reports whether it sees somebody use a shard.
func (c *core) isBusy() bool {
	c.stopMu.Lock() // so that nobody has seized them
	defer c.stopMu.Unlock()
	for _, s := range c.shards.Load().present() {
		if s.isOwned() {
			return true
		}
	}
	return false
}

// startOver leaves the pool as it was when New made it, except for what is counted. depot.mu is held,
// the shards are seized, and nothing is in transit.
func (c *core) startOver(shards []*shard) {
	for _, s := range shards {
		s.startOver()
	}
	c.watches.forgetSamples()
	c.depot.releases += uint64(len(c.depot.pages))
	c.depot.dropAll()
	c.guards.releaseAll()
}

// startOver leaves s without pages and slots. What it refers to on the Go heap goes with them.
func (s *shard) startOver() {
	s.lot.truncate(0)
	s.cur = noPage
	s.queue = pageQueue{}
	s.retired = pageQueue{}
	clear(s.strong)
	s.strong = s.strong[:0]
}
