package pool

import "github.com/warmpage/pool/internal/hook"

// Retirement: when an empty page is kept, promoted, and released. Policy only;
// nothing here calls the system, and time comes in as ticks.
//
// An empty page is worth keeping as long as its pool is likely to want it back,
// and not longer. It is kept for a window of ticks:
//
//   - the only page of its shard: windowSole, or windowSoleLarge for slots above
//     8 KiB, as mimalloc has it (MI_RETIRE_CYCLES);
//   - one of several: windowSeveral if its slots are small, else not at all.
//     mimalloc releases these at once, which for a pool that fills and empties
//     a few pages in turn means to release and map them in each round.
//
// Keeping a page promotes it (page.reset): the Get that comes back to it stays
// on the fast path. A kept page is promoted again at each tick that finds it
// empty but not in order, which is how a page emptied by others gets there.
//
// A shard keeps as many pages as it has lately taken into use, summed up over
// about windowSeveral ticks, and at least budgetMin: what a shard empties but does not use, because it only
// takes back what others hand out, is of no use to it. Beyond that the page
// retired first goes to core.partial, as does all that an idle shard kept: other
// shards find it there before they take a fresh page, for another windowSeveral. (Kept where it was emptied, a
// producer of 1 KiB objects took a fresh page for each of its consumer's
// retired ones, at 480 ns an object instead of 50.)
const (
	windowSole      = 16 // ticks
	windowSoleLarge = 4
	windowSeveral   = 8

	budgetMin = 16 // pages
)

// window returns for how many ticks an empty page is kept. 0: not at all.
func (c *core) window(sole bool) uint8 {
	switch {
	case sole && c.geo.small:
		return windowSole
	case sole:
		return windowSoleLarge
	case c.geo.small && c.promotion != hook.None:
		return windowSeveral
	}
	return 0
}

// emptied decides what becomes of a page of s that has no slot in use.
func (s *shard) emptied(pg *page) {
	window := s.core.window(s.sole(pg))
	if window == 0 {
		s.detach(pg)
		s.expire(pg)
		return
	}
	pg.expires = s.tick + uint32(window)
	if !pg.retired {
		pg.retired = true
		s.counts.retirements++
		s.chores.arm = true
	}
	if pg != s.cur {
		s.detach(pg)
		s.retired.pushFront(pg, onRetired)
	}
	s.promote(pg)
	if oldest := s.retired.tail; s.retired.len > s.budget {
		s.retired.remove(oldest)
		s.abandon(oldest)
	}
}

// promote makes the free slots of an empty page what the next Get pops. The two
// other ways are there to be compared with (docs/performance.md).
func (s *shard) promote(pg *page) {
	switch s.core.promotion {
	case hook.Reset:
		pg.reset()
	case hook.Move:
		if !pg.ready() {
			pg.useLocal()
		}
	default:
		return
	}
	s.counts.promotions++
}

// leaveRetirement notes that a retired page is used again.
func (s *shard) leaveRetirement(pg *page) {
	if pg.retired {
		pg.retired = false
		s.counts.revivals++
	}
}

// revive takes the page retired last, whose slots are the most likely to be
// still in a cache.
func (s *shard) revive() *page {
	pg := s.retired.head
	s.retired.remove(pg)
	s.leaveRetirement(pg)
	return pg
}

// expire is the end of an empty page's time with s, which has detached it: it is
// released, unless the pool keeps some for good. These are all on core.partial,
// where they can be counted, and where all shards find them.
func (s *shard) expire(pg *page) {
	if s.core.warmPages > 0 {
		s.abandon(pg)
	} else {
		s.release(pg)
	}
}

// release leaves an empty page, which s has detached, for the arena.
func (s *shard) release(pg *page) {
	pg.retired = false
	s.counts.releases++
	s.core.transit.Add(enterTransit)
	pg.next = s.chores.release
	s.chores.release = pg
}

// Limits to what one heartbeat does while pinned, a few tens of microseconds.
const (
	heartbeatPages = 256 // pages of the queue looked at
	releasePages   = 512 // pages released
	queuePages     = 64  // pages of the queue that a shard in use keeps to itself
)

// heartbeat is one tick of s: parked slots go home, slots put by others are
// collected, retired pages come nearer to release. A shard whose P does not
// call, idle, gives up all its pages with free slots, for others to adopt.
func (s *shard) heartbeat(idle bool) {
	s.tick++
	s.parkArmed = false
	s.budget = max(budgetMin, s.turns+s.budget-s.budget/windowSeveral)
	s.turns = 0
	s.last = noPage // it may be gone, and need not be kept from the garbage collector
	s.flush(0)
	s.collectQueue(idle)
	s.beatCurrent(idle)
	for n := 0; s.retired.tail != nil && (idle || n < releasePages); n++ {
		pg := s.retired.tail
		if !s.expired(pg) {
			break
		}
		s.retired.remove(pg)
		s.expire(pg)
	}
	for idle && s.retired.tail != nil {
		pg := s.retired.tail
		s.retired.remove(pg)
		s.abandon(pg)
	}
	if s.retired.len > 0 || s.cur.retired {
		s.chores.arm = true
	}
}

// expired reports whether pg, which is retired, has been kept long enough. The
// difference is right across the wrap of tick.
func (s *shard) expired(pg *page) bool { return int32(pg.expires-s.tick) <= 0 }

// collectQueue takes home what others put to pages of the queue, and gives up
// pages beyond those that s may keep. The pages looked at go to the back, so
// that the next heartbeat looks at others.
func (s *shard) collectQueue(idle bool) {
	n := s.queue.len
	if !idle {
		n = min(n, heartbeatPages)
	}
	for ; n > 0; n-- {
		pg := s.queue.head
		if pg.collect() > 0 && pg.used == 0 {
			s.emptied(pg)
			continue
		}
		s.queue.remove(pg)
		if idle || s.queue.len >= queuePages {
			s.abandon(pg)
		} else {
			s.queue.pushBack(pg, onQueue)
		}
	}
}

// beatCurrent is heartbeat's part for the current page.
func (s *shard) beatCurrent(idle bool) {
	pg := s.cur
	if pg == noPage {
		return
	}
	collected := pg.collect()
	switch {
	case pg.used > 0:
		s.leaveRetirement(pg)
		if idle {
			s.cur = noPage
			if !pg.full() || !pg.disown() {
				s.abandon(pg)
			}
		}
	case !pg.retired:
		s.emptied(pg)
	case collected != 0:
		s.emptied(pg) // again: the window starts anew
	case s.expired(pg):
		s.cur = noPage
		s.expire(pg)
	}
}

// abandon leaves a page with free slots, which s has detached, for core.partial.
// The page stays owned until it is listed there, by no shard: slots put meanwhile
// go to remoteFree.
func (s *shard) abandon(pg *page) {
	pg.owner.Store(inLimbo)
	s.core.transit.Add(enterTransit)
	pg.next = s.chores.abandon
	s.chores.abandon = pg
	s.chores.arm = true
}

// surrender gives up every page that has a free slot.
func (s *shard) surrender() {
	if pg := s.cur; pg != noPage {
		s.cur = noPage
		if pg.collect(); pg.used > 0 {
			s.leaveRetirement(pg)
		}
		if !pg.full() || !pg.disown() {
			s.abandon(pg)
		}
	}
	for _, q := range []*pageQueue{&s.queue, &s.retired} {
		for q.head != nil {
			pg := q.head
			q.remove(pg)
			pg.collect()
			s.abandon(pg)
		}
	}
}

// releaseEmpty collects what others put and releases every empty page, warm or
// not: Trim's part.
func (s *shard) releaseEmpty() {
	for pg := s.queue.head; pg != nil; {
		next := pg.next
		if pg.collect() > 0 && pg.used == 0 {
			s.queue.remove(pg)
			s.release(pg)
		}
		pg = next
	}
	for s.retired.head != nil {
		pg := s.retired.head
		s.retired.remove(pg)
		s.release(pg)
	}
	if pg := s.cur; pg != noPage {
		pg.collect()
		if pg.used == 0 {
			s.cur = noPage
			s.release(pg)
		}
	}
}
