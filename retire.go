package pool

import (
	"sync/atomic"

	"github.com/warmpage/pool/internal/hook"
)

// Retirement: when an empty page is kept, promoted and released. This file is policy only. Nothing
// here calls the system, and time comes in as ticks.
//
// An empty page is worth keeping as long as its pool is likely to want it back, and no longer. It
// is kept for a window of ticks:
//
//   - The only page of its shard is kept for windowSole if its slots are small (up to 8 KiB), as in
//     mimalloc (MI_RETIRE_CYCLES).
//   - Any other page is kept for windowSeveral.
//
// mimalloc releases one of several at once. A pool that fills and empties a few pages in turn
// would then release and map them in each round. (With slots of 64 KiB, seven Gets of eight were
// slow, and took three times sync.Pool's time.)
//
// Keeping a page promotes it (page.reset): the next Get from it stays on the fast path. A kept page
// is promoted again at each tick that finds it empty but not in order. That is how a page is
// promoted that others have emptied.
//
// A shard keeps as many pages as it has lately had in use at a time (demand), and leastBudget at
// least. A page counts for the shard that took it into use until it is empty, wherever that is.
// Pages that a shard empties but does not use, because it only takes back what others hand out, are
// useless to it. Beyond the budget, the page retired first becomes spare, as does all
// that an idle shard has kept. Other shards find it in the depot before they take a fresh page,
// for another windowSeveral. (While such pages were kept where they became empty, a producer of 1
// KiB objects took a fresh page for each one that its consumer had retired, and an object took ten
// times as long.)
const (
	windowSole    = 16 // ticks
	windowSeveral = 8

	leastKept = 1 << 20 // bytes; 16 small pages
)

// leastBudget returns how many empty pages a shard may keep that has taken none into use.
func (sp *spec) leastBudget() int { return int(max(leastKept/sp.geo.pageSize, 1)) }

// budget returns how many empty pages s may keep.
func (s *shard) budget() int {
	return max(s.spec.leastBudget(), s.demand.most[0], s.demand.most[1])
}

// A demand tells how many empty pages a shard has taken into use at a time. It refers to nothing, so
// that a page of the Go heap, which refers to it, does not keep the pool.
type demand struct {
	taken int    // those that did not become empty since; fades from tick to tick
	most  [2]int // the most of them: in a period of windowSeveral ticks, and in the one before

	// returned are those that have become empty on other shards, and still count in taken. Any shard
	// adds to it; the shard whose demand it is takes it away (take).
	returned atomic.Int64
}

// take notes that the empty page pg is taken into use.
func (d *demand) take(pg *page) {
	pg.taker = d
	d.taken = max(d.taken-int(d.returned.Swap(0)), 0) + 1
	d.most[0] = max(d.most[0], d.taken)
}

// giveBack notes that pg has become empty, for the shard that has taken it into use.
func (d *demand) giveBack(pg *page) {
	switch pg.taker {
	case nil:
	case d:
		d.taken = max(d.taken-1, 0)
	default:
		pg.taker.returned.Add(1)
	}
	pg.taker = nil
}

// tick notes that time has passed. What was taken fades, because some pages never come back: those
// that the collector takes, and those that the pool drops.
func (d *demand) tick(now uint32) {
	d.taken -= (d.taken + windowSeveral - 1) / windowSeveral
	if now%windowSeveral == 0 {
		d.most = [2]int{d.taken, d.most[0]}
	}
}

// window returns for how many ticks an empty page is kept; 0: not at all. only says that it is the
// only page of its shard.
func (sp *spec) window(only bool) uint8 {
	switch {
	case only && sp.geo.small:
		return windowSole
	case !only && sp.promotion == hook.None:
		return 0
	}
	return windowSeveral
}

// emptied decides what becomes of a page of s that has no slot in use.
func (s *shard) emptied(pg *page) {
	// Slots from bump on were not handed out since the page was in order.
	if pg.used = pg.counted(pg.bump); pg.used != 0 {
		// The count was wrong. Two Puts of one slot have raced, and the page has lost that slot.
		if pg != s.cur && pg.list == onNone {
			s.queue.pushBack(pg, onQueue)
		}
		return
	}
	if !pg.retired {
		s.demand.giveBack(pg)
	}
	window := s.spec.window(s.isOnlyPage(pg))
	if window == 0 {
		s.detach(pg)
		s.expire(pg)
		return
	}
	pg.expires = s.now + uint32(window)
	if !pg.retired {
		pg.retired = true
		s.counts.retirements++
		s.outbox.arm = true
	}
	if pg != s.cur {
		s.detach(pg)
		s.retired.pushFront(pg, onRetired)
	}
	s.promote(pg)
	if oldest := s.retired.tail; s.retired.len > s.budget() {
		s.retired.remove(oldest)
		s.giveUp(oldest)
	}
}

// promote makes the next Get pop the free slots of an empty page. The two other ways are there for
// comparison (docs/performance.md).
func (s *shard) promote(pg *page) {
	how := s.spec.promotion
	if pg.unmade.Load() && how == hook.Reset {
		how = hook.Move // the marks of unmade slots are on the lists
	}
	switch how {
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
		s.demand.take(pg)
	}
}

// revive takes the page that was retired last. Its slots are the most likely ones to be in a cache
// still.
func (s *shard) revive() *page {
	pg := s.retired.head
	s.retired.remove(pg)
	s.leaveRetirement(pg)
	return pg
}

// expire ends the time of an empty page with s, which has detached it. The page is released, unless
// the pool keeps some pages for good: those are spare pages, so that they can be counted, and so
// that all shards find them.
func (s *shard) expire(pg *page) {
	if s.spec.warmPages > 0 {
		s.giveUp(pg)
	} else {
		s.discard(pg)
	}
}

// discard leaves an empty page, which s has detached, to be released.
func (s *shard) discard(pg *page) {
	pg.retired = false
	s.counts.releases++
	s.depot.transit.enter()
	pg.next = s.outbox.empty
	s.outbox.empty = pg
}

// giveUp leaves a page with free slots, which s has detached, to the depot. The page stays owned
// until the depot has it, but by no shard: slots that are put meanwhile go to remoteFree.
func (s *shard) giveUp(pg *page) {
	pg.setOwner(inTransit)
	s.depot.transit.enter()
	pg.next = s.outbox.spare
	s.outbox.spare = pg
	s.outbox.arm = true
}

// Limits to what one tick does while its P is held up, a few tens of microseconds.
const (
	tickPages    = 256 // pages of the queue that are looked at
	releasePages = 512 // pages that are released
	queuePages   = 64  // pages of the queue that a shard in use keeps to itself
)

// tick is what a shard does once in a tick of the clock: parked slots go home, slots put by others
// are collected, and retired pages come nearer to their release. An idle shard, whose P does not
// call, gives up all its pages with free slots, so that others can adopt them.
func (s *shard) tick(idle bool) {
	s.now++
	s.lot.armed = false
	s.demand.tick(s.now)
	s.flush(0)
	s.weakenAgain()
	s.collectQueue(idle)
	s.tickCurrent(idle)
	for n := 0; s.retired.tail != nil && (idle || n < releasePages); n++ {
		pg := s.retired.tail
		if !s.isExpired(pg) {
			break
		}
		s.retired.remove(pg)
		s.expire(pg)
	}
	for idle && s.retired.tail != nil {
		pg := s.retired.tail
		s.retired.remove(pg)
		s.giveUp(pg)
	}
	if s.retired.len > 0 || s.cur.retired {
		s.outbox.arm = true
	}
}

// isExpired reports whether pg, which is retired, has been kept for its window. The difference is
// right across the wrap of now.
func (s *shard) isExpired(pg *page) bool { return int32(pg.expires-s.now) <= 0 }

// collectQueue takes home what others have put to pages of the queue, and gives up the pages that
// are too many. The pages it has looked at go to the back, so that the next tick looks at others.
func (s *shard) collectQueue(idle bool) {
	n := s.queue.len
	if !idle {
		n = min(n, tickPages)
	}
	for ; n > 0; n-- {
		pg := s.queue.head
		if pg.collect() > 0 && pg.used == 0 {
			s.emptied(pg)
			continue
		}
		s.queue.remove(pg)
		if idle || s.queue.len >= queuePages {
			s.giveUp(pg)
		} else {
			s.queue.pushBack(pg, onQueue)
		}
	}
}

// tickCurrent is the part of tick for the current page.
func (s *shard) tickCurrent(idle bool) {
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
				s.giveUp(pg)
			}
		}
	case !pg.retired:
		s.emptied(pg)
	case collected != 0:
		s.emptied(pg) // again: the window starts anew
	case s.isExpired(pg):
		s.cur = noPage
		s.expire(pg)
	}
}

// giveUpAll gives up every page that has a free slot.
func (s *shard) giveUpAll() {
	if pg := s.cur; pg != noPage {
		s.cur = noPage
		if pg.collect(); pg.used > 0 {
			s.leaveRetirement(pg)
		}
		if !pg.full() || !pg.disown() {
			s.giveUp(pg)
		}
	}
	for _, q := range []*pageQueue{&s.queue, &s.retired} {
		for q.head != nil {
			pg := q.head
			q.remove(pg)
			pg.collect()
			s.giveUp(pg)
		}
	}
}

// discardEmpty collects what others have put, and gives every empty page to release, warm or not:
// s.discard, or s.expire if the pool is to keep those of WithWarmPages.
func (s *shard) discardEmpty(release func(*page)) {
	for pg := s.queue.head; pg != nil; {
		next := pg.next
		if pg.collect() > 0 && pg.used == 0 {
			s.queue.remove(pg)
			release(pg)
		}
		pg = next
	}
	for s.retired.head != nil {
		pg := s.retired.head
		s.retired.remove(pg)
		release(pg)
	}
	if pg := s.cur; pg != noPage {
		pg.collect()
		if pg.used == 0 {
			s.cur = noPage
			release(pg)
		}
	}
}
