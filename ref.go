package pool

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Ref refers to a slot that is in use. Once the slot is Put, it refers to nothing. A Ref has 8
// bytes and holds no Go pointer: the garbage collector does not look at it, so ten million Refs
// cost it nothing, and a pooled type can have fields that are Refs, even of its own pool. Refs can
// be compared and be keys of a map. From the slot's Get to its Put, all its Refs are equal, and
// they differ from all others. The zero Ref refers to nothing. [Pool.Ref] and [Pool.All] make Refs,
// and [Pool.Deref] and [Pool.PutRef] take them.
//
// A Ref is a value and may be copied at will. It has a meaning only for the pool that made it, in
// the same process. It does not keep the slot from being put. (It does keep the garbage collector
// from taking a slot on the Go heap: see [WithGoHeap].)
//
// A Ref has 32 bits for the slot and 32 bits for its generation. Each Put of the slot raises the
// generation by one. After 2 to 4 billion Puts of its slot, an old Ref may be taken for a new one.
type Ref[T any] struct {
	id uint64 // generation << 32 | number of the slot; 0: nothing
}

// IsZero reports whether r is the zero Ref, which refers to nothing. A Ref whose slot was Put is
// not zero: see [Pool.Deref].
func (r Ref[T]) IsZero() bool { return r.id == 0 }

// MarshalJSON returns an error: a Ref means nothing outside of its process.
func (r Ref[T]) MarshalJSON() ([]byte, error) { return nil, errRefJSON }

// UnmarshalJSON returns an error, as [Ref.MarshalJSON] does.
func (r *Ref[T]) UnmarshalJSON([]byte) error { return errRefJSON }

// String returns the number of the slot and its generation, as in ref(3072.1), for logs. For the
// zero Ref it returns ref(nil).
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
// The first Ref in a page adds 4 bytes for each slot of the page, on the Go heap, and 8 bytes for
// one of a pool with [WithGoHeap]. From the first Ref of a pool on, Put takes some nanoseconds
// longer. Four million pages of the process can have Refs at a time (600,000 if they have the
// smallest slots off the Go heap). Beyond that, Ref panics with an error that wraps [ErrLimit].
func (p *Pool[T]) Ref(x *T) Ref[T] {
	if x == nil {
		return Ref[T]{}
	}
	return Ref[T]{p.untyped().ref(unsafe.Pointer(x))}
}

// Deref returns the slot that r refers to. It returns nil if the slot was Put, if r is zero, if
// another pool made r, or if the pool is closed. It never panics.
//
// The answer was right at some moment of the call. If another goroutine may Put the slot, that can
// happen as soon as Deref has returned, and the slot can be handed out again. A program that uses
// the slot has to keep others from putting it, by a lock for instance, as with any pointer. Deref
// always sees a Put that happens before it, and a Get of the same slot after that. Ref(x)
// synchronizes before a Deref of the Ref that it returned, if the Ref reached the other goroutine
// in a way that synchronizes.
func (p *Pool[T]) Deref(r Ref[T]) *T {
	return (*T)(p.untyped().deref(r.id))
}

// PutRef gives back the slot that r refers to, as [Pool.Put] does, and reports whether there was
// one. Where Deref would return nil, it does nothing and returns false. If several goroutines put
// one Ref, one of them gets true. If another goroutine puts the slot itself at the same time, by
// Put, one of the two may panic with an error that wraps [ErrDoublePut].
func (p *Pool[T]) PutRef(r Ref[T]) bool {
	return p.untyped().putRef(r.id)
}

// PutRefs gives back the slots that refs refer to, as [Pool.PutRef] would. It returns how many there
// were, and passes over Refs that refer to nothing, or to what an earlier one of them refers to. It
// does not change refs. If it panics, as PutRef would, the slots before the offending one have been
// put back. Off the heap, it costs less than as many calls. On the Go heap, and in a pool that clears
// or resets in Put, it costs as much.
func (p *Pool[T]) PutRefs(refs []Ref[T]) (n int) {
	for len(refs) > 0 {
		part := refs[:min(len(refs), batchSize)]
		refs = refs[len(part):]
		ids := make([]uint64, len(part), batchSize)
		for k, r := range part {
			ids[k] = r.id
		}
		n += p.untyped().putRefs(ids)
	}
	return n
}

// GetRef is [Pool.Get] and [Pool.Ref] in one call. It panics where one of them would, and has got no
// slot then.
func (p *Pool[T]) GetRef() (Ref[T], *T) {
	x := p.Get()
	done := false
	defer func() {
		if !done {
			p.Put(x)
		}
	}()
	r := p.Ref(x)
	done = true
	return r, x
}

// All returns an iterator over the slots in use and their Refs, in no particular order. It is for
// dumps and sweeps. The loop may use the pool in any way, and put the slots that it gets. All
// panics with an error that wraps [ErrClosed] if the pool is closed when the loop begins. If the
// pool is closed meanwhile, the loop ends early.
//
// A slot that is in use from the start to the end of the loop comes exactly once. A slot that
// others get or put meanwhile may come or not, but not after its Put. The loop is not ordered with
// what others do to a slot meanwhile, which includes the clearing by Get. So look at slots only
// while nobody else may get or put them. All stops the other users of the pool while it looks at a
// page, for some ten microseconds if slots have 64 bytes. Each page with a slot in use gets what
// [Pool.Ref] adds, within the same bound.
//
// On the Go heap, slots that the program has forgotten come as well, as long as the garbage
// collector has not taken them, and the loop may put them. The Ref of a slot does not keep it
// there; the pointer does.
func (p *Pool[T]) All() iter.Seq2[Ref[T], *T] {
	return func(yield func(Ref[T], *T) bool) {
		for _, pg := range p.untyped().allPages() {
			for _, id := range p.untyped().liveRefs(pg) {
				x := (*T)(p.untyped().deref(id))
				if x != nil && !yield(Ref[T]{id}, x) {
					return
				}
			}
		}
	}
}

// Refs are numbered in units of unitSlots slots. A page with Refs has as many units as it needs.
// All pools of the process number their slots together, so that a Ref of one pool is not taken for
// one of another.
const (
	unitSlots = 1024
	maxUnits  = 1 << 32 / unitSlots
	unitStep  = 1024 // units in one piece of the table
)

// A refUnit is what the numbers of one unit refer to: all that Deref has to know, on one cache
// line. Only gens and wrapped change, and first for a page of the Go heap.
type refUnit struct {
	spec  *spec
	first unsafe.Pointer // the unit's first slot, or nil: see start
	// gens has the current generation of each slot of the unit. Whoever has the slot raises it,
	// before the Put. Any P reads it.
	gens    []uint32 // atomic: see gen
	next    *refUnit // of the same page, for the slots that follow
	number  uint32
	wrapped uint32 // 1 if a generation has started over; atomic
	page    *page  // 64 bytes on 64-bit systems, so that no unit of a slab is on two cache lines
}

// A refTable has the units of all pools. It is read without a lock.
type refTable struct {
	table [maxUnits / unitStep]atomic.Pointer[[unitStep]atomic.Pointer[refUnit]] // nil where no page has a unit

	mu   sync.Mutex
	next uint32     // units before this one have been used
	free []freeUnit // units whose page is gone

	// What is left of the last slabs, from which units and generations are cut. Fewer and larger
	// objects are less work for the garbage collector. It keeps a slab as long as a page refers to
	// a part of it.
	units []refUnit
	gens  []uint32
}

var refs refTable

const unitSlab = 64 // units in a slab

// A freeUnit is a number without a page. The generations of its slots will begin with born, which
// is later than all that it had.
type freeUnit struct{ number, born uint32 }

// entry returns the place in the table of a unit that has been used.
func (r *refTable) entry(number uint32) *atomic.Pointer[refUnit] {
	return &r.table[number/unitStep].Load()[number%unitStep]
}

// gen returns the generation of slot i of u. Any P.
func (u *refUnit) gen(i uint32) uint32 { return atomic.LoadUint32(&u.gens[i]) }

// of returns the unit of slot i of the page whose first unit is u, and the slot's place in it. Only
// pages with slots below 64 bytes have more than one unit.
func (u *refUnit) of(i uint32) (*refUnit, uint32) {
	for ; i >= unitSlots; i -= unitSlots {
		u = u.next
	}
	return u, i
}

// id returns the number and generation of slot i of the page whose first unit is u.
func (u *refUnit) id(i uint32) uint64 {
	u, i = u.of(i)
	return uint64(u.gen(i))<<32 | uint64(u.number*unitSlots+i)
}

// slot returns the address of slot i of u, or nil if the collector has taken it. Any goroutine; if
// the page is of the Go heap, one that has no shard.
func (u *refUnit) slot(i uint32) unsafe.Pointer {
	first := atomic.LoadPointer(&u.first)
	if first == nil {
		if first = u.page.held(); first == nil {
			return nil
		}
	}
	return slotAt(first, i, u.spec.geo.stride)
}

// given has the generation of each slot of u at which [Pool.Ref] has returned a Ref of it last. The
// page is of the Go heap.
func (u *refUnit) given() []uint32 { return u.gens[len(u.gens) : 2*len(u.gens)] }

// keep notes that a Ref of slot i was given: the page stays until the slot is put. first is the first
// slot of u. The order of the two stores is the reverse of what letGo does, so that one of the two
// sees the other one.
func (u *refUnit) keep(i uint32, first unsafe.Pointer) {
	atomic.StoreUint32(&u.given()[i], u.gen(i))
	yieldPoint()
	atomic.StorePointer(&u.first, first)
}

// letGo lets the collector take the page of u, unless a Ref was given of a slot that is in use. It
// reports whether the page is kept. The caller owns the page.
func (u *refUnit) letGo() (kept bool) {
	first := atomic.LoadPointer(&u.first)
	if first == nil {
		return false
	}
	atomic.StorePointer(&u.first, nil)
	yieldPoint()
	if u.isGiven() {
		atomic.StorePointer(&u.first, first)
		return true
	}
	return false
}

// isGiven reports whether a Ref was given of a slot that is in use. The page is of the Go heap.
func (u *refUnit) isGiven() bool {
	for i := range u.given() {
		if gen := atomic.LoadUint32(&u.given()[i]); gen != 0 && gen == u.gen(uint32(i)) {
			return true
		}
	}
	return false
}

// keepsInVain reports whether pg is weak, and kept all the same for a Ref that has ended. Any P.
func (pg *page) keepsInVain() bool {
	u := pg.firstUnit()
	return pg.heap != nil && pg.first() == nil && u != nil && atomic.LoadPointer(&u.first) != nil && !u.isGiven()
}

// raise gives slot i of u the generation after gen. It reports false if the slot has another one
// than gen. 0 is no generation, so that no Ref is zero.
func (u *refUnit) raise(i, gen uint32) bool {
	next := gen + 1
	if next == 0 {
		atomic.StoreUint32(&u.wrapped, 1)
		next = 1
	}
	yieldPoint()
	return atomic.CompareAndSwapUint32(&u.gens[i], gen, next)
}

// make gives pg, in which a slot is in use, units for all its slots, unless it has them. depot.mu
// is held.
func (r *refTable) make(pg *page) *refUnit {
	if u := pg.firstUnit(); u != nil {
		return u
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if units := (int(pg.reserved)-1)/unitSlots + 1; units > maxUnits-int(r.next)+len(r.free) {
		panic(fmt.Errorf("%w: Refs need more than %d units of %d slots; Trim pools whose pages have Refs and no slot in use", ErrLimit, maxUnits, unitSlots))
	}
	var first *refUnit
	for end := pg.reserved; end > 0; { // from the last unit on, so that each links to the next
		begin := (end - 1) / unitSlots * unitSlots
		f := r.take()
		u := r.newUnit(int(end-begin), pg.heap != nil)
		u.spec, u.page, u.next, u.number = pg.spec, pg, first, f.number
		if pg.heap == nil {
			u.first = pg.slot(begin)
		}
		for i := range u.gens {
			u.gens[i] = f.born // nobody else knows the unit yet
		}
		first, end = u, begin
	}
	// These stores publish the units: the first ones to Deref, which loads the table, and the last
	// one to Ref and Put, which load pg.refs. In this order, because Ref reads pg.refs without a
	// lock, and its Ref is to resolve at once.
	for u := first; u != nil; u = u.next {
		r.entry(u.number).Store(u)
	}
	yieldPoint()
	pg.setFirstUnit(first)
	return first
}

// newUnit makes a unit of n slots, with room for given if that is wanted. mu is held.
func (r *refTable) newUnit(n int, withGiven bool) *refUnit {
	room := n
	if withGiven {
		room = 2 * n
	}
	if len(r.units) == 0 {
		r.units = make([]refUnit, unitSlab)
	}
	if len(r.gens) < room {
		r.gens = make([]uint32, unitSlab*unitSlots)
	}
	u := &r.units[0]
	r.units = r.units[1:]
	u.gens, r.gens = r.gens[:n:room], r.gens[room:]
	return u
}

// take returns a unit that no page has. There is one. mu is held.
func (r *refTable) take() freeUnit {
	if n := len(r.free); n > 0 {
		f := r.free[n-1]
		r.free = r.free[:n-1]
		return f
	}
	number := r.next
	r.next++
	if number%unitStep == 0 {
		r.table[number/unitStep].Store(new([unitStep]atomic.Pointer[refUnit]))
	}
	return freeUnit{number: number, born: 1}
}

// drop takes the units of a page back that has no slot in use. depot.mu is held.
func (r *refTable) drop(pg *page) {
	if pg.firstUnit() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for u := pg.firstUnit(); u != nil; u = u.next {
		r.entry(u.number).Store(nil)
		if pg.heap != nil {
			atomic.StorePointer(&u.first, nil) // other units of its slab may be kept
		}
		latest := uint32(0)
		for i := range u.gens {
			latest = max(latest, u.gen(uint32(i)))
		}
		// A unit is not used again when its generations come near their end.
		if latest < 1<<31 && atomic.LoadUint32(&u.wrapped) == 0 {
			r.free = append(r.free, freeUnit{u.number, latest + 1})
		}
	}
}

// find returns the unit of the slot with an id, and the slot's place in it, or nil if there is no
// such slot of the pool with that generation.
func (r *refTable) find(sp *spec, id uint64) (*refUnit, uint32) {
	number := uint32(id)
	step := r.table[number/unitSlots/unitStep].Load()
	if step == nil {
		return nil, 0
	}
	u, i := step[number/unitSlots%unitStep].Load(), number%unitSlots
	yieldPoint()
	// A unit that is being dropped has had all its generations raised.
	if u == nil || u.spec != sp || i >= uint32(len(u.gens)) || u.gen(i) != uint32(id>>32) || id>>32 == 0 {
		return nil, 0
	}
	return u, i
}

// endRefs ends the generation of a slot that is about to be put: its Refs are stale from here on.
// If Put then refuses the slot, it was not in use and had no valid Ref. The caller owns a shard
// from before this until the slot is free, so that All, which stops all shards, sees both or
// neither. (put has the same for most slots.)
func (c *core) endRefs(addr uintptr) {
	if pg, i, ok := c.find(addr); ok {
		if u := pg.firstUnit(); u != nil {
			u, i = u.of(i)
			u.raise(i, u.gen(i))
		}
	}
}

// ref returns the id of the slot at x. It panics if that is not in use.
func (c *core) ref(x unsafe.Pointer) uint64 {
	c.requireNew()
	addr := uintptr(x)
	pg, i, ok := c.find(addr)
	switch {
	case !ok || c.isCollected(x):
		panic(c.errForeignPut("Ref", addr))
	case !inUse(*pg.link(i)):
		panic(c.errDoublePut("Ref", addr))
	}
	u := pg.firstUnit()
	if u == nil {
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		if c.depot.closed.Load() {
			panic(c.errClosed("Ref"))
		}
		u = c.makeRefs(pg)
	}
	if pg.heap != nil {
		u.keep(i, pg.firstBy(x))
	}
	return u.id(i)
}

// makeRefs gives pg units for its slots. From here on each Put in the pool raises the generation,
// on whatever P: a Put comes after the Ref that needs it, and that comes after the store of
// hasRefs. depot.mu is held.
func (c *core) makeRefs(pg *page) *refUnit {
	if !c.hasRefs.Swap(true) {
		yieldPoint()
		for _, s := range c.shards.Load().present() {
			s.raise(signalRefs)
		}
	}
	return refs.make(pg)
}

// deref returns the slot with an id, or nil.
func (c *core) deref(id uint64) unsafe.Pointer {
	if c == nil {
		panic(errNotNew)
	}
	u, i := refs.find(c.spec, id)
	if u == nil {
		return nil
	}
	return u.slot(i)
}

// putRef takes back the slot with an id, if there is one. Of several callers, the one whose
// compare-and-swap ends the generation does it.
func (c *core) putRef(id uint64) bool {
	if c == nil || c.shards.Load() == nil {
		panic(errNotNew)
	}
	x := c.deref(id) // keeps the slot, until it is free
	if x == nil {
		return false
	}
	s, err := c.enter("PutRef")
	if err != nil {
		return false
	}
	u, i := refs.find(c.spec, id)
	if u == nil || !u.raise(i, uint32(id>>32)) {
		c.leave(s)
		return false
	}
	if c.claims {
		pg, place, _ := c.find(uintptr(x))
		was := pg.claimSlot(place)
		c.leave(s)
		err = c.finishClaimed("PutRef", x, pg, place, was, true)
	} else {
		how := s.putAt(x)
		c.leave(s)
		err = c.finishPut("PutRef", x, how)
	}
	if err != nil {
		panic(err) // a Put of the slot has just ended as well
	}
	runtime.KeepAlive(x)
	return true
}

// putRefs is putRef for at most batchSize ids. It returns how many slots were put.
func (c *core) putRefs(ids []uint64) (n int) {
	if c == nil || c.shards.Load() == nil {
		panic(errNotNew)
	}
	if c.claims || c.goHeap {
		for _, id := range ids {
			n += count(c.putRef(id))
		}
		return n
	}
	var s *shard
	for _, id := range ids {
		if s == nil {
			var err error
			if s, err = c.enter("PutRefs"); err != nil {
				return n
			}
		}
		u, i := refs.find(c.spec, id)
		if u == nil {
			continue
		}
		x := u.slot(i)
		if !u.raise(i, uint32(id>>32)) {
			continue
		}
		n++
		if how := s.putAt(x); how != putDone {
			c.leave(s)
			s = nil
			if err := c.finishPut("PutRefs", x, how); err != nil {
				panic(err)
			}
		}
	}
	if s != nil {
		c.leave(s)
	}
	return n
}

// allPages returns the pages of c.
func (c *core) allPages() []*page {
	c.requireNew()
	c.depot.mu.Lock()
	defer c.depot.mu.Unlock()
	if c.depot.closed.Load() {
		panic(c.errClosed("All"))
	}
	return append(slices.Clone(c.depot.pages), c.guards.all...)
}

// liveRefs returns the ids of the slots of pg that are in use.
func (c *core) liveRefs(pg *page) (ids []uint64) {
	c.stopped(func([]*shard) {
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		if c.depot.closed.Load() || pg.guard == nil && !c.depot.has(pg) {
			return // it was released meanwhile, and its words may say anything
		}
		for i, word := range pg.links {
			if !inUse(word) {
				continue
			}
			if ids == nil {
				ids = make([]uint64, 0, pg.reserved)
			}
			ids = append(ids, c.makeRefs(pg).id(uint32(i)))
		}
	})
	return ids
}
