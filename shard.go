package pool

import (
	"sync/atomic"
	"unsafe"
)

// A shard is one P's side of a pool: the pages that it owns and the slots of
// other pages that were put on it. Its methods run with the shard to themselves:
// between pin and unpin, or between seize and yield. They never block, call the
// system, allocate or panic; what needs that is left in chores, for the caller
// to do after unpin.
//
// A page that a shard owns is its current page, in queue (it has a free slot),
// or in retired (all its slots are free). A page without a free slot belongs to
// nobody: find gives it up, and the first shard that sends a slot of it home
// claims it (mimalloc 3 does the same, under the name of abandoned pages).
//
// A slot put on a shard that does not own its page waits in the parking lot, to
// be handed out again before any other, because goroutines migrate and because
// a slot that has just been used here is in this core's cache. A full parking
// lot sends its older half home, one compare-and-swap a page. A shard's own slot
// is parked too if the lot is empty: for a program that puts one object and gets
// one, in turns, this is all that happens.
//
// What is parked has its word in links changed from taken to parking, so that
// another Put of it is found out on whichever P it happens. That word shares a
// cache line with those of 31 neighbours, which other Ps write; with
// WithLocalChecks the first few slots in the lot keep theirs.
type shard struct {
	shardState
	_ [128]byte // no line, nor pair of lines, is shared with what lies behind it
}

// A shardTable has the shard of each P by the P's id, and absent for a P that has
// none yet. Immutable.
type shardTable struct {
	shards []*shard
	absent *shard // core.absent
}

type shardState struct {
	// busy is 1 while an operation runs. The operation writes it with a plain
	// store, seize reads it: see pin.go.
	//lint:ignore U1000 shards under locks do not need it
	busy uint32
	// signal tells the next operation to leave the fast path. Any P, atomic.
	signal atomic.Uint32

	core   *core  // set once
	id     uint32 // place in core.shards + 1; set once
	lotCap uint32 // slots that may be parked; set once

	parked    uint32 // slots in lot
	unmarked  uint32 // places of lot whose slots keep their words; set once
	parkArmed bool   // a slot was parked since the last tick, and the timer armed for it
	sampleIn  uint32 // Gets from here to the one that is sampled; any P reads: see sample.go
	cur       *page  // what Get pops; noPage if none
	last      *page  // what a slot was last put to; a hint, which may have another owner by now
	queue     pageQueue
	retired   pageQueue // most recently retired first
	interval  uint32    // what sampleIn began with; atomic, read by any P
	guardIn   uint32    // slow Gets to the one that is guarded
	tick      uint32    // heartbeats; wraps
	budget    int       // pages that may be in retired
	turns     int       // pages taken into use since the last tick
	chores    chores
	counts    counts

	renewals    atomic.Uint32 // odd while interval, sampleIn and countedGets change: see sample.go
	countedGets atomic.Uint64 // but for those of the interval
	//lint:ignore U1000 for the debug build
	checks int // operations since the last check of all pages

	mu    mutex // held by who has seized the shard (portable build: by who uses it)
	quiet bool  // idle, and left with nothing to expire; under heart.mu

	lot [lotSize]parkedSlot // oldest first
}

// A parkedSlot is a slot in a parking lot, with its word in its page's links, so
// that to hand it out takes no look at the page; or with nil if it is unmarked:
// its word says taken.
type parkedSlot struct {
	slot unsafe.Pointer
	word *uint16
}

const (
	// lotSize is one more than a shard parks at most, for repark: enough to make the
	// compare-and-swap that sends half of them home a small share of each, and
	// for two batches of 64 (with 64, batches of 1 KiB slots that cross between
	// Ps took twice as long).
	lotSize = 128
	// lotBytes limits the memory so kept from other shards, for large slots.
	lotBytes = 128 << 10
	// unmarkedMax is how many slots may be parked unmarked: a Put of a foreign
	// slot compares it with each of them. Programs that gain by it put one
	// object before they get the next, or a few.
	unmarkedMax = 4
)

// Bits of shard.signal.
const (
	signalTick   = 1 << iota // a heartbeat is due
	signalSeized             // another goroutine has the shard
	signalAbsent             // this is core.absent: the P has no shard yet
	signalClosed             // the pool is closed
	signalFence              // busy needs a barrier: see pin.go
	signalForget             // a page is gone: see forget
)

// chores is what an operation leaves to be done after unpin.
type chores struct {
	release *page // empty pages for the arena, linked by next
	abandon *page // pages with free slots for core.partial, linked by next
	arm     bool  // something waits for time to pass
}

func (ch *chores) any() bool { return ch.release != nil || ch.abandon != nil || ch.arm }

// counts are what Stats adds up over the shards. Owner only, and only in slow
// paths.
type counts struct {
	slowGets, promotions, retirements, revivals, releases, remotePuts uint64
}

func newShard(c *core, id int) *shard {
	s := new(shard)
	for inSlot0(address(s)) || inSlot0(address(&s.cur)) || inSlot0(address(&s.lot)) {
		s = new(shard)
	}
	s.core = c
	s.id = uint32(id) + 1
	s.lotCap = max(min(lotBytes/c.geo.stride, lotSize-1), 2)
	if c.localChecks && !watchAll && c.sampler.mean == 0 { // who watches slots wants to see every Put
		s.unmarked = unmarkedMax
	}
	s.renew(c.sampler.interval())
	s.cur = noPage
	s.last = noPage
	s.budget = budgetMin
	return s
}

// get takes a free slot, or returns nil when the shard has none.
func (s *shard) get() (x unsafe.Pointer, isZero bool) {
	for s.parked != 0 {
		if x = s.unpark(); x != nil {
			return x, false
		}
	}
	if !s.find() {
		return nil, false
	}
	pg := s.cur
	if x = pg.popBump(); x != nil {
		return x, pg.freeIsZero
	}
	return pg.popFree(), false
}

// getMany fills dst as far as the shard has slots, and returns how far; bit k of
// zero says that dst[k] is known to be zero.
func (s *shard) getMany(dst []unsafe.Pointer) (n int, zero uint64) {
	for n < len(dst) && s.parked != 0 {
		if x := s.unpark(); x != nil {
			dst[n] = x
			n++
		}
	}
	for n < len(dst) && s.find() {
		isZero := s.cur.freeIsZero
		fresh := s.cur.popBumps(dst[n:])
		if isZero {
			zero |= (1<<fresh - 1) << n
		}
		n += fresh
		for n < len(dst) {
			x := s.cur.popFree()
			if x == nil {
				break
			}
			dst[n] = x
			n++
		}
	}
	return n, zero
}

// put takes back slot i of pg, and reports false if it is not taken.
func (s *shard) put(pg *page, i uint32) bool {
	if *pg.link(i) != taken || s.isUnmarked(pg.slot(i)) {
		return false
	}
	claimed := false
	if pg.owner.Load() != s.id && !s.hasRoom(pg) {
		if claimed = s.claim(pg); !claimed && s.parked == s.lotCap {
			s.flush(s.lotCap / 2) // which may make the page ours
		}
	}
	// A page just claimed may be full, and has to get its free slot.
	if !claimed && s.parks(pg) {
		return s.park(pg, i)
	}
	if !pg.push(i) {
		return false
	}
	if pg.used <= 1 {
		s.drained(pg)
	}
	return true
}

// hasRoom reports whether the lot has room for a slot of pg, a foreign page. If
// nobody owns that page, only a quarter of the lot is for it: who puts more than a
// few of its slots had better own it (fill and empty 16 pages of 1 KiB slots: 56
// instead of 66 ns a pair).
func (s *shard) hasRoom(pg *page) bool {
	return s.parked < s.lotCap/4 || s.parked < s.lotCap && pg.owner.Load() != noOwner
}

// parks reports whether a slot of pg is to be parked: always that of a page which
// s does not own, and that of its own if none is parked and the page would not
// empty by it. (An empty page has its slots put in order, and is kept or
// released as such; but one of which only this slot was used is in order.)
func (s *shard) parks(pg *page) bool {
	if pg.owner.Load() != s.id {
		return true
	}
	return s.parked == 0 && (pg.used != 1 || pg.localFree == none)
}

// drained retires a page of s of which at most one slot is in use, if it is none
// or the one that is parked here.
func (s *shard) drained(pg *page) {
	if pg.used != 0 {
		s.unparkTo(pg)
	}
	if pg.used == 0 {
		s.emptied(pg)
	}
}

// park keeps a slot in the parking lot, which has room. It reports false if the
// slot is not taken.
func (s *shard) park(pg *page, i uint32) bool {
	word := pg.link(i)
	foreign := pg.owner.Load() != s.id // a slot of our own is marked: its word is in this core's cache
	switch {
	case foreign && s.isUnmarked(pg.slot(i)):
		return false
	case foreign && s.parked < s.unmarked && pg.mayBeTaken(i):
		word = nil
	case *word == taken:
		*word = parking
	default:
		return false
	}
	s.lot[s.parked%lotSize] = parkedSlot{pg.slot(i), word}
	s.parked++
	if !s.parkArmed {
		s.parkArmed = true
		s.chores.arm = true
	}
	return true
}

// isUnmarked reports whether slot is parked in one of the places whose slots may
// be unmarked.
func (s *shard) isUnmarked(slot unsafe.Pointer) bool {
	for k := range min(s.parked, s.unmarked) {
		if s.lot[k%lotSize].slot == slot {
			return true
		}
	}
	return false
}

// unpark hands out the slot that was parked last, or returns nil if it is not
// parked any more: two Puts of one slot at the same time may have parked it
// twice, or parked it and put it on a list. (Nor can its page be another pool's
// then: core.drop does not release a page with a parked slot.)
func (s *shard) unpark() unsafe.Pointer {
	s.parked--
	p := &s.lot[s.parked%lotSize]
	if p.word != nil {
		if *p.word != parking {
			return nil
		}
		*p.word = taken
	}
	return p.slot
}

// repark parks the slot at addr if it is the one that was handed out last from
// the place where the next slot is to be parked: what Get left there says all
// that park would look up. This is what a program does that puts each object
// before it gets the next. It wants the word: without, an entry that has become
// stale could be believed.
func (s *shard) repark(addr uintptr) bool {
	p := &s.lot[s.parked%lotSize]
	if uintptr(p.slot) != addr || p.word == nil || *p.word != taken {
		return false
	}
	if s.unmarked != 0 && s.parked != 0 {
		return false // it may be parked already, unmarked
	}
	*p.word = parking
	s.parked++
	return true
}

// home returns the page and index of a parked slot, and false if it is not
// parked any more.
func (s *shard) home(p parkedSlot) (*page, uint32, bool) {
	pg := pageOf(uintptr(p.slot))
	i, ok := pg.indexOf(uintptr(p.slot))
	switch {
	case !ok || pg.core != s.core:
		return nil, 0, false
	case p.word == nil:
		return pg, i, *pg.link(i) == taken
	}
	return pg, i, pg.link(i) == p.word && *p.word == parking
}

// flush sends the parked slots home, but for the keep newest, grouped by page.
func (s *shard) flush(keep uint32) {
	if s.parked <= keep {
		s.truncateLot(s.parked)
		return
	}
	var pages [lotSize]*page
	var slots [lotSize]uint32
	n := 0
	for _, p := range s.lot[:s.parked-keep] {
		if pg, i, ok := s.home(p); ok {
			*pg.link(i) = none // so that the same slot is not found again
			pages[n], slots[n] = pg, i
			n++
		}
	}
	copy(s.lot[:], s.lot[s.parked-keep:s.parked])
	s.truncateLot(keep)
	for k, pg := range pages[:n] {
		if pg == nil {
			continue // went with an earlier one
		}
		first, last, count := slots[k], slots[k], uint32(1)
		for j := k + 1; j < n; j++ {
			if pages[j] == pg {
				*pg.link(slots[j]) = uint16(first)
				first = slots[j]
				count++
				pages[j] = nil
			}
		}
		s.sendHome(pg, first, last, count)
	}
}

// sendHome gives a chain of n slots back to their page: to its owner, or to s,
// which claims a page that has none. All of the chain's words are the caller's,
// but for the last, which is written here.
func (s *shard) sendHome(pg *page, first, last, n uint32) {
	for {
		if pg.owner.Load() == s.id {
			pg.splice(first, last)
			pg.used -= n
			if pg.used == 0 {
				s.emptied(pg)
			}
			return
		}
		if pg.pushRemote(first, last, n) {
			s.counts.remotePuts += uint64(n)
			s.chores.arm = true
			return
		}
		s.claim(pg)
	}
}

// claim makes pg a page of s, unless somebody owns it.
func (s *shard) claim(pg *page) bool {
	if !pg.claim() {
		return false
	}
	yieldPoint()
	pg.owner.Store(s.id)
	s.queue.pushBack(pg, onQueue)
	s.unparkTo(pg)
	return true
}

// unparkTo puts back the parked slots of a page of s, so that none of them keeps
// the page from emptying. The caller looks at used.
func (s *shard) unparkTo(pg *page) {
	kept := uint32(0)
	for _, p := range s.lot[:s.parked] {
		switch at, i, ok := s.home(p); {
		case !ok:
		case at == pg:
			pg.splice(i, i)
			pg.used--
		default:
			s.lot[kept] = p
			kept++
		}
	}
	s.truncateLot(kept)
}

// forget drops what lies behind the parked slots: entries of slots that were
// handed out, by which repark goes. When a page of the pool is gone, its words
// may be anything, and its slots another pool's.
func (s *shard) forget() { s.truncateLot(s.parked) }

// truncateLot leaves n slots parked. What lay behind them, there or handed out,
// is forgotten: neither may repark go by it, nor may it keep a page's words.
func (s *shard) truncateLot(n uint32) {
	clear(s.lot[n:])
	s.parked = n
}

// find makes the current page ready, and reports false if that takes a page
// that s does not have. In this order: what is ready; what was put back to the
// current page, here or elsewhere; slots of it that were never carved; another
// page of the queue; a retired page, unless there are pages that other shards
// left partly free.
//
// A Get that finds the current page full and the next one ready turns to that
// one and has not been slow: it did no more than follow a pointer. All others
// that come here, and get a slot, count in slowGets: once, here or in attach, but
// for one that found what others had given up gone, and then has more to do.
func (s *shard) find() bool {
	for {
		pg := s.cur
		if pg.ready() {
			return true
		}
		if pg != noPage {
			// A page that is not full has slots to refill from or to carve; one
			// that is and cannot be disowned has slots on remoteFree.
			if !pg.full() || !s.disown(pg) {
				s.counts.slowGets++
				s.leaveRetirement(pg)
				return pg.refill(s.core.geo.carve)
			}
			s.cur = noPage
		}
		switch {
		case s.queue.head != nil:
			s.cur = s.pick()
			s.turns++
		case s.retired.head != nil && s.core.partials.Load() == 0:
			s.cur = s.revive()
			s.turns++
		default:
			return false
		}
	}
}

// disown gives up the current page, which is full.
func (s *shard) disown(pg *page) bool {
	s.leaveRetirement(pg)
	return pg.disown()
}

// pickAmong is how many pages of the queue pick compares.
const pickAmong = 4

// pick takes from the queue the page with the most slots in use among the first
// few, so that sparse pages have a chance to empty (mimalloc compares candidates
// for the same reason: mi_page_queue_find_free_ex).
func (s *shard) pick() *page {
	best := s.queue.head
	for pg, k := best.next, 1; pg != nil && k < pickAmong; pg, k = pg.next, k+1 {
		if pg.used > best.used {
			best = pg
		}
	}
	s.queue.remove(best)
	return best
}

// attach makes pg, which the caller has claimed or made, the current page.
func (s *shard) attach(pg *page) {
	old := s.cur
	pg.owner.Store(s.id)
	s.core.transit.Add(leaveTransit)
	s.unparkTo(pg)
	s.cur = pg
	s.turns++
	s.leaveRetirement(pg)
	if pg.ready() {
		s.counts.slowGets++ // else it is counted when find makes it so
	}
	s.chores.arm = true // so that it is looked after if this P goes idle
	if old == noPage {
		return
	}
	s.leaveRetirement(old)
	switch {
	case old.used == 0:
		s.emptied(old)
	case !old.full() || !old.disown():
		s.queue.pushBack(old, onQueue)
	}
}

// detach takes pg away from wherever the shard has it. The shard still owns it.
func (s *shard) detach(pg *page) {
	switch {
	case pg == s.cur:
		s.cur = noPage
	case pg.list == onQueue:
		s.queue.remove(pg)
	case pg.list == onRetired:
		s.retired.remove(pg)
	}
}

// sole reports whether pg is the only page of s.
func (s *shard) sole(pg *page) bool {
	others := s.queue.len + s.retired.len
	if pg.list != onNone {
		others--
	}
	return others == 0 && (s.cur == pg || s.cur == noPage)
}

// bare reports whether s has neither pages nor slots.
func (s *shard) bare() bool {
	return s.parked == 0 && s.cur == noPage && s.queue.len == 0 && s.retired.len == 0
}

// takeChores returns what is to be done, to a caller about to unpin.
func (s *shard) takeChores() chores {
	ch := s.chores
	s.chores = chores{}
	return ch
}

// A pageQueue is a list of pages of one shard, linked through them.
type pageQueue struct {
	head, tail *page
	len        int
}

func (q *pageQueue) pushBack(pg *page, list pageList) {
	pg.list, pg.prev, pg.next = list, q.tail, nil
	if q.tail == nil {
		q.head = pg
	} else {
		q.tail.next = pg
	}
	q.tail = pg
	q.len++
}

func (q *pageQueue) pushFront(pg *page, list pageList) {
	pg.list, pg.prev, pg.next = list, nil, q.head
	if q.head == nil {
		q.tail = pg
	} else {
		q.head.prev = pg
	}
	q.head = pg
	q.len++
}

func (q *pageQueue) remove(pg *page) {
	if pg.prev == nil {
		q.head = pg.next
	} else {
		pg.prev.next = pg.next
	}
	if pg.next == nil {
		q.tail = pg.prev
	} else {
		pg.next.prev = pg.prev
	}
	pg.list, pg.prev, pg.next = onNone, nil, nil
	q.len--
}
