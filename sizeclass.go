package pool

import "math"

// The shape of slots and pages. This is arithmetic only: nothing here touches memory.
//
// The three page sizes and their limits are mimalloc's (Leijen, Zorn, de Moura: "Mimalloc: Free
// List Sharding in Action", 2019; include/mimalloc/types.h). Such a page holds at least eight slots,
// so that at most an eighth of it is lost to rounding, and several slots share the cost of fetching
// it. A slot above largeSlotMax has a page of its own, rounded up to whole granules, which is less
// than an eighth as well.

const (
	granuleShift = 16
	granuleSize  = 1 << granuleShift // bytes; the unit in which the arena hands out memory

	smallPageSize  = granuleSize      // slots up to smallSlotMax
	mediumPageSize = 8 * granuleSize  // slots up to mediumSlotMax
	largePageSize  = 64 * granuleSize // slots up to largeSlotMax

	smallSlotMax  = smallPageSize / 8
	mediumSlotMax = mediumPageSize / 8
	largeSlotMax  = largePageSize / 8

	// minStride keeps every slot index within 16 bits (smallPageSize/8 slots), and every slot
	// aligned for any Go type, since none needs more than 8.
	minStride = 8

	// maxAlign is the largest alignment of slots, in bytes. Every run of the arena begins at a
	// multiple of it (arena.reserve). It divides MaxSlotSize, so that no slot is rounded up beyond
	// that.
	maxAlign = 4096

	// heapSlots is how many slots a page of the Go heap has, if they are not too large for that.
	heapSlots = 64

	// carveBytes is how much of a page is carved at a time, so that a pool with few slots in use
	// touches few OS pages.
	carveBytes = 4096
)

// MaxSlotSize is the size of the largest T that a pool can hold, in bytes (64 MiB), on the Go heap
// too. What a pointer in T leads to does not count.
const MaxSlotSize = chunkSize

// A geometry is the shape of all pages of a pool. It is set once, in New.
type geometry struct {
	stride   uint32 // bytes from one slot to the next; a multiple of minStride
	pageSize uint32 // bytes
	slots    uint32 // slots in a page
	carve    uint32 // slots carved at a time
	recip    uint64 // ceil(2^64 / stride), see page.indexOf
	small    bool   // stride <= smallSlotMax; the retirement policy asks
}

// naturalAlign returns the alignment that every slot for objects of size bytes has: the largest
// power of two that divides size, up to maxAlign.
func naturalAlign(size uintptr) uintptr { return min(size&-size, maxAlign) }

// strideOf returns the room that an object of size bytes needs along with its red zone, so that
// slots at multiples of the stride are aligned to align, a power of two up to maxAlign, and to
// their natural alignment. What it rounds up belongs to the red zone in the debug build, and is
// lost otherwise. The largest slots have less of a red zone, or none.
func strideOf(size, align uintptr) uintptr {
	align = max(align, naturalAlign(size))
	return min((size+redZone+align-1)&^(align-1), MaxSlotSize)
}

// geometryOf returns the shape of pages for slots of size bytes, 0 < size <= MaxSlotSize.
func geometryOf(size uintptr) geometry {
	stride := uint32(size+minStride-1) &^ (minStride - 1)
	g := geometry{
		stride: stride,
		recip:  math.MaxUint64/uint64(stride) + 1,
		small:  stride <= smallSlotMax,
	}
	switch {
	case stride <= smallSlotMax:
		g.pageSize = smallPageSize
	case stride <= mediumSlotMax:
		g.pageSize = mediumPageSize
	case stride <= largeSlotMax:
		g.pageSize = largePageSize
	default:
		g.pageSize = (stride + granuleSize - 1) &^ (granuleSize - 1)
	}
	g.slots = g.pageSize / stride
	g.carve = max(carveBytes/stride, 1)
	return g
}

// geometryOnHeap returns the shape of pages on the Go heap for slots of size bytes, which the
// garbage collector scans or not.
//
// A slot that the program holds keeps its whole page from the collector. So these pages are
// smaller than others: the smallest of 8, 16, 32 and 64 KiB that has heapSlots slots, or, for
// slots above 8 KiB, as much as eight of them take; above mediumSlotMax, a page has one. Their
// sizes are such that Go gives each page 8 KiB blocks of its own: up to 32 KiB, those of its size
// classes that have one object in a span, less the 8 bytes in front of an object with pointers
// (internal/runtime/gc/sizeclasses.go, malloc.go), and above, any (objects of that size have whole
// spans). Because of these 8 bytes, a page is above 32 KiB if slots with pointers are to be
// aligned to more.
func geometryOnHeap(size, align uintptr, scanned bool) geometry {
	g := geometryOf(size)
	slots := func(pageSize uint32) uint32 {
		if scanned && pageSize <= 32<<10 {
			pageSize -= 8
		}
		return pageSize / g.stride
	}
	g.pageSize = 8 << 10
	if scanned && align > 8 {
		g.pageSize = 40 << 10
	}
	for g.pageSize < 64<<10 && slots(g.pageSize) < heapSlots {
		g.pageSize = min(2*g.pageSize, 64<<10)
	}
	if g.slots = slots(g.pageSize); g.slots < 8 {
		if g.slots = 8; g.stride > mediumSlotMax {
			g.slots = 1
		}
		g.pageSize = (g.slots*g.stride + 8<<10 - 1) &^ (8<<10 - 1)
	}
	return g
}

// bound makes pages no larger than n slots need, which is no more than they have.
func (g *geometry) bound(n uint32) {
	g.slots = n
	g.pageSize = (n*g.stride + granuleSize - 1) &^ (granuleSize - 1)
}

// boundOnHeap is bound for pages on the Go heap. A page has a size that geometryOnHeap could give it:
// with an array that is large enough for the size class of the page (the class before is 7/8 of it),
// or above 32 KiB.
func (g *geometry) boundOnHeap(n uint32, align uintptr, scanned bool) {
	g.slots = n
	for size := uint32(8 << 10); size <= 32<<10 && !(scanned && align > 8); size *= 2 {
		array := (size - 8) / g.stride * g.stride
		if array >= n*g.stride && array > size/8*7 {
			g.pageSize = min(g.pageSize, size)
			return
		}
	}
	n = max(n, 32<<10/g.stride+1)
	g.pageSize = min(g.pageSize, (n*g.stride+8<<10-1)&^(8<<10-1))
}

// inSlot0 reports whether the lower 12 bits of addr are those of slot 0 or of the rest of its cache
// line. Processors compare these bits to tell whether a load depends on a store before it. Slot 0,
// which a program that holds few objects gets over and over, begins where an OS page begins. What
// Get and Put read right after the program has written there must differ in these bits. (A Get+Put
// pair took 1.7 times as long with the links in such a place, and 1.2 times with the page's owner
// line.)
func inSlot0(addr uintptr) bool { return addr%4096 < 64 }

// granules returns how many of the arena's granules a page takes: 1, 8, 64, or for one large slot up
// to 1024.
func (g geometry) granules() int { return int(g.pageSize >> granuleShift) }
