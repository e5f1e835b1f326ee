package pool

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"
)

// Pages of the Go heap (WithGoHeap). The slots of such a page are an array that Go has allocated, so
// that they may hold pointers. All else is as with other pages: the words are elsewhere, the table
// leads to the header, and shards and depot have the page.
//
// What keeps the array alive is page.base. A page that nobody owns because it is full is weak: its
// base is nil, and there is nothing but a weak pointer to the array. So is a spare page after a while,
// if slots of it are in use. If the program has forgotten all of these, the collector takes the array,
// and the slots are lost (depot.lost). As long as the program has one of them, that keeps the whole
// array, because Go keeps whole objects.
//
// Slots of a weak page may be parked: a parking lot has pointers, which keep the array as well, and so
// do the stale entries behind them. What is free of a weak spare page goes with it.
//
// The owner of a page makes it weak, just before it gives the page up (page.disown, expireLocked), and
// whoever claims it makes it strong. A shard claims a page for a slot that it has a pointer to, and the
// pointer to the first slot follows from that (holdBy). The depot has none, and asks the weak pointer
// (claimStrong). That may park the goroutine, so nobody does it who cannot be preempted. (Whoever has
// seized shards can.)
//
// A Put of a slot in a weak page is slow: from a base of nil, the address is no slot. Its slow path
// asks the weak pointer first, because memory of another kind may be at the address by now
// (isCollected). If the page is there, so it is until the Put ends, because x is a pointer into it.
//
// What the table has is the number of a header. The header lives as long as the array, since the
// array's cleanup has a pointer to it, and until that cleanup has run, which takes the number out of
// the table. It compares, because the collector may have given the address to another page since.
// After a page was released, its header stays in the table as long as somebody has a pointer into
// the array. Such a header is over: its slots are no slots (spec.find), and a Put is told so.
//
// No reference leads from a page to its pool: page, spec, heapPages and refUnit do not have one. So
// a pool that the program has forgotten goes, whatever is out. Then heapPages.abandon ends its pages.
// (An object can lead to its pool. In a strong page, it keeps the pool: the cleanup's argument leads to
// the header, and that to the array.)

// A heapPage is what a page of the Go heap has besides.
type heapPage struct {
	addr uintptr            // of the first slot; set once
	weak weak.Pointer[byte] // to the first slot; set once
	over atomic.Bool        // the pool has released the page, or is closed or gone
	all  *heapPages         // set once
}

// heapPages are the pages of one pool.
type heapPages struct {
	mu    sync.Mutex // one of the last in the order of locks (see depot.mu)
	pages map[*page]struct{}
}

// heapBytes is what all pages of the Go heap together take.
var heapBytes atomic.Int64

// lastCollected is for collected.
var lastCollected atomic.Pointer[page]

// publishing is held by whoever enters a page of the Go heap in the table.
var publishing mutex

// newArray allocates the slots of a page, and more if the page is to have fewer than fit.
func (sp *spec) newArray() unsafe.Pointer {
	n := int(max(sp.geo.slots, (sp.geo.pageSize-8)/sp.geo.stride))
	if asanEnabled { // Go adds to sizes up to 32 KiB, and then several such arrays are in one span
		n = max(n, 32<<10/int(sp.geo.stride)+1)
	}
	return reflect.MakeSlice(sp.slots, n, n).UnsafePointer()
}

// slotsOf returns the type of a slice of slots for t that are stride bytes apart.
func slotsOf(t reflect.Type, stride uintptr) reflect.Type {
	if pad := stride - t.Size(); pad != 0 {
		t = reflect.StructOf([]reflect.StructField{
			{Name: "Slot", Type: t},
			{Name: "Rest", Type: reflect.ArrayOf(int(pad), reflect.TypeFor[byte]())},
		})
	}
	return reflect.SliceOf(t)
}

// newPage makes a page of the Go heap from an empty header. It is in transit, and in the table.
func (h *heapPages) newPage(sp *spec, header *page, slots uint32) (*page, error) {
	pg, err := newPage(sp, header, nil, slots)
	if err != nil {
		return nil, err
	}
	pg.heap = &heapPage{all: h}
	if err := pg.allocate(); err != nil {
		pg.words.release()
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pages == nil {
		h.pages = make(map[*page]struct{})
	}
	h.pages[pg] = struct{}{}
	heapBytes.Add(int64(sp.geo.pageSize))
	return pg, nil
}

// allocate allocates the slots of pg and enters them in the table. No two pages may share a step of
// the table. The sizes of geometryOnHeap are such that Go gives each array steps of its own, in all
// releases that we know, and where WithAlign wants more than 8 bytes, such that the array starts
// where Go starts large objects. (For the address sanitizer, see newArray.) In another release,
// arrays are allocated until one has what is wanted.
func (pg *page) allocate() error {
	var refused []unsafe.Pointer // so that they are not allocated again
	for range 64 {
		pg.base = pg.spec.newArray()
		first := (*byte)(pg.base)
		pg.heap.addr = address(first)
		pg.heap.weak = weak.Make(first)
		if err := makeLeaves(pg.heap.addr, uintptr(pg.spec.geo.pageSize)); err != nil {
			pg.base = nil
			return err
		}
		if pg.heap.addr&(pg.spec.align-1) == 0 && pg.enterAlone() {
			runtime.AddCleanup(first, whenCollected, pg)
			return nil
		}
		refused = append(refused, pg.base)
	}
	pg.base = nil
	runtime.KeepAlive(refused)
	return fmt.Errorf("%w: Go allocates no array of %d bytes that starts at a multiple of %d and shares no %d bytes with another page", ErrOutOfMemory, pg.spec.geo.pageSize, pg.spec.align, tableStep)
}

// end returns one past the last slot.
func (pg *page) end() uintptr { return pg.begin() + uintptr(pg.reserved)*uintptr(pg.stride) }

// enterAlone makes pageOf answer pg for the memory of its slots. If another page is there, it does
// nothing and reports false. One whose array the collector has taken is not there any more.
func (pg *page) enterAlone() bool {
	publishing.Lock()
	defer publishing.Unlock()
	from := pg.heap.addr &^ (tableStep - 1)
	for addr := from; addr < pg.end(); addr += tableStep {
		switch other := at[page](leafOf(addr).entry(addr)); {
		case other == nil:
		case !other.isDead():
			return false
		default:
			other.collected() // before anybody else's records have these addresses
		}
	}
	for addr := from; addr < pg.end(); addr += tableStep {
		atomic.StoreUintptr(leafOf(addr).entry(addr), address(pg))
	}
	return true
}

// isDead reports whether pg is a page whose slots the collector has taken. The caller has no shard.
func (pg *page) isDead() bool {
	return pg.heap != nil && pg.first() == nil && pg.heap.weak.Value() == nil
}

// isCollected reports whether there is no slot at x any more, because the collector has taken it. If
// it reports false, that remains so as long as x is alive. The caller has no shard.
func (c *core) isCollected(x unsafe.Pointer) bool { return c.goHeap && pageOf(uintptr(x)).isDead() }

// isAnyCollected is isCollected for a batch.
func (c *core) isAnyCollected(xs []unsafe.Pointer) bool {
	return c.goHeap && slices.ContainsFunc(xs, c.isCollected)
}

// weaken makes pg weak. Owner only. Where a Ref was given to a slot that is in use, the Ref keeps the
// slots.
func (pg *page) weaken() {
	pg.setBase(nil)
	if u := pg.firstUnit(); u != nil { // the only one: see geometryOnHeap
		u.letGo()
	}
}

// isStrong reports whether pg is a page of the Go heap that keeps its slots alive.
func (pg *page) isStrong() bool { return pg.heap != nil && pg.first() != nil }

// setBase changes base. Whoever holds the owned bit of remote does that.
func (pg *page) setBase(base unsafe.Pointer) { atomic.StorePointer(&pg.base, base) }

// holdBy makes pg strong, which the caller has claimed. A slot of it is at x.
func (pg *page) holdBy(x unsafe.Pointer) {
	if pg.heap != nil && pg.base == nil {
		pg.setBase(pg.firstBy(x))
	}
}

// claimStrong is claim for a caller that has no slot of the page, and no shard. It reports false if
// somebody owns the page, or if the collector has taken it.
func (pg *page) claimStrong() bool {
	if !pg.claim() {
		return false
	}
	if pg.heap != nil && pg.base == nil {
		first := pg.heap.weak.Value()
		if first == nil {
			return false // it stays claimed, until lost removes it
		}
		pg.setBase(unsafe.Pointer(first))
	}
	return true
}

// held returns the first slot of pg, or nil if the collector has taken it. Any goroutine that has no
// shard.
func (pg *page) held() unsafe.Pointer {
	if base := pg.first(); base != nil || pg.heap == nil {
		return base
	}
	return unsafe.Pointer(pg.heap.weak.Value())
}

// collected is told that the collector has taken the slots of pg. The pool forgets the page before the
// table does: from then on, another page may have the addresses, and be known by them.
func (pg *page) collected() {
	if c := coreOf(pg.spec); c != nil {
		c.slotsFreed(c.depot.lost(pg))
	}
	for addr := pg.heap.addr &^ (tableStep - 1); addr < pg.end(); addr += tableStep {
		atomic.CompareAndSwapUintptr(leafOf(addr).entry(addr), address(pg), 0)
	}
	// Somebody may have loaded the number just before. The store makes the collector mark the header in
	// this cycle, as publish has it for other pages.
	lastCollected.Store(pg)
}

// release lets go of a page that the pool does not want any more. It reports false if that was done
// before.
func (h *heapPages) release(pg *page) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.pages[pg]; !ok {
		return false
	}
	delete(h.pages, pg)
	pg.endHeap()
	return true
}

// endHeap ends a page of the Go heap.
func (pg *page) endHeap() {
	pg.heap.over.Store(true)
	pg.setBase(nil)
	pg.words.release()
	heapBytes.Add(-int64(pg.spec.geo.pageSize))
}

// abandon ends all pages of a pool that the program has forgotten.
func (h *heapPages) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for pg := range h.pages {
		refs.drop(pg)
		pg.endHeap()
	}
	h.pages = nil
}
