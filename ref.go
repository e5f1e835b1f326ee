package pool

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Ref refers to a slot that is in use, and to none once that was Put. It holds no Go pointer: 8
// bytes that the garbage collector does not look at, so that ten million of them cost it nothing,
// and that may be a field of a pooled type, of the same pool's even. Refs can be compared, with
// each other and as keys of a map: those of one slot are equal from its Get to its Put, and differ
// from all others. The zero Ref refers to nothing. [Pool.Ref] and [Pool.All] make Refs,
// [Pool.Deref] and [Pool.PutRef] take them.
//
// A Ref is a value, to be copied at will. It means something to the pool that made it only, and in
// its process. It does not keep the slot from being put.
//
// A Ref has 32 bits for the slot and 32 for its generation, which each Put of the slot raises by
// one, or two: after 2 to 4 billion Puts of its slot a Ref may be taken for a new one.
type Ref[T any] struct {
	id uint64 // generation << 32 | number of the slot; 0: nothing
}

// IsZero reports whether r is the zero Ref, which refers to nothing. A Ref whose slot was Put is not
// zero: see [Pool.Deref].
func (r Ref[T]) IsZero() bool { return r.id == 0 }

// String returns the number of the slot and its generation, as in ref(3072.1), for logs; ref(nil)
// for the zero Ref.
func (r Ref[T]) String() string {
	if r.id == 0 {
		return "ref(nil)"
	}
	return fmt.Sprintf("ref(%d.%d)", uint32(r.id), r.id>>32)
}

// Ref returns the [Ref] of x, a slot in use. Ref(nil) returns the zero Ref. It panics with an error
// that wraps [ErrForeignPut] if x is not a slot of this pool, [ErrDoublePut] if it is not in use
// (both, if its page has been released since), and [ErrClosed] after Close.
//
// With the first Ref in a page, the page gets 4 bytes more for each of its slots, on the Go heap,
// and with the first Ref of a pool, Put takes some nanoseconds more. There can be Refs in four
// million pages of the process at a time (600,000 of the smallest slots); beyond that Ref panics
// with an error that wraps [ErrLimit].
func (p *Pool[T]) Ref(x *T) Ref[T] {
	if x == nil {
		return Ref[T]{}
	}
	return Ref[T]{p.core.ref(uintptr(unsafe.Pointer(x)))}
}

// Deref returns the slot that r refers to, or nil if that was Put, if r is zero, if another pool
// made r, or if the pool is closed. It never panics.
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

// PutRef gives back the slot that r refers to, as [Pool.Put] does, and reports whether there was
// one: where Deref would return nil, it does nothing and returns false. Of several goroutines that
// put one Ref, one gets true. If one puts the slot itself at the same time, by Put, one of the two
// may panic with an error that wraps [ErrDoublePut].
func (p *Pool[T]) PutRef(r Ref[T]) bool {
	return p.core.putRef(r.id)
}

// All returns an iterator over the slots that are in use, with their Refs, in no particular order:
// for dumps and sweeps. The loop may use the pool in any way, and put the slots that it gets. It
// panics with an error that wraps [ErrClosed] if the pool is closed when it begins, and ends early
// if the pool is closed meanwhile.
//
// A slot that is in use from the start to the end of the loop comes exactly once;
// one that others get or put meanwhile may come or not, but not after its Put. What
// others do with a slot meanwhile, the clearing by Get included, is not ordered
// with the loop: look at slots only while nobody else may put or get them. All
// holds up others while it looks at a page, for some ten microseconds with 64-byte
// slots. Each page with a slot in use gets what [Pool.Ref] adds, within the same bound.
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

// Refs are numbered in units of unitSlots, of which a page with Refs has as many as
// it needs: all pools of the process number their slots together, so that a Ref of
// one pool is not taken for one of another.
const (
	unitSlots = 1024
	maxUnits  = 1 << 32 / unitSlots
	unitStep  = 1024 // units in one piece of the table
)

// A refUnit is what the numbers of one unit refer to: all that Deref has to know,
// on one cache line. But for gens and wrapped it does not change.
type refUnit struct {
	core  *core
	first unsafe.Pointer // the unit's first slot
	// gens has the current generation of each slot of the unit. Who has the slot
	// raises it, before the Put; any P reads.
	gens    []atomic.Uint32
	next    *refUnit // of the same page, for the slots that follow
	number  uint32
	wrapped atomic.Bool // a generation has started over
	_       [8]byte     // 64 bytes on 64-bit systems, so that in a slab none straddles two lines
}

// refs is the table of units, nil where no page has one. It is read without lock.
var refs struct {
	table [maxUnits / unitStep]atomic.Pointer[[unitStep]atomic.Pointer[refUnit]]

	mu   sync.Mutex
	next uint32     // units before this one have been used
	free []freeUnit // units whose page is gone

	// What is left of the last slabs, from which units and generations are cut:
	// fewer and larger objects are less work for the garbage collector, which
	// keeps a slab as long as a page refers to a part of it.
	units []refUnit
	gens  []atomic.Uint32
}

const unitSlab = 64 // units in a slab

// A freeUnit is a number without a page. The generations of its slots will begin
// with born, later than all that it had.
type freeUnit struct{ number, born uint32 }

// unitOf returns the entry of a unit that has been used.
func unitOf(number uint32) *atomic.Pointer[refUnit] {
	return &refs.table[number/unitStep].Load()[number%unitStep]
}

// of returns the unit of slot i of the page whose first unit is u, and the slot's
// place in it. Only pages of slots below 64 bytes have more than one.
func (u *refUnit) of(i uint32) (*refUnit, uint32) {
	for ; i >= unitSlots; i -= unitSlots {
		u = u.next
	}
	return u, i
}

// id returns the number and generation of slot i of the page whose first unit is u.
func (u *refUnit) id(i uint32) uint64 {
	u, i = u.of(i)
	return uint64(u.gens[i].Load())<<32 | uint64(u.number*unitSlots+i)
}

// outdate ends the generation of a slot that is about to be put: its Refs are
// stale from here on. If Put then refuses the slot, it was not in use, and had no
// valid Ref. The caller has a shard to itself from before this until the slot is
// free, so that All, which seizes all shards, sees both or neither.
func (c *core) outdate(addr uintptr) {
	pg := pageOf(addr)
	if i, ok := pg.indexOf(addr); ok && pg.core == c {
		if u := pg.refs.Load(); u != nil {
			u, i = u.of(i)
			u.raise(i, u.gens[i].Load())
		}
	}
}

// raise gives slot i of u the generation after gen, and reports false if it has
// another one than gen. 0 is none, so that no Ref is zero.
func (u *refUnit) raise(i, gen uint32) bool {
	next := gen + 1
	if next == 0 {
		u.wrapped.Store(true)
		next = 1
	}
	yieldPoint()
	return u.gens[i].CompareAndSwap(gen, next)
}

// ref returns the id of the slot at addr. It panics if that is not in use.
func (c *core) ref(addr uintptr) uint64 {
	c.requireNew()
	pg := pageOf(addr)
	i, ok := pg.indexOf(addr)
	switch {
	case !ok || pg.core != c:
		panic(c.errPut("Ref", addr))
	case !inUse(*pg.link(i)) || c.localChecks && c.parkedHere(pg.slot(i)):
		panic(c.errDoublePut("Ref", addr))
	}
	u := pg.refs.Load()
	if u == nil {
		u = c.makeRefs(pg)
	}
	return u.id(i)
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
func (c *core) makeRefs(pg *page) *refUnit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		panic(c.errClosed("Ref"))
	}
	return c.makeRefsLocked(pg)
}

// makeRefsLocked is makeRefs with mu held.
func (c *core) makeRefsLocked(pg *page) *refUnit {
	if u := pg.refs.Load(); u != nil {
		return u
	}
	// From here on each Put raises the generation, on whatever P: it comes after
	// the Ref that needs it, whose maker comes after this store.
	c.hasRefs.Store(true)
	refs.mu.Lock()
	defer refs.mu.Unlock()
	var first *refUnit
	for end := pg.reserved; end > 0; { // from the last unit, each links to the next
		begin := (end - 1) / unitSlots * unitSlots
		f := takeUnit()
		u := newUnit(int(end - begin))
		u.core, u.first, u.next, u.number = c, pg.slot(begin), first, f.number
		for i := range u.gens {
			u.gens[i].Store(f.born)
		}
		first, end = u, begin
	}
	// These stores publish the units: the first to Ref and Put, which load pg.refs,
	// the second to Deref, which loads the table.
	pg.refs.Store(first)
	yieldPoint()
	for u := first; u != nil; u = u.next {
		unitOf(u.number).Store(u)
	}
	return first
}

// newUnit makes a unit of n slots. refs.mu is held.
func newUnit(n int) *refUnit {
	if len(refs.units) == 0 {
		refs.units = make([]refUnit, unitSlab)
	}
	if len(refs.gens) < n {
		refs.gens = make([]atomic.Uint32, unitSlab*unitSlots)
	}
	u := &refs.units[0]
	refs.units = refs.units[1:]
	u.gens, refs.gens = refs.gens[:n:n], refs.gens[n:]
	return u
}

// takeUnit returns a unit that no page has. refs.mu is held.
func takeUnit() freeUnit {
	if n := len(refs.free); n > 0 {
		f := refs.free[n-1]
		refs.free = refs.free[:n-1]
		return f
	}
	if refs.next == maxUnits {
		panic(fmt.Errorf("%w: Refs need more than %d units of %d slots; Trim pools whose pages have Refs and no slot in use", ErrLimit, maxUnits, unitSlots))
	}
	number := refs.next
	refs.next++
	if number%unitStep == 0 {
		refs.table[number/unitStep].Store(new([unitStep]atomic.Pointer[refUnit]))
	}
	return freeUnit{number: number, born: 1}
}

// dropRefs gives back the units of a page that has no slot in use. c.mu is held.
func (pg *page) dropRefs() {
	if pg.refs.Load() == nil {
		return
	}
	refs.mu.Lock()
	defer refs.mu.Unlock()
	for u := pg.refs.Load(); u != nil; u = u.next {
		unitOf(u.number).Store(nil)
		latest := uint32(0)
		for i := range u.gens {
			latest = max(latest, u.gens[i].Load())
		}
		// A unit whose generations come near their end is not used again.
		if latest < 1<<31 && !u.wrapped.Load() {
			refs.free = append(refs.free, freeUnit{u.number, latest + 1})
		}
	}
}

// resolve returns the unit of the slot with an id, and its place there, if it is a
// slot of c whose generation is that of the id; else nil.
func (c *core) resolve(id uint64) (*refUnit, uint32) {
	number := uint32(id)
	step := refs.table[number/unitSlots/unitStep].Load()
	if step == nil {
		return nil, 0
	}
	u, i := step[number/unitSlots%unitStep].Load(), number%unitSlots
	yieldPoint()
	// A unit that is dropped just now has had all its generations raised.
	if u == nil || u.core != c || i >= uint32(len(u.gens)) || u.gens[i].Load() != uint32(id>>32) || id>>32 == 0 {
		return nil, 0
	}
	return u, i
}

// slot returns the address of slot i of u.
func (u *refUnit) slot(i uint32) unsafe.Pointer { return slotAt(u.first, i, u.core.geo.stride) }

// deref returns the slot with an id, or nil.
func (c *core) deref(id uint64) unsafe.Pointer {
	u, i := c.resolve(id)
	if u == nil {
		return nil
	}
	return u.slot(i)
}

// putRef takes back the slot with an id, if there is one. Of several callers, the
// one whose compare-and-swap ends the generation does it.
func (c *core) putRef(id uint64) bool {
	s := c.heed(c.pin())
	if s == nil {
		return false
	}
	u, i := c.resolve(id)
	if u == nil || !u.raise(i, uint32(id>>32)) {
		c.leave(s)
		return false
	}
	addr := uintptr(u.slot(i))
	then := c.putOn(s, addr)
	c.leave(s)
	c.then("PutRef", addr, then) // panics if a Put of the slot has ended just now as well
	return true
}

// allPages returns the pages of c.
func (c *core) allPages() []*page {
	c.requireNew()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		panic(c.errClosed("All"))
	}
	return append(slices.Clone(c.pages), c.guards.all...)
}

// liveRefs returns the ids of the slots of pg that are in use.
func (c *core) liveRefs(pg *page) []uint64 {
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || pg.guard == nil && (int(pg.index) >= len(c.pages) || c.pages[pg.index] != pg) {
		return nil // released since, and its words may be anything
	}
	live := make([]bool, pg.reserved)
	ids := make([]uint64, 0, pg.reserved)
	shards := c.present()
	seize(shards)
	defer yield(shards)
	n := 0
	for i, word := range pg.links {
		if inUse(word) {
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
	u := c.makeRefsLocked(pg)
	for i, ok := range live {
		if ok {
			ids = append(ids, u.id(uint32(i)))
		}
	}
	return ids
}
