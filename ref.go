package pool

import (
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Ref refers to a slot that is in use, and to none once that was Put. It holds
// no Go pointer: 8 bytes that the garbage collector does not look at, so that ten
// million of them cost it nothing, and that may be a field of a pooled type, of
// the same pool's even. Refs can be compared, with each other and as keys of a
// map: those of one slot are equal from its Get to its Put, and differ from all
// others. The zero Ref refers to nothing.
//
// A Ref means something to the pool that made it only, and in its process.
//
// A Ref has 32 bits for the slot and 32 for its generation, which each Put of the
// slot raises by one, or two: after 2 to 4 thousand million Puts a Ref as old as
// that may be taken for a new one.
type Ref[T any] struct {
	id uint64 // generation << 32 | number of the slot; 0: nothing
}

// IsZero reports whether r is the zero Ref, which refers to nothing.
func (r Ref[T]) IsZero() bool { return r.id == 0 }

// String returns the number and the generation of the slot, for logs.
func (r Ref[T]) String() string {
	if r.id == 0 {
		return "ref(nil)"
	}
	return fmt.Sprintf("ref(%d.%d)", uint32(r.id), r.id>>32)
}

// Ref returns the Ref of x, a slot in use. Ref(nil) returns the zero Ref. It
// panics with an error that wraps ErrForeignPut if x is not a slot of this pool,
// ErrDoublePut if it is not in use, and ErrClosed after Close.
//
// With the first Ref in a page, the page gets 4 bytes more for each of its slots,
// and with the first Ref of a pool, Put takes some nanoseconds more. There can be
// Refs in four million pages of the process at a time (600,000 of the smallest
// slots); beyond that Ref panics with an error that wraps ErrLimit.
func (p *Pool[T]) Ref(x *T) Ref[T] {
	if x == nil {
		return Ref[T]{}
	}
	return Ref[T]{p.core.ref(uintptr(unsafe.Pointer(x)))}
}

// Deref returns the slot that r refers to, or nil if that was Put, if r is zero, or
// if another pool made r. Any goroutine may call it.
//
// Deref says what was the case at some moment of the call. If another goroutine
// may Put the slot meanwhile, it may be Put, and handed out again, as soon as
// Deref has returned: who uses the slot has to keep others from putting it, by a
// lock say, as with any pointer. A Put that happens before Deref is always seen,
// as is a Get of the same slot after it; Ref(x) synchronizes before a Deref of
// what it returned, if that reached the other goroutine in a way that does.
func (p *Pool[T]) Deref(r Ref[T]) *T {
	return (*T)(p.core.deref(r.id))
}

// PutRef gives back the slot that r refers to, as Put does, and reports whether
// there was one. Of several goroutines that do so with one Ref, one gets true.
func (p *Pool[T]) PutRef(r Ref[T]) bool {
	return p.core.putRef(r.id)
}

// All returns an iterator over the slots that are in use, with their Refs, in no
// particular order: for dumps and sweeps. The loop may use the pool in any way,
// and put the slots that it gets.
//
// A slot that is in use from the start to the end of the loop comes exactly once;
// one that others get or put meanwhile may come or not, but not after its Put. What
// others do with a slot meanwhile, the clearing by Get included, is not ordered
// with the loop: look at slots only while nobody else may put or get them. All
// holds up others while it looks at a page, for some ten microseconds with 64-byte
// slots. Each page gets what Ref says.
func (p *Pool[T]) All() iter.Seq2[Ref[T], *T] {
	return func(yield func(Ref[T], *T) bool) {
		for _, pg := range p.core.allPages() {
			for _, id := range p.core.liveRefs(pg) {
				x := (*T)(p.core.deref(id))
				if x != nil && !yield(Ref[T]{id}, x) {
					return
				}
			}
		}
	}
}

// Refs are numbered in units of refUnit slots, of which a page with Refs has as
// many as it needs: all pools of the process number their slots together, so that
// a Ref of one pool is not taken for one of another.
const (
	refUnit      = 1024
	refUnits     = 1 << 32 / refUnit
	refTableStep = 1024 // units in one piece of the table

	maxPageUnits = smallPageSize / minStride / refUnit
)

// A unitEntry says what the numbers of a unit refer to.
type unitEntry struct {
	page  atomic.Pointer[page] // nil while the unit is free
	first atomic.Uint32        // slot of the page that has the unit's first number; set before page

	// born is the generation that slots have when a page gets the unit: later
	// than all that they had in the unit's previous page. Under refs.mu.
	born uint32
}

// refs is the table of units. Its entries never move, and are read without lock.
var refs struct {
	table [refUnits / refTableStep]atomic.Pointer[[refTableStep]unitEntry]

	mu   sync.Mutex
	next uint32   // units before this one have been used
	free []uint32 // units whose page is gone
}

// unitOf returns the entry of a unit that has been used.
func unitOf(unit uint32) *unitEntry {
	return &refs.table[unit/refTableStep].Load()[unit%refTableStep]
}

// pageRefs is what a page with Refs has.
type pageRefs struct {
	units [maxPageUnits]uint32 // as many as it takes for gens
	// gens has the current generation of each slot. Whoever has the slot raises
	// it, before the Put; any P reads.
	gens    []atomic.Uint32
	wrapped atomic.Bool // a generation has started over
}

// used returns the units of the page.
func (pr *pageRefs) used() []uint32 { return pr.units[:(len(pr.gens)+refUnit-1)/refUnit] }

// id returns the number and generation of slot i.
func (pr *pageRefs) id(i uint32) uint64 {
	number := pr.units[i/refUnit]*refUnit + i%refUnit
	return uint64(pr.gens[i].Load())<<32 | uint64(number)
}

// outdate ends the generation of a slot that is about to be put: its Refs are
// stale from here on. If Put then refuses the slot, it was not in use, and had no
// valid Ref. The caller has a shard to itself from before this until the slot is
// free, so that All, which seizes all shards, sees both or neither.
func (c *core) outdate(addr uintptr) {
	pg := pageOf(addr)
	if i, ok := pg.indexOf(addr); ok && pg.core == c {
		if pr := pg.refs.Load(); pr != nil {
			pr.raise(i)
		}
	}
}

// raise gives slot i its next generation. 0 is none, so that no Ref is zero.
func (pr *pageRefs) raise(i uint32) {
	if pr.gens[i].Add(1) == 0 {
		pr.wrapped.Store(true)
		pr.gens[i].Add(1)
	}
}

// ref returns the id of the slot at addr. It panics if that is not in use.
func (c *core) ref(addr uintptr) uint64 {
	pg := pageOf(addr)
	i, ok := pg.indexOf(addr)
	switch {
	case !ok || pg.core != c:
		panic(c.errPut("Ref", addr))
	case *pg.link(i) != taken || c.localChecks && c.parkedHere(pg.slot(i)):
		panic(c.errDoublePut("Ref", addr))
	}
	pr := pg.refs.Load()
	if pr == nil {
		pr = c.makeRefs(pg)
	}
	return pr.id(i)
}

// parkedHere reports whether slot is parked, and not marked so, by the P that the
// caller is on.
func (c *core) parkedHere(slot unsafe.Pointer) bool {
	s := c.heed(c.pin())
	if s == nil {
		return false
	}
	parked := s.isUnmarked(slot)
	c.leave(s)
	return parked
}

// makeRefs gives pg, in which a slot is in use, what it takes for Refs.
func (c *core) makeRefs(pg *page) *pageRefs {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		panic(c.errClosed("Ref"))
	}
	return c.makeRefsLocked(pg)
}

// makeRefsLocked is makeRefs with mu held.
func (c *core) makeRefsLocked(pg *page) *pageRefs {
	if pr := pg.refs.Load(); pr != nil {
		return pr
	}
	// From here on each Put raises the generation, on whatever P: it comes after
	// the Ref that needs it, whose maker comes after this store.
	c.hasRefs.Store(true)
	pr := &pageRefs{gens: make([]atomic.Uint32, pg.reserved)}
	refs.mu.Lock()
	defer refs.mu.Unlock()
	for first := uint32(0); first < pg.reserved; first += refUnit {
		pr.units[first/refUnit] = takeUnit()
		e := unitOf(pr.units[first/refUnit])
		e.first.Store(first)
		for i := first; i < min(first+refUnit, pg.reserved); i++ {
			pr.gens[i].Store(e.born)
		}
	}
	pg.refs.Store(pr)
	for _, unit := range pr.used() {
		unitOf(unit).page.Store(pg) // publishes first and pg.refs
	}
	return pr
}

// takeUnit returns a unit that no page has. refs.mu is held.
func takeUnit() uint32 {
	if n := len(refs.free); n > 0 {
		unit := refs.free[n-1]
		refs.free = refs.free[:n-1]
		return unit
	}
	if refs.next == refUnits {
		panic(fmt.Errorf("%w: Refs need more than %d units of %d slots; Trim pools whose pages have Refs and no slot in use", ErrLimit, refUnits, refUnit))
	}
	unit := refs.next
	refs.next++
	if unit%refTableStep == 0 {
		refs.table[unit/refTableStep].Store(new([refTableStep]unitEntry))
	}
	unitOf(unit).born = 1
	return unit
}

// dropRefs gives back the units of a page that has no slot in use. c.mu is held.
func (pg *page) dropRefs() {
	pr := pg.refs.Load()
	if pr == nil {
		return
	}
	refs.mu.Lock()
	defer refs.mu.Unlock()
	for k, unit := range pr.used() {
		e := unitOf(unit)
		e.page.Store(nil)
		latest := uint32(0)
		for i := k * refUnit; i < min((k+1)*refUnit, len(pr.gens)); i++ {
			latest = max(latest, pr.gens[i].Load())
		}
		// A unit whose generations come near their end is not used again.
		if e.born = latest + 1; latest < 1<<31 && !pr.wrapped.Load() {
			refs.free = append(refs.free, unit)
		}
	}
}

// resolve returns the page and index of the slot with an id, if it is one of c
// whose generation is that of the id.
func (c *core) resolve(id uint64) (*pageRefs, *page, uint32) {
	number := uint32(id)
	step := refs.table[number/refUnit/refTableStep].Load()
	if step == nil {
		return nil, nil, 0
	}
	e := &step[number/refUnit%refTableStep]
	pg := e.page.Load()
	if pg == nil || pg.core != c {
		return nil, nil, 0
	}
	pr := pg.refs.Load()
	i := e.first.Load() + number%refUnit
	if i >= uint32(len(pr.gens)) || pr.gens[i].Load() != uint32(id>>32) || id>>32 == 0 {
		return nil, nil, 0
	}
	// If the unit has changed hands since the look at page, first was another
	// page's. (pg is not garbage yet, so no other page looks like it.)
	if e.page.Load() != pg {
		return nil, nil, 0
	}
	return pr, pg, i
}

// deref returns the slot with an id, or nil.
func (c *core) deref(id uint64) unsafe.Pointer {
	_, pg, i := c.resolve(id)
	if pg == nil {
		return nil
	}
	return pg.slot(i)
}

// putRef takes back the slot with an id, if there is one. Of several callers, the
// one whose compare-and-swap ends the generation does it.
func (c *core) putRef(id uint64) bool {
	s := c.heed(c.pin())
	if s == nil {
		return false
	}
	pr, pg, i := c.resolve(id)
	gen := uint32(id >> 32)
	if pg == nil || !pr.gens[i].CompareAndSwap(gen, max(gen+1, 1)) {
		c.leave(s)
		return false
	}
	if gen+1 == 0 {
		pr.wrapped.Store(true)
	}
	addr := uintptr(pg.slot(i))
	err := c.putOn(s, addr)
	c.leave(s)
	if err != nil {
		panic(err(c, "PutRef", addr)) // a Put of the slot has ended just now as well
	}
	return true
}

// allPages returns the pages of c.
func (c *core) allPages() []*page {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		panic(c.errClosed("All"))
	}
	return append([]*page(nil), c.pages...)
}

// liveRefs returns the ids of the slots of pg that are in use.
func (c *core) liveRefs(pg *page) []uint64 {
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || int(pg.index) >= len(c.pages) || c.pages[pg.index] != pg {
		return nil // released since, and its words may be anything
	}
	live := make([]bool, pg.reserved)
	ids := make([]uint64, 0, pg.reserved)
	shards := c.present()
	seize(shards)
	defer yield(shards)
	n := 0
	for i, word := range pg.links {
		if word == taken {
			live[i] = true
			n++
		}
	}
	for _, s := range shards {
		for _, p := range s.lot[:s.parked] {
			if at, i, ok := s.home(p); ok && at == pg && live[i] {
				live[i] = false // parked, and not marked so
				n--
			}
		}
	}
	if n == 0 {
		return nil
	}
	pr := c.makeRefsLocked(pg)
	for i, ok := range live {
		if ok {
			ids = append(ids, pr.id(uint32(i)))
		}
	}
	return ids
}
