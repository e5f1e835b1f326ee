package pool

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// From an address to its page and slot. Put has nothing but an address, and it may be any address
// at all. So this file reads only tables, and never the memory at the address.
//
// There are two levels. The root has a leaf for each piece of address space in which pools have had
// memory, and a leaf has an entry for each step of that. Both are sparse: what was never written
// takes address space and no memory. Leaves are never given back.
//
// Entries are numbers, and the garbage collector looks at neither level. What keeps a page's header
// alive is chunk.pages. A header is entered there before the table has its number, and it leaves the
// table first (publish, withdraw). Whoever loads a number has a pointer to the header from that
// instruction on, as far as the collector is concerned: it finds it in the goroutine's registers or
// on its stack. If it has looked there already in this cycle, then the header was still in
// chunk.pages during this cycle, and the write barrier of its removal has marked it.

const (
	// tableStep is how much address space has one entry, in bytes. It is what the Go heap aligns
	// large objects to, and what the arena aligns reservations to.
	tableStep  = 1 << tableShift
	tableShift = 13

	lowerBits = 1<<addressBits - 1

	leafEntries = 1 << (leafShift - tableShift)
	rootEntries = 1 << (addressBits - leafShift)
)

// A leaf has the addresses of the headers of pages, and tableRoot has those of leaves. 0 means that
// there is none. Any P reads them: atomically, or in core.put as it reads fastTable. The holder of a
// run writes its entries, and whoever holds arena.mu writes tableRoot, both atomically.
type leaf [leafEntries]uintptr

// An address is looked up by its lower addressBits bits. (That is all bits of an address that a
// system gives to a program which does not ask for others. Where the upper bits are not 0, they are
// the same for all memory.)
var tableRoot [rootEntries]uintptr

// leaves keeps leaves alive where they are on the Go heap. It is under arena.mu.
var leaves [][]byte

// at returns what an entry leads to, or nil. (put does the same by a plain load: see own_nosplit.go.)
func at[T any](entry *uintptr) *T {
	return (*T)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(entry))))
}

// leafOf returns the leaf for addr, or nil.
func leafOf(addr uintptr) *leaf { return at[leaf](&tableRoot[addr>>leafShift%rootEntries]) }

// entry returns the entry for addr.
func (l *leaf) entry(addr uintptr) *uintptr { return &l[addr>>tableShift%leafEntries] }

// pageOf returns the page that covers addr, or noPage. Any P, at any time. While the page at an
// address is being released, the answer is that page or noPage, and either leads Put to a clear
// error.
func pageOf(addr uintptr) *page {
	pg := entryOf(addr)
	if pg == nil || (addr^pg.begin())&^lowerBits != 0 {
		return noPage
	}
	return pg
}

// entryOf returns what the table has for addr: the page that covers it, or one whose addresses have
// other upper bits, or nil. Any P, at any time.
func entryOf(addr uintptr) *page {
	if l := leafOf(addr); l != nil {
		return at[page](l.entry(addr))
	}
	return nil
}

// find returns the page and the index of the slot at addr. It reports false if addr is not the
// address of a slot of this pool. Any P.
func (sp *spec) find(addr uintptr) (pg *page, i uint32, ok bool) {
	pg = pageOf(addr)
	i, ok = pg.indexOf(addr)
	return pg, i, ok && pg.spec == sp && !pg.isOver()
}

// isOver reports whether pg is a page of the Go heap that its pool has released.
func (pg *page) isOver() bool { return pg.heap != nil && pg.heap.over.Load() }

// publish makes pageOf answer pg for the memory of r.
func (r run) publish(pg *page) {
	r.chunk.pages[r.first] = pg
	r.enter(uintptr(unsafe.Pointer(pg)))
}

// withdraw makes pageOf answer noPage for the memory of r.
func (r run) withdraw() {
	r.enter(0)
	r.chunk.pages[r.first] = nil
}

// enter writes the entries of r.
func (r run) enter(header uintptr) {
	mem := r.mem(int(r.n))
	for addr := addressOf(mem); addr-addressOf(mem) < uintptr(len(mem)); addr += tableStep {
		atomic.StoreUintptr(leafOf(addr).entry(addr), header)
	}
}

// makeLeaves makes the leaves for size bytes at first.
func makeLeaves(first, size uintptr) error {
	theArena.mu.Lock()
	defer theArena.mu.Unlock()
	return theArena.makeLeaves(first, size)
}

// makeLeaves makes the leaves for size bytes at first that are not there yet, a chunk at most. mu is
// held.
func (a *arena) makeLeaves(first, size uintptr) error {
	for _, addr := range []uintptr{first, first + size - 1} { // a leaf has no less than a chunk
		if leafOf(addr) != nil {
			continue
		}
		size := unsafe.Sizeof(leaf{})
		l, err := a.usable(size, &a.nextLeaf)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOutOfMemory, err)
		}
		leaves = append(leaves, l)
		atomic.StoreUintptr(&tableRoot[addr>>leafShift%rootEntries], addressOf(l))
	}
	return nil
}

// wasPage reports whether addr is where a page is or was. Most of a region is reserved only.
func wasPage(addr uintptr) bool {
	theArena.mu.Lock()
	defer theArena.mu.Unlock()
	for _, ch := range theArena.open {
		if off := addr - addressOf(ch.mem); off < uintptr(len(ch.mem)) {
			i := int(off >> granuleShift)
			return ch.used.has(i)
		}
	}
	return false
}
