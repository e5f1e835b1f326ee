package pool

import (
	"errors"
	"sync/atomic"
	"time"
)

// What a Get does when its pool gets no more memory: it searches for a free slot on all shards. A
// search stops them all, which holds up everybody who uses the pool, and its barrier holds up all
// processors of the program. So searches are rare:
//
//   - Gets that come during a search share one that begins later (core.search).
//   - As long as no slot has become free since a search that found none, Gets fail without another
//     one (core.isExhausted).
//   - If some have become free, and the last search found none, the next one waits for a while
//     (searches.rest). It then finds all that was put meanwhile, or fails for all that wait.

// searches is what Gets that search share.
type searches struct {
	mu    mutex         // held during a search; nobody wants it who has a shard or another lock
	begun atomic.Uint64 // searches that began

	// Under mu, of the last search that ended.
	failed bool          // it found no free slot
	ended  time.Time     // when it ended, if rest is not 0
	rest   time.Duration // for how long no other one begins then
}

// A search that finds nothing is followed by a rest of restTimes its own time, but restMost at most:
// so searches in vain take a small share of others' time, whatever a barrier costs.
const (
	restTimes = 20
	restMost  = time.Millisecond
)

// run runs search when the last one has been over for long enough. mu is held.
func (q *searches) run(search func() (found bool)) {
	// A bubble has a clock of its own, and a walk of TestSteps none.
	timed := !stepping && !inBubble()
	for n := 0; timed && q.rest != 0 && time.Since(q.ended) < q.rest; n++ {
		pause(n)
	}
	q.begun.Add(1)
	q.failed, q.rest = false, 0
	begun := time.Now()
	if q.failed = !search(); q.failed && timed {
		q.ended = time.Now()
		q.rest = min(restTimes*q.ended.Sub(begun), restMost)
	}
}

// search finds a page with a free slot that any P has, for a pool that gets no more memory; failed
// says why. The page is in transit, and the caller's. The caller has no shard.
//
// Who comes while another Get searches waits, and needs a search that began after its own call: an
// earlier one may have passed over a slot that was put before the call. If one has found nothing
// meanwhile, the call fails too. Otherwise it takes a page that is spare now, or else searches
// itself, with the lock: it does not wait for a second search of others.
func (c *core) search(failed error) (pg *page, err error) {
	if c.isExhausted() {
		return nil, failed
	}
	q := &c.searches
	before := q.begun.Load()
	yieldPoint()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.begun.Load() != before {
		if q.failed {
			return nil, failed
		}
		if pg := c.depot.adopt(); pg != nil {
			return pg, nil
		}
	}
	q.run(func() (found bool) {
		pg, err = c.searchAlone(failed)
		return pg != nil || errors.Is(err, ErrClosed)
	})
	return pg, err
}

// searchAlone is search for one Get at a time. It waits for what is in transit. So it fails only if
// no slot is free, or if one has been on its way for some 20 ms.
func (c *core) searchAlone(failed error) (*page, error) {
	for rounds := range 1000 {
		c.endQuarantine("Get")
		before := c.depot.lookAround()
		if pg := c.takeAnyFree(); pg != nil {
			return pg, nil
		}
		// The search may have released empty pages.
		pg, err := c.fresh()
		if err == nil || errors.Is(err, ErrClosed) {
			return pg, err
		}
		if !c.isAtBound(err) {
			failed = err // there is room, and no memory
		}
		yieldPoint() // who had room, and got no memory, is no longer on its way
		// The look at the quarantine comes first: a slot that was there during the search, and has
		// left it since, has changed transit.
		if c.watches.quarantined() == 0 && c.depot.transit.quietSince(before.transit) {
			c.depot.exhausted.Store(&before)
			break
		}
		pause(rounds)
	}
	return nil, failed
}

// takeAnyFree takes every free slot of the pool away from where it is, and returns a page that has
// one, in transit. If there is none, it returns nil and leaves signalExhausted on all shards, which
// have neither pages nor slots then.
func (c *core) takeAnyFree() (pg *page) {
	c.guards.releaseIdle()
	c.stopped(func(shards []*shard) {
		for _, s := range shards {
			s.flush(0)
		}
		for _, s := range shards {
			s.giveUpAll()
		}
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		if c.depot.closed.Load() {
			return
		}
		for _, s := range shards {
			c.depot.receiveLocked(s.outbox.spare)
			s.outbox.spare = nil
		}
		if pg = c.depot.adoptLocked(); pg != nil { // before others can
			return
		}
		for _, s := range shards {
			s.raise(signalExhausted)
		}
	})
	return pg
}

// A surroundings is what tells whether a slot may have become free, at one moment.
type surroundings struct{ refills, transit uint64 }

// lookAround returns the present surroundings.
func (d *depot) lookAround() surroundings {
	return surroundings{d.refills.Load(), d.transit.word.Load()}
}

// isExhausted reports whether no slot of the pool is free, as it was at the end of the last search
// that failed. It may report false although none is. Any goroutine.
//
// That search found all lots empty, no page with a shard and none spare, no guard idle, nothing in
// transit and nothing in quarantine. From then on, a slot becomes free only where one of these is
// counted, before the call that makes it free returns:
//
//   - A shard has slots only after a Put (shard.put) or with a page (shard.attach). The search has
//     raised signalExhausted while it had the shard, so the first of these comes by the slow path
//     and counts in refills (shard.refilled). The fast paths of Put and Get leave to it for any
//     signal that they do not know. As long as that Put or Get has the shard, no search can raise
//     the signal again. And a new shard begins with the signal (core.grow).
//   - A page that is made is in transit until a shard attaches it.
//   - A guard that is put counts in refills (guards.rest).
//   - A slot in quarantine counts there, and when it leaves, it is put on a shard. That is why the
//     look at the quarantine comes first.
//
// Room for another page is not among them: whoever searches has just tried to make one.
func (c *core) isExhausted() bool {
	then := c.depot.exhausted.Load()
	if then == nil || c.watches.quarantined() != 0 {
		return false
	}
	yieldPoint()
	if c.depot.refills.Load() != then.refills {
		return false
	}
	yieldPoint()
	return c.depot.transit.quietSince(then.transit)
}

// refilled notes that s is about to have a slot, the first one since a search found none: Gets have
// to search again.
func (s *shard) refilled() {
	if s.signals()&signalExhausted != 0 {
		s.lower(signalExhausted)
		yieldPoint()
		s.depot.refills.Add(1)
	}
}
