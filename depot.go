package pool

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// A depot has the pages of a pool that no shard has, and knows all pages of the pool. It makes
// fresh pages from the arena's memory, within the limit of WithLimit; it receives the pages with
// free slots that shards give up, and lets other shards adopt them; and it releases empty pages to
// the arena.
//
// A page of the pool is in one of these places:
//
//   - with a shard, which owns it;
//   - nobody's, because it is full: no list has it, and the next Put of one of its slots finds it
//     by the slot's address and claims it;
//   - spare: it has free slots, nobody owns it, and d.spare has it. A Put may claim a spare page at
//     any time; d.spare still has it then, until adopt or expire notices;
//   - in transit: in the hands of a goroutine that has taken it from one of these places and will
//     bring it to another.
type depot struct {
	spec     *spec       // set once
	dropping func(*page) // told of each page that is about to go back to the arena, under mu; set once
	errLimit error       // that WithLimit allows no further page; set once

	closed   atomic.Bool  // the pool is closed
	spares   atomic.Int32 // len(spare), for callers that do not hold mu
	partials atomic.Int32 // how many of them have slots in use, as spare says

	// mu is never wanted by a goroutine that has a shard to itself, except one that has seized
	// shards. Order of locks: searches.mu, core.stopMu, a shard's mu, depot.mu, and then one
	// of arena.mu, refTable.mu, watches.mu and pools.mu.
	mu    mutex
	pages []*page // all pages, without those of guards
	spare []sparePage
	shown atomic.Pointer[[]*page] // pages, and nil behind them, for those who do not hold mu: see show

	// The limit. Pages count from the moment at which somebody decides to make them.
	making  int // pages being made
	guarded int // what guards take, in pages
	slots   int // of all pages and guards, those being made included

	headers  []page // slab for pages to come
	ticks    uint32 // of the pool's clock; wraps
	releases uint64 // pages that expire has released

	onHeap    *heapPages // of WithGoHeap; set once
	lostSlots uint64     // see Stats.Lost

	transit   transit
	refills   atomic.Uint64                // how often there may be a free slot again: see core.isExhausted
	exhausted atomic.Pointer[surroundings] // when a search last found none; nil: never
	purged    atomic.Int64                 // bytes that went back to the system; the arena counts them
}

// A sparePage is a page that a shard has given up while it had free slots.
type sparePage struct {
	*page
	empty   bool   // it has no slot in use, and gets none before somebody claims it
	expires uint32 // for an empty page: depot.ticks at which it is released
}

// transit counts the pages on their way between shards, depot and arena, and the slots on their way
// out of quarantine (debug_on.go). A Get at the limit needs it: it fails only if it saw all that is
// free and found nothing.
//
// The lower half of the word counts what is on its way. The upper half counts how often something
// has set out. If both were the same before and after a search, and the lower half was 0, nothing
// was on its way at any moment of the search. Any goroutine, atomic.
type transit struct{ word atomic.Uint64 }

const setOut = 1 << 32

// enter notes that a page has set out.
func (t *transit) enter() { t.word.Add(setOut + 1) }

// leave notes that a page has arrived.
func (t *transit) leave() { t.word.Add(^uint64(0)) }

// undo takes back an enter: no page came of it.
func (t *transit) undo() { t.word.Add(^uint64(setOut)) }

// touch makes searches repeat. It notes that a page was found among the spare ones which a Put has
// claimed: a search that did not find the page with a shard yet, and finds it there no more, has to
// look again.
func (t *transit) touch() { t.word.Add(setOut) }

// quietSince reports whether nothing was on its way from the moment of before, a value of word, to
// now.
func (t *transit) quietSince(before uint64) bool {
	return uint32(before) == 0 && t.word.Load() == before
}

// init makes d the depot of a pool. dropping is called for each page that goes back to the arena.
func (d *depot) init(sp *spec, dropping func(*page)) {
	d.spec = sp
	d.dropping = dropping
	if sp.family != nil {
		d.errLimit = sp.family.errLimit(sp)
	}
	kib := int64(sp.maxPages) * int64(sp.geo.pageSize) >> 10
	switch {
	case sp.maxPages != 0 && sp.maxSlots != 0:
		d.errLimit = fmt.Errorf("%s: %w: no slot is free, WithMaxSlots allows no more than %d slots, and WithLimit no more than %d KiB, which is %d slots; Put slots, or raise the lower bound", sp, ErrLimit, sp.maxSlots, kib, int64(sp.maxPages)*int64(sp.geo.slots))
	case sp.maxSlots != 0:
		d.errLimit = fmt.Errorf("%s: %w: no slot is free, and WithMaxSlots allows no more than %d; Put slots, or raise the bound", sp, ErrLimit, sp.maxSlots)
	case sp.maxPages != 0:
		d.errLimit = fmt.Errorf("%s: %w: no slot is free, and WithLimit allows no more than %d KiB; Put slots, or raise the limit", sp, ErrLimit, kib)
	}
}

// reserve counts pages that are about to be made, with slots in all of them, unless a limit forbids
// them. It returns how many slots they may have, which is less if WithMaxSlots wants that; 0: there
// are to be no pages. mu is held.
func (d *depot) reserve(pages int, slots uint32) uint32 {
	if most := d.spec.maxPages; most != 0 && d.counted() > most-pages {
		return 0
	}
	if most := d.spec.maxSlots; most != 0 {
		slots = uint32(min(int(slots), most-d.slots))
	}
	if f := d.spec.family; slots == 0 || f != nil && !f.take(d.bytes(pages)) {
		return 0
	}
	d.making += pages
	d.slots += int(slots)
	return slots
}

// counted returns how many pages count for WithLimit. mu is held.
func (d *depot) counted() int { return len(d.pages) + d.guarded + d.making }

// uncount is told of pages and slots that reserve has counted, and that are gone, or were not made. mu
// is held.
func (d *depot) uncount(pages int, slots uint32) {
	d.slots -= int(slots)
	if f := d.spec.family; f != nil {
		f.giveBack(d.bytes(pages))
	}
}

// bytes returns how many bytes some pages take.
func (d *depot) bytes(pages int) int64 { return int64(pages) * int64(d.spec.geo.pageSize) }

// fresh makes a page of memory from the arena. It is in transit, and the caller's.
func (d *depot) fresh() (*page, error) {
	d.mu.Lock()
	slots := d.reserve(1, d.spec.geo.slots)
	if slots == 0 {
		d.mu.Unlock()
		return nil, d.errLimit
	}
	header := newHeader(&d.headers, len(d.pages))
	d.transit.enter()
	d.mu.Unlock()

	pg, err := d.makePage(header, slots)

	yieldPoint()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.making--
	if err != nil {
		d.uncount(1, slots)
		d.transit.undo()
		return nil, fmt.Errorf("%s: cannot get a page of %d KiB: %w", d.spec, d.spec.geo.pageSize>>10, err)
	}
	if d.closed.Load() {
		d.uncount(1, slots)
		d.freeMemory(pg)
		return nil, d.spec.errClosed("Get")
	}
	pg.index = uint32(len(d.pages))
	d.pages = append(d.pages, pg)
	d.show()
	if pg.heap == nil {
		pg.mem.publish(pg)
	}
	return pg, nil
}

// show lets others read d.pages without mu, up to its capacity. They may miss a page that moves
// meanwhile, or see it twice. They find either nil or a page at each place, as a word of memory is
// written whole. The pointer to a page is stored plainly here, which publishes nothing. But newPage
// ends with an atomic store, and locking mu comes after that for all, so a reader that follows the
// pointer sees what newPage has written. mu is held.
func (d *depot) show() {
	if shown := d.shown.Load(); shown == nil || cap(*shown) != cap(d.pages) {
		all := d.pages[:cap(d.pages)]
		d.shown.Store(&all)
	}
}

// makePage makes a page of some slots from an empty header.
func (d *depot) makePage(header *page, slots uint32) (*page, error) {
	if d.spec.goHeap {
		return d.onHeap.newPage(d.spec, header, slots)
	}
	mem, err := theArena.alloc(d.spec.geo.granules())
	if err != nil {
		return nil, err
	}
	pg, err := newPage(d.spec, header, startOf(mem.mem(int(mem.n))), slots)
	if err != nil {
		theArena.free(mem, &d.purged)
		return nil, err
	}
	pg.mem = mem
	return pg, nil
}

// hasRoom reports whether WithLimit and WithMaxSlots allow another page.
func (d *depot) hasRoom() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.spec.family; f != nil {
		return f.hasRoom(d.bytes(1))
	}
	return (d.spec.maxPages == 0 || d.counted() < d.spec.maxPages) &&
		(d.spec.maxSlots == 0 || d.slots < d.spec.maxSlots)
}

// size returns how many pages there are, guards included.
func (d *depot) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pages) + d.guarded
}

// hasSpare reports whether there seem to be spare pages.
func (d *depot) hasSpare() bool { return d.spares.Load() != 0 }

// hasPartial reports whether there seem to be spare pages with slots in use.
func (d *depot) hasPartial() bool { return d.partials.Load() != 0 }

// spareChanged tells callers without mu of a change of d.spare. mu is held.
func (d *depot) spareChanged(partials int) {
	d.spares.Store(int32(len(d.spare)))
	d.partials.Store(int32(partials))
}

// receive takes pages with free slots, linked by next, which shards have given up.
func (d *depot) receive(pages *page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.receiveLocked(pages)
}

// receiveLocked is receive with mu held.
func (d *depot) receiveLocked(pages *page) {
	partials := int(d.partials.Load())
	for pg := pages; pg != nil; {
		next := pg.next
		pg.next = nil
		if d.closed.Load() { // Close has released it with the others
			d.transit.leave()
			pg = next
			continue
		}
		if pg.listed == 0 {
			d.spare = append(d.spare, sparePage{})
			pg.listed = uint32(len(d.spare))
		}
		was := &d.spare[pg.listed-1]
		partials += count(pg.used != 0) - count(was.page != nil && !was.empty)
		*was = sparePage{pg, pg.used == 0, d.ticks + windowSeveral}
		pg.disownSpare()
		yieldPoint()
		d.transit.leave()
		pg = next
	}
	d.spareChanged(partials)
}

// count returns 1 for true.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// adopt claims a spare page for the caller, or returns nil. The page is in transit then. Pages with
// slots in use come first, so that the others can go.
func (d *depot) adopt() *page {
	if !d.hasSpare() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.adoptLocked()
}

// adoptLocked is adopt with mu held.
func (d *depot) adoptLocked() *page {
	for len(d.spare) > 0 {
		k := len(d.spare) - 1
		for d.hasPartial() && k > 0 && d.spare[k].empty {
			k--
		}
		pg := d.spare[k].page
		d.takeSpare(k)
		if !d.closed.Load() && pg.claimStrong() {
			yieldPoint()
			pg.setOwner(inTransit)
			d.transit.enter()
			return pg
		}
		d.transit.touch() // a shard that sent a slot home has claimed the page meanwhile
	}
	return nil
}

// takeSpare takes the spare page at place k off the list. mu is held.
func (d *depot) takeSpare(k int) {
	gone, last := d.spare[k], d.spare[len(d.spare)-1]
	d.spare[k] = last
	last.listed = gone.listed
	gone.listed = 0
	d.spare[len(d.spare)-1].page = nil
	d.spare = d.spare[:len(d.spare)-1]
	d.spareChanged(int(d.partials.Load()) - count(!gone.empty))
}

// release gives empty pages, linked by next, to the arena. They are in transit.
func (d *depot) release(pages *page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pg := pages; pg != nil; pg = pg.next {
		if !d.closed.Load() { // otherwise Close has released it with the others
			pg.setOwner(inTransit)
			d.drop(pg)
		}
		d.transit.leave()
	}
}

// drop takes pg off d.pages and gives its memory to the arena. mu is held, and nobody else has the
// page. If a slot of it is out all the same, by a misuse that went unnoticed, the page is lost:
// nobody else may get its memory, and Close will say that slots are in use.
func (d *depot) drop(pg *page) {
	if !pg.clean() {
		pg.used = pg.remoteState().count() + 1
		return
	}
	d.remove(pg)
}

// remove is drop for a page that nothing is looked for in. mu is held.
func (d *depot) remove(pg *page) {
	last := d.pages[len(d.pages)-1]
	d.pages[pg.index] = last
	last.index = pg.index
	d.pages[len(d.pages)-1] = nil
	d.pages = d.pages[:len(d.pages)-1]
	d.dropping(pg)
	d.freeMemory(pg)
	d.uncount(1, pg.reserved)
}

// lost removes a page of the Go heap that the collector has taken, because the program has forgotten
// the slots that were in use. It returns how many there were.
func (d *depot) lost(pg *page) (slots int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() || !d.has(pg) {
		return 0
	}
	slots = pg.inUse()
	d.lostSlots += uint64(slots)
	if pg.listed != 0 { // since before it was full
		d.takeSpare(int(pg.listed) - 1)
	}
	d.remove(pg)
	return slots
}

// freeMemory gives the memory of pg and of its words to the arena, or to the Go heap.
func (d *depot) freeMemory(pg *page) {
	if pg.heap != nil {
		d.onHeap.release(pg)
		return
	}
	pg.words.release()
	theArena.free(pg.mem, &d.purged)
}

// expire releases the empty spare pages but keep, of those whose time has passed, or of all if now.
// It also releases spare pages whose last slots came home while nobody owned them. On the Go heap, it
// makes those weak whose time has passed, and that have slots in use: the program may have forgotten
// these. It reports whether pages remain that will expire.
func (d *depot) expire(now bool, keep int) (waiting bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expireLocked(now, keep)
}

// expireLocked is expire with mu held.
func (d *depot) expireLocked(now bool, keep int) (waiting bool) {
	surplus := -keep
	for _, pg := range d.spare {
		if pg.empty {
			surplus++
		}
	}
	left, partials := d.spare[:0], 0
	for _, pg := range d.spare { // oldest first, mostly
		w := pg.remoteState()
		isOld := now || int32(pg.expires-d.ticks) <= 0
		expired := pg.empty && surplus > 0 && isOld
		fades := !pg.empty && isOld && (pg.isStrong() || pg.keepsInVain())
		switch {
		case w.isOwned(): // a shard has claimed it meanwhile
			pg.listed = 0
			d.transit.touch()
			continue
		case (expired || fades || w.count() != 0) && pg.claimStrong():
			if pg.collect(); pg.used == 0 && !pg.empty {
				pg.empty = true
				surplus++
			}
			if pg.used == 0 && surplus > 0 {
				d.releases++
				surplus--
				d.drop(pg.page)
				continue
			}
			if pg.full() && pg.disown() { // claimed and filled since it became spare
				pg.listed = 0
				continue
			}
			if fades && pg.used > 0 {
				pg.weaken()
			}
			pg.disownSpare()
		}
		left = append(left, pg)
		pg.listed = uint32(len(left))
		partials += count(!pg.empty)
		waiting = waiting || pg.empty && surplus > 0 || !pg.empty && (pg.isStrong() || pg.keepsInVain())
	}
	clear(d.spare[len(left):])
	d.spare = left
	d.spareChanged(partials)
	return waiting
}

// tick notes that time has passed, and expires pages. It reports whether pages remain that will
// expire.
func (d *depot) tick() (waiting bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ticks++
	return d.expireLocked(false, d.spec.warmPages)
}

// close releases everything. mu is held, all shards are seized, and no slot is in use.
func (d *depot) close() {
	d.closed.Store(true)
	d.dropAll()
}

// dropAll releases all pages, whatever is in use. mu is held, and all shards are seized.
func (d *depot) dropAll() {
	for _, pg := range d.pages {
		d.dropping(pg)
		d.freeMemory(pg)
		d.uncount(1, pg.reserved)
	}
	d.pages = nil
	d.shown.Store(nil)
	d.spare = nil
	d.spareChanged(0)
}

// used returns how many slots are in use or parked. mu is held. It is exact if nobody uses the
// shards.
func (d *depot) used() (n int) {
	for _, pg := range d.pages {
		n += pg.inUse()
	}
	return n
}

// inUse returns how many slots of pg are in use or parked.
func (pg *page) inUse() int { return max(int(pg.used)-int(pg.remoteState().count()), 0) }

// allClean reports whether the words of all pages agree with the counts of a pool of which no slot
// is in use. mu is held.
func (d *depot) allClean() bool {
	return !slices.ContainsFunc(d.pages, func(pg *page) bool { return !pg.clean() })
}

// has reports whether pg is a page of the pool that was not released. mu is held.
func (d *depot) has(pg *page) bool {
	return int(pg.index) < len(d.pages) && d.pages[pg.index] == pg
}
