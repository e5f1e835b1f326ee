package pool

import (
	"fmt"
	"reflect"
	"runtime"

	"github.com/warmpage/pool/internal/hook"
)

// A spec is what a pool was made to be: the shape of its slots, and what the options of New say.
// It is set once, in New, and every storey of the pool reads it. A page points to the spec of its
// pool; that is how Put tells the slots of one pool from those of another.
type spec struct {
	geo     geometry
	size    uintptr      // of an object, in bytes; geo.stride is at least that
	family  *family      // what the classes of a Bytes share; nil for a pool
	class   uint8        // which class of a Bytes it is: see classOf
	keeps   bool         // WithInit: Get and Put leave objects alone
	claims  bool         // Put resets or clears: see contents.go
	goHeap  bool         // WithGoHeap
	scanned bool         // the garbage collector looks into slots: T has pointers
	align   uintptr      // WithAlign, in bytes; 1: as the size says
	slots   reflect.Type // of a slice of slots, for pages of the Go heap

	// pool keeps a pool alive that is not on the Go heap, as long as it has a page: until it is closed.
	pool *core

	id         uint64  // no other pool of the process has it
	name       string  // WithName
	typeName   string  // T, as in main.Order
	maxPages   int     // WithLimit; 0: no limit, or one that classes share
	maxSlots   int     // WithMaxSlots; 0: no bound
	warmPages  int     // WithWarmPages, WithWarmSlots
	sampler    sampler // WithProfile
	guardEvery uint32  // WithGuardSampling: slow Gets for each one that is guarded; 0: none is
	promotion  uint32  // hook.Reset, except where its worth is measured
}

// newSpec returns the spec of a pool of t, or says which option makes no sense.
func newSpec(t reflect.Type, o options) (*spec, error) {
	size := t.Size()
	sp := &spec{
		size:      size,
		family:    o.family,
		class:     o.class,
		keeps:     o.init.f != nil,
		goHeap:    o.goHeap,
		name:      o.name,
		typeName:  t.String(),
		maxSlots:  o.maxSlots,
		promotion: hook.Promotion.Load(),
	}
	if sp.family != nil {
		sp.typeName = fmt.Sprintf("[%d]byte", size) // as people write it
	}
	if err := o.checkAlign(sp); err != nil {
		return nil, err
	}
	if _, pointer := findPointer(t, ""); pointer != nil {
		sp.scanned = true
	}
	sp.align = uintptr(max(o.align, 1))
	if stride := strideOf(size, sp.align); sp.goHeap {
		sp.geo = geometryOnHeap(stride, sp.align, sp.scanned)
		if sp.keeps && sp.scanned && sp.geo.slots > 2*heapSlots {
			sp.geo.slots = heapSlots // so that one slot in use keeps fewer buffers of others
		}
		sp.slots = slotsOf(t, uintptr(sp.geo.stride))
	} else {
		sp.geo = geometryOf(stride)
	}
	if sp.maxSlots > 0 {
		sp.bound(o.limit != 0)
	}
	if sp.keeps {
		sp.geo.carve = 1 // see page.carve
	}
	sp.claims = o.reset.f != nil || sp.clearedOnPut()
	if err := o.check(sp, int64(sp.geo.pageSize)); err != nil {
		return nil, err
	}
	sp.maxPages = int(min(o.limit/int64(sp.geo.pageSize), maxInt))
	sp.warmPages = max(o.warmPages, pagesFor(o.warmSlots, int(sp.geo.slots)))
	sp.sampler = samplerOf(o.profileRate, sp.geo.stride)
	if offHeap && !sp.goHeap {
		sp.guardEvery = uint32(o.guardEvery)
	}
	return sp, nil
}

// carveNext returns how many slots of pg are to be carved at a time: carveBytes of them, or of larger
// slots as many as are carved already, so that few of the first Gets are slow.
func (sp *spec) carveNext(pg *page) uint32 {
	if sp.geo.carve > 1 || sp.keeps { // see page.carve
		return sp.geo.carve
	}
	return max(pg.capacity, 1)
}

// bound makes the pages of a pool with WithMaxSlots no larger than needed. Off the Go heap, each P can
// have a page of its own, if there are enough slots for each to carve some: Ps that share a page have
// to search for its slots. A limit to memory calls for few pages, and so do pages of the Go heap,
// which take all of their memory at once.
func (sp *spec) bound(isLimited bool) {
	n := sp.maxSlots
	if !isLimited && !sp.goHeap {
		n = max((n-1)/runtime.GOMAXPROCS(0)+1, min(n, int(sp.geo.carve)))
	}
	if n := uint32(min(n, int(sp.geo.slots))); sp.goHeap {
		sp.geo.boundOnHeap(n, sp.align, sp.scanned)
	} else {
		sp.geo.bound(n)
	}
}

const maxInt = int64(^uint(0) >> 1)

// String names the pool in messages: pool "orders" (main.Order), or bytes "bodies" (class of 1024
// bytes).
func (sp *spec) String() string {
	if sp.family != nil {
		return fmt.Sprintf("%s (class of %d bytes)", sp.family, sp.size)
	}
	if sp.name == "" {
		return fmt.Sprintf("pool (%s)", sp.typeName)
	}
	return fmt.Sprintf("pool %q (%s)", sp.name, sp.typeName)
}

// pagesFor returns how many pages hold so many slots.
func pagesFor(slots, perPage int) int {
	if slots == 0 {
		return 0
	}
	return (slots-1)/perPage + 1
}
