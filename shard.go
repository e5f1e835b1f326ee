package pool

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// A shard is one P's side of a pool: the pages that it owns, and the slots that were put on it. Its
// methods run while the caller has the shard to itself (see own.go). They never block, call the
// system, allocate or panic. What needs that, they leave in the outbox, and core.leave does it.
//
// A page that a shard owns is its current page, or in queue (it has a free slot), or in retired
// (all its slots are free). A page without a free slot belongs to nobody: find gives it up, and the
// first shard that sends a slot of it home claims it. (mimalloc 3 does the same and calls such
// pages abandoned.)
type shard struct {
	shardState
	_ [128]byte // no cache line, nor pair of lines, is shared with what lies behind the shard
}

type shardState struct {
	// busy is 1 while an operation runs. The operation writes it with a plain store, seize reads
	// it: see own_pin.go.
	//lint:ignore U1000 shards under locks do not need it
	busy uint32
	// signal tells the next operation to leave the fast path. Any P, atomic: see signals.
	signal uint32

	id       uint32 // the P's id + 1; set once
	sampleIn uint32 // Gets from here to the one that is sampled; any P reads it: see sample.go
	cur      *page  // Get pops from it; noPage if there is none
	spec     *spec  // set once
	depot    *depot // set once

	interval uint32 // what sampleIn began with; atomic, any P reads it
	guardIn  uint32 // slow Gets to the one that is guarded
	_        [16]byte

	lot parkingLot // begins on a cache line

	queue   pageQueue
	retired pageQueue // most recently retired first
	now     uint32    // ticks of this shard; wraps
	demand  *demand   // for empty pages
	outbox  outbox
	counts  counts
	strong  []strongPage // by strengthen, since the last tick; only on the Go heap

	renewals    atomic.Uint32 // odd while interval, sampleIn and countedGets change: see sample.go
	countedGets atomic.Uint64 // without those of the current interval
	//lint:ignore U1000 for the debug build
	checks int // operations since the last check of all pages

	mu      mutex // held by the goroutine that has seized the shard (under locks: by its user)
	settled bool  // the P is idle, and the shard has nothing that may expire; under core.stopMu
}

// Bits of shard.signal.
const (
	signalTick      = 1 << iota // a tick is due
	signalSeized                // another goroutine has the shard
	signalAbsent                // this is core.absent: the P has no shard yet
	signalClosed                // the pool is closed
	signalForget                // a page is gone: see parkingLot.forget
	signalRefs                  // the pool has Refs: Put has to end those of its slot
	signalClaims                // Put has to claim slots: see contents.go; always or never
	signalExhausted             // the pool had no free slot, and the shard has had none since: see core.isExhausted
	signalWaiting               // somebody waits for a slot: see wait.go
	signalClosing               // CloseWhenEmpty was called: see close.go
)

// signals returns what is signalled. Any P. (signal is no atomic.Uint32 because the fast paths may
// not call its methods: see own_nosplit.go.)
func (s *shard) signals() uint32 { return atomic.LoadUint32(&s.signal) }

// raise signals bits, and returns what was signalled before. Any P.
func (s *shard) raise(bits uint32) uint32 { return atomic.OrUint32(&s.signal, bits) }

// lower takes back bits of what is signalled. Any P.
func (s *shard) lower(bits uint32) { atomic.AndUint32(&s.signal, ^bits) }

// An outbox is what an operation leaves to be done when it has left the shard.
type outbox struct {
	empty *page // pages for the depot to release, linked by next
	spare *page // pages with free slots for other shards to adopt, linked by next
	arm   bool  // something waits for time to pass
	freed int   // slots that somebody may wait for
}

func (o *outbox) isEmpty() bool { return o.empty == nil && o.spare == nil && !o.arm && o.freed == 0 }

// counts are what Stats adds up over the shards. Owner only, and only in slow paths.
type counts struct {
	slowGets, promotions, retirements, revivals, releases, remotePuts uint64
}

func newShard(sp *spec, d *depot, id int) *shard {
	s := new(shard)
	for inSlot0(address(s)) || inSlot0(address(&s.lot)) {
		s = new(shard)
	}
	s.spec = sp
	s.depot = d
	s.id = uint32(id) + 1
	s.demand = new(demand)
	s.lot.init(sp)
	s.renew(sp.sampler.interval())
	s.cur = noPage
	if sp.claims {
		s.raise(signalClaims)
	}
	if sp.goHeap {
		s.strong = make([]strongPage, 0, strongMost)
	}
	return s
}

// get takes a free slot, or returns nil when the shard has none.
func (s *shard) get() (x unsafe.Pointer, isFresh bool) {
	for s.lot.n != 0 {
		if x = s.lot.unpark(); x != nil {
			return x, false
		}
	}
	for s.find() {
		pg := s.cur
		if x = pg.popBump(); x != nil {
			return x, pg.isFresh
		}
		if x, isFresh = pg.popFree(); x != nil {
			return x, isFresh
		}
	}
	return nil, false
}

// getMany fills dst as far as the shard has slots, and returns how far. Bit k of fresh says that
// dst[k] is fresh.
func (s *shard) getMany(dst []unsafe.Pointer) (n int, fresh uint64) {
	for n < len(dst) && s.lot.n != 0 {
		if x := s.lot.unpark(); x != nil {
			dst[n] = x
			n++
		}
	}
	for n < len(dst) && s.find() {
		isFresh := s.cur.isFresh
		got := s.cur.popBumps(dst[n:])
		if isFresh {
			fresh |= (1<<got - 1) << n
		}
		n += got
		for n < len(dst) {
			x, isFresh := s.cur.popFree()
			if x == nil {
				break
			}
			if isFresh {
				fresh |= 1 << n
			}
			dst[n] = x
			n++
		}
	}
	return n, fresh
}

// put takes back slot i of pg, which is at x. It reports false if the slot's word is not as given: taken,
// or leaving for a slot that this Put has to itself.
func (s *shard) put(pg *page, i uint32, x unsafe.Pointer, from uint16) bool {
	if *pg.link(i) != from {
		return false
	}
	s.refilled()
	s.freed()
	// A page that was claimed here may be full. Then it has to get its free slot.
	push := s.strengthen(pg, x)
	if !push && s.lot.isFull() {
		if push = pg.ownerID() == s.id || s.claim(pg, x); !push {
			s.flush(s.lot.room / 2) // this may make the page ours
		}
	}
	if !push {
		if !s.lot.armed {
			s.lot.armed = true
			s.outbox.arm = true
		}
		return s.lot.park(pg, i, x, from)
	}
	if !pg.push(i, from) {
		return false
	}
	if pg.used == 0 {
		s.emptied(pg)
	}
	return true
}

// flush sends all parked slots home but the keep newest.
func (s *shard) flush(keep uint32) {
	if s.lot.n <= keep+8 { // with little room, because all of it is cleared
		var chains [8]chain
		s.sendAllHome(keep, chains[:])
	} else {
		var chains [lotSize]chain
		s.sendAllHome(keep, chains[:])
	}
}

// sendAllHome is flush with room for chains, one for each slot.
func (s *shard) sendAllHome(keep uint32, chains []chain) {
	n := s.lot.takeOldest(keep, chains)
	for _, ch := range chains[:n] {
		s.sendHome(ch)
	}
}

// sendHome gives a chain of slots back to their page: to its owner, or to s, which claims a page
// that has none. The words of the chain are the caller's, and this writes the last one.
func (s *shard) sendHome(ch chain) {
	for pg := ch.pg; ; {
		if pg.ownerID() == s.id {
			pg.splice(ch.first, ch.last)
			pg.cameHome(ch.n)
			if pg.used == 0 {
				s.emptied(pg)
			}
			return
		}
		if pg.pushRemote(ch.first, ch.last, ch.n) {
			s.counts.remotePuts += uint64(ch.n)
			s.outbox.arm = true
			return
		}
		s.claim(pg, ch.x)
	}
}

// claim makes pg a page of s, unless somebody owns it. A slot of it is at x.
func (s *shard) claim(pg *page, x unsafe.Pointer) bool {
	if !pg.claim() {
		return false
	}
	yieldPoint()
	pg.holdBy(x)
	s.take(pg)
	return true
}

// take makes a page that the caller has claimed one of s.
func (s *shard) take(pg *page) {
	s.refilled()
	pg.setOwner(s.id)
	s.queue.pushBack(pg, onQueue)
}

// A strongPage is a page that strengthen has made strong, and a slot of it.
type strongPage struct {
	page *page
	slot unsafe.Pointer
}

// strongMost is how many pages a shard makes strong between two ticks.
const strongMost = 128

// strengthen makes a weak page strong until the next tick, so that the next Puts of its slots are
// fast. A slot of it is at x. If there is no room for that, it claims the page, and reports so: a
// page that stays weak, with a Ref that ends now, would stay for ever if the slot is handed out
// again by somebody who forgets it (refUnit.letGo).
func (s *shard) strengthen(pg *page, x unsafe.Pointer) (claimed bool) {
	if pg.heap == nil || pg.first() != nil {
		return false
	}
	// The current page may be given up and made strong again many times between two ticks.
	isListed := slices.ContainsFunc(s.strong, func(p strongPage) bool { return p.page == pg })
	if len(s.strong) == cap(s.strong) && !isListed {
		return s.claim(pg, x)
	}
	if !pg.claim() {
		return false // whoever has claimed it does the same
	}
	pg.holdBy(x)
	yieldPoint()
	// A page with a free slot was spare. The depot may have noticed that it is claimed.
	if !pg.full() || !pg.disownFull() { // or a slot has come home meanwhile
		s.take(pg)
		return false
	}
	if !isListed {
		s.strong = append(s.strong, strongPage{pg, x})
		s.outbox.arm = true
	}
	return false
}

// weakenAgain ends what strengthen has done.
func (s *shard) weakenAgain() {
	for _, p := range s.strong {
		pg := p.page
		if pg.first() == nil || !pg.claim() {
			continue // whoever gives it up makes it weak
		}
		yieldPoint()
		pg.holdBy(p.slot) // it may have been made weak between the two looks
		switch {
		case !pg.full():
			s.giveUp(pg) // it was spare, and the depot makes it weak in time
		case !pg.disown():
			s.take(pg) // a slot has come home meanwhile
		}
	}
	clear(s.strong)
	s.strong = s.strong[:0]
}

// find makes the current page ready. It reports false if that takes a page that s does not have. It
// tries, in this order: what is ready; what was put back to the current page, here or elsewhere;
// slots of it that were never carved; another page of the queue; a retired page, unless the depot
// has pages with slots in use.
//
// A Get that finds what was put back to the current page here, or the next page of the shard, has
// not been slow: it did no more than follow a pointer. All others that come here and get a slot
// count in slowGets, once, here or in attach. (An exception: if the pages of the depot turn out to
// be gone, supply counts too.)
func (s *shard) find() bool {
	for {
		pg := s.cur
		if pg.ready() {
			return true
		}
		if pg != noPage {
			// A page that is not full has slots to refill from or to carve. A page that is full
			// and cannot be disowned has slots on remoteFree.
			if !pg.full() || !s.disown(pg) {
				s.leaveRetirement(pg)
				isReady, isSlow := pg.refill(s.spec.carveNext(pg))
				if isSlow {
					s.counts.slowGets++
				}
				return isReady
			}
			s.cur = noPage
		}
		switch {
		case s.queue.head != nil:
			s.cur = s.pick()
		case s.retired.head != nil && !s.depot.hasPartial():
			s.cur = s.revive()
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

// pick takes from the queue the page with the most slots in use among the first few, so that sparse
// pages have a chance to become empty. (mimalloc compares candidates for the same reason:
// mi_page_queue_find_free_ex.)
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

// attach makes pg the current page. It comes from the depot, and nobody else has it.
func (s *shard) attach(pg *page) {
	s.refilled()
	old := s.cur
	pg.setOwner(s.id)
	s.depot.transit.leave()
	s.cur = pg
	if pg.used == 0 && !pg.retired {
		s.demand.take(pg)
	}
	s.leaveRetirement(pg)
	if !pg.ready() && pg.localFree != none {
		pg.useLocal()
	}
	if pg.ready() {
		s.counts.slowGets++ // otherwise find counts when it makes the page ready
	}
	s.outbox.arm = true // so that somebody looks after the page if this P goes idle
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

// isOnlyPage reports whether s has no other page than pg.
func (s *shard) isOnlyPage(pg *page) bool {
	others := s.queue.len + s.retired.len
	if pg.list != onNone {
		others--
	}
	return others == 0 && (s.cur == pg || s.cur == noPage)
}

// hasNothing reports whether s has neither pages nor slots.
func (s *shard) hasNothing() bool {
	return s.lot.n == 0 && s.cur == noPage && s.queue.len == 0 && s.retired.len == 0
}

// takeOutbox returns what is to be done, to a caller who is about to leave the shard.
func (s *shard) takeOutbox() outbox {
	out := s.outbox
	s.outbox = outbox{}
	return out
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
