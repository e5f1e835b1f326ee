package pool

import (
	"sync/atomic"
	"unsafe"
)

// From an address to its page and slot. Put has nothing but an address, and it may be any address
// at all. So this file reads only tables, and never the memory at the address.

// The tables are apart from the arena because Put reads them. mainRegion and mainTable are written
// before any pool exists (arenaInit). moreRegions is replaced as a whole.
var (
	mainRegion  region
	mainTable   [mainChunks]chunkEntry
	moreRegions unsafe.Pointer // a *[]*region, atomic
)

// noChunk stands in a region's table for a chunk that is not open yet.
var noChunk = new(chunk)

// A chunkEntry is a place for a chunk, and a pageEntry is one for a page. Any P, atomic. (They are no
// atomic.Pointer because the fast path of Put may not call its methods: see own_nosplit.go.)
type (
	chunkEntry struct{ p unsafe.Pointer }
	pageEntry  struct{ p unsafe.Pointer }
)

func (e *chunkEntry) load() *chunk { return (*chunk)(atomic.LoadPointer(&e.p)) }

func (e *chunkEntry) store(ch *chunk) { atomic.StorePointer(&e.p, unsafe.Pointer(ch)) }

func (e *pageEntry) load() *page { return (*page)(atomic.LoadPointer(&e.p)) }

func (e *pageEntry) store(pg *page) { atomic.StorePointer(&e.p, unsafe.Pointer(pg)) }

// find returns the page and the index of the slot at addr. It reports false if addr is not the
// address of a slot of this pool. Any P.
func (sp *spec) find(addr uintptr) (pg *page, i uint32, ok bool) {
	pg = pageOf(addr)
	i, ok = pg.indexOf(addr)
	return pg, i, ok && pg.spec == sp
}

// pageOf returns the page that covers addr, or noPage. Any P, at any time. While the page at an
// address is being released, the answer is that page or noPage, and either leads Put to a clear
// error.
func pageOf(addr uintptr) *page {
	if pg := pageOfMain(addr); pg != noPage {
		return pg
	}
	return pageOfMore(addr)
}

// pageOfMain is pageOf for the first region, for fast paths.
func pageOfMain(addr uintptr) *page {
	off := addr - mainRegion.base
	if off >= mainRegion.size {
		return noPage
	}
	return mainTable[off>>chunkShift%mainChunks].load().pageAt(off)
}

// pageAt returns the page at an offset from the start of the chunk, or of its region.
func (ch *chunk) pageAt(off uintptr) *page {
	return ch.pages[off>>granuleShift%chunkGranules].load()
}

// pageOfMore looks in the regions after the first.
func pageOfMore(addr uintptr) *page {
	more := (*[]*region)(atomic.LoadPointer(&moreRegions))
	if more == nil {
		return noPage
	}
	for _, r := range *more {
		if off := addr - r.base; off < r.size {
			return r.chunks[off>>chunkShift].load().pageAt(off)
		}
	}
	return noPage
}

// inArena reports whether addr is in a region.
func inArena(addr uintptr) bool {
	theArena.mu.Lock()
	defer theArena.mu.Unlock()
	for _, r := range theArena.regions {
		if addr-r.base < r.size {
			return true
		}
	}
	return false
}

// publish makes pageOf answer pg for the memory of r.
func (r run) publish(pg *page) {
	for i := range r.n {
		r.chunk.pages[r.first+i].store(pg)
	}
}
