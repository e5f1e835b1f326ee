package pool

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// A page is one run of the arena's memory, cut into equal slots, together with the records of which
// slots are free. The records are apart from the slots, on the Go heap and in memory of their own
// (words.go): a write after Put cannot corrupt them, and memory is touched only where slots are used.
//
// Free slots are in one of four places, and each has its own writer. (Slots parked by shards count
// as used.)
//
//   - the bump range [bump, capacity): carved slots in address order; owner only
//   - free: the list that Get pops from; owner only
//   - localFree: the list that the owner's Put pushes to; owner only
//   - remoteFree: the list that all others push to, by compare-and-swap. The owner takes all of it
//     at once, so there is no ABA problem.
//
// The lists are linked through links, which has one 2-byte word for each slot: the index of the
// next free slot, or none, or what the slot is if it is on no list.
//
// Invariants, with |free| counting the bump range too (see page.check):
//
//	used + |free| + |localFree| == capacity
//	bump <= capacity <= reserved == len(links)
//	|remoteFree| + slots parked by shards <= used
//
// A slot on remoteFree, or parked, still counts as used. So used == 0 means that only the owner has
// any reference to the page.
//
// The split of the free list and its order of use are mimalloc's. Unlike mimalloc, links are
// indexes outside of the slots, and a page whose slots are all free is a bump range and not a list
// (see reset).
//
// The three parts have cache lines of their own: what every P reads, what the owner writes, and
// what the others write. Without that, one foreign Put costs the owner a cache miss on every Get.
type page struct {
	pageShared
	pageOwned

	remote atomic.Uint64 // a remoteState; any P

	mem   run       // set once; empty for a page of the Go heap
	words wordBlock // of links; set once
	guard *guard    // not nil for a guarded slot, see guard.go; set once
	heap  *heapPage // not nil for a page of the Go heap; set once

	unmade atomic.Bool // a slot on a list may be unmade; any P
	_      [64 - 8 - 40 - 8 - 4]byte
}

// pageShared is set once, before the arena's table has the page, and any P reads it. Only owner and
// refs change, and base of a page of the Go heap.
type pageShared struct {
	// base is the first slot. For a page of the Go heap it is what keeps the slots alive, and nil
	// while the page is weak: see heappages.go. Whoever does not own the page reads it by first.
	base   unsafe.Pointer
	links  []uint16 // one word for each slot; who may write a word is said at each use
	spec   *spec    // of the pool that the page belongs to
	recip  uint64   // geometry.recip
	stride uint32

	// owner is the id of the shard that owns the page, or noOwner, or inTransit. Only the goroutine
	// that holds the owned bit of remote changes it. A shard that reads its own id here therefore
	// knows that the page is its own.
	owner uint32 // atomic: see ownerID

	// refs is nil until the first Ref of a slot of the page. See ref.go.
	refs unsafe.Pointer // a *refUnit, atomic: see firstUnit
}

// pageOwned belongs to the owner of the page.
type pageOwned struct {
	bump       uint32
	capacity   uint32 // slots carved so far
	free       uint32
	localFree  uint32
	used       uint32
	reserved   uint32
	list       pageList
	retired    bool   // the page was kept although it was empty, and was not seen in use since
	isFresh    bool   // the bump range was never handed out: it is zero, or its objects are not made
	expires    uint32 // shard.now at which a retired page is released
	next, prev *page
	taker      *demand // of the shard that has taken it into use, perhaps not the owner; nil: it is empty

	// Under depot.mu.
	index  uint32 // place in depot.pages
	listed uint32 // place in depot.spare + 1, if it is there
}

// What a word of page.links can hold besides the index of a slot. A page has at most
// smallPageSize/minStride = 8192 slots, so none of these can be an index.
const (
	none    = 0xffff // end of a list
	taken   = 0xfffe // handed out by Get
	parking = 0xfffd // put, and waiting in the parking lot of a shard
	watched = 0xfffc // handed out by Get, and Put has more to do: see watch.go
	leaving = 0xfffb // was watched, and is in the hands of its Put, or in quarantine (debug_on.go)
)

// inUse reports whether the slot of a word has a user.
func inUse(word uint16) bool { return word == taken || word == watched }

// isCounted reports whether the slot of a word that is on no list counts as used.
func isCounted(word uint16) bool { return word >= leaving && word != none }

// A word of a free slot whose object is not made, though the slot has been handed out before, has
// the upper bits 01, and the index of the next free slot below them, or 1s for none. (Slots of the
// bump range need no mark: see page.carve.) These slots come from a WithInit or WithReset function
// that did not return. The fast path of Get leaves them to tryGet.
const unmade = 1 << 14

func isUnmade(word uint16) bool { return word>>14 == 1 }

// nextOf returns where the word of a free slot leads.
func nextOf(word uint16) uint32 {
	if word == unmade|(unmade-1) {
		return none
	} else if isUnmade(word) {
		return uint32(word) - unmade
	}
	return uint32(word)
}

// setNext makes slot i lead to next. It stays unmade if it is. The slot is the caller's.
func (pg *page) setNext(i, next uint32) {
	if word := pg.link(i); isUnmade(*word) {
		*word = unmade | uint16(next)&(unmade-1)
	} else {
		*word = uint16(next)
	}
}

// Owners that are no shard's id.
const (
	noOwner   = 0
	inTransit = 1<<32 - 1 // owned by the goroutine that brings the page from one place to another
)

// A remoteState is the value of page.remote: the head of remoteFree (bits 0-15), its length (bits
// 16-31), whether the page has an owner (bit 32), and the tail of remoteFree (bits 33-48).
type remoteState uint64

const (
	remoteEmpty = remoteState(none)
	remoteOwned = remoteState(1) << 32
)

// remoteList returns the state of an owned page with a list of n slots from head to tail.
func remoteList(head, tail, n uint32) remoteState {
	return remoteState(head) | remoteState(n)<<16 | remoteOwned | remoteState(tail)<<33
}

func (w remoteState) head() uint32  { return uint32(uint16(w)) }
func (w remoteState) count() uint32 { return uint32(uint16(w >> 16)) }
func (w remoteState) tail() uint32  { return uint32(uint16(w >> 33)) }
func (w remoteState) isOwned() bool { return w&remoteOwned != 0 }

// remoteState returns the state of remoteFree. Any P.
func (pg *page) remoteState() remoteState { return remoteState(pg.remote.Load()) }

// setRemote replaces a state of remoteFree by another one, if it is still the old one. Any P.
func (pg *page) setRemote(from, to remoteState) bool {
	return pg.remote.CompareAndSwap(uint64(from), uint64(to))
}

// pageList says on which list of its owner a page is.
type pageList uint8

const (
	onNone    pageList = iota // the current page of a shard, or no shard's
	onQueue                   // shard.queue: has a free slot
	onRetired                 // shard.retired: all slots free, kept warm
)

// noPage stands for no page, as the current page of a shard and in the arena's table. It has no
// slots and no pool, so that the fast paths need no check for nil. It is never written.
var noPage = &page{pageOwned: pageOwned{free: none, localFree: none}}

// newPage fills an empty header with the records for some slots at base. It returns a page in
// transit.
func newPage(sp *spec, pg *page, base unsafe.Pointer, slots uint32) (*page, error) {
	g := &sp.geo
	words, err := theArena.allocWords(slots)
	if err != nil {
		return nil, err
	}
	pg.base = base
	pg.links = unsafe.Slice((*uint16)(startOf(words.mem())), slots)
	pg.spec = sp
	pg.recip = g.recip
	pg.stride = g.stride
	pg.owner = inTransit
	pg.free = none
	pg.localFree = none
	pg.reserved = slots
	pg.words = words
	pg.remote.Store(uint64(remoteEmpty | remoteOwned))
	return pg, nil
}

// newHeader cuts an empty header from a slab, so that the garbage collector has fewer and larger
// objects to mark in a pool with many pages. A slab of 1, 2, 4, 8 or 16 headers begins on a cache
// line.
func newHeader(slab *[]page, pages int) *page {
	for {
		if len(*slab) == 0 {
			n := 1
			for n < 16 && n <= pages/8 {
				n *= 2
			}
			*slab = make([]page, n)
		}
		pg := &(*slab)[0]
		*slab = (*slab)[1:]
		if !inSlot0(address(pg)) && !inSlot0(address(&pg.bump)) {
			return pg
		}
	}
}

// ownerID returns the owner of the page: a shard's id, noOwner or inTransit. Any P. (owner is no
// atomic.Uint32 because the fast path of Put may not call its methods: see own_nosplit.go.)
func (pg *page) ownerID() uint32 { return atomic.LoadUint32(&pg.owner) }

// firstUnit returns the page's first unit for Refs, or nil. Any P.
func (pg *page) firstUnit() *refUnit { return (*refUnit)(atomic.LoadPointer(&pg.refs)) }

// setFirstUnit publishes u and its next ones to those who call firstUnit.
func (pg *page) setFirstUnit(u *refUnit) { atomic.StorePointer(&pg.refs, unsafe.Pointer(u)) }

// setOwner changes the owner. Only the goroutine that holds the owned bit of remote does that.
func (pg *page) setOwner(id uint32) { atomic.StoreUint32(&pg.owner, id) }

// slot returns the address of slot i. i < reserved.
func (pg *page) slot(i uint32) unsafe.Pointer { return slotAt(pg.base, i, pg.stride) }

// addressOf returns the address of slot i as a number, also of a weak page.
func (pg *page) addressOf(i uint32) uintptr { return pg.begin() + uintptr(i)*uintptr(pg.stride) }

// slotAt returns the address of the slot that is i slots behind the one at first.
func slotAt(first unsafe.Pointer, i, stride uint32) unsafe.Pointer {
	return unsafe.Add(first, uintptr(i)*uintptr(stride))
}

// link returns the word of slot i without a bounds check. i < reserved, which is
// len(links).
func (pg *page) link(i uint32) *uint16 {
	return (*uint16)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(pg.links)), uintptr(i)*2))
}

// first returns the first slot of a page that the caller need not own, or nil if the page is weak.
// Any P.
func (pg *page) first() unsafe.Pointer { return atomic.LoadPointer(&pg.base) }

// firstBy returns the first slot of a page that may be weak. A slot of it is at x. Any P.
func (pg *page) firstBy(x unsafe.Pointer) unsafe.Pointer {
	return unsafe.Add(x, -int(uintptr(x)-pg.begin()))
}

// begin returns the address of the first slot. Any P.
func (pg *page) begin() uintptr {
	if pg.heap != nil {
		return pg.heap.addr
	}
	return uintptr(pg.base)
}

// indexOf returns the index of the slot at addr, and false if no slot starts there. For an offset
// within the page, the upper half of offset*ceil(2^64/stride) is the quotient, and the lower half
// is below ceil(2^64/stride) exactly if there is no remainder (Lemire, Kaser, Kurz: "Faster
// Remainder by Direct Computation", 2019). For an offset beyond the last slot, and for a negative
// one, the upper half is reserved or more.
func (pg *page) indexOf(addr uintptr) (uint32, bool) {
	hi, lo := bits.Mul64(uint64(addr-pg.begin()), pg.recip)
	return uint32(hi), lo < pg.recip && hi < uint64(pg.reserved)
}

// slotAround returns the slot in which n bytes at x lie, and false if they lie in no slot, or not in
// one alone. base is the page's first slot. Any P.
//
// For any offset within the page, the upper half of the product in indexOf is the quotient. A page
// has less than 4 GiB.
func (pg *page) slotAround(base uintptr, x unsafe.Pointer, n int) (unsafe.Pointer, bool) {
	off := uintptr(x) - base
	i, _ := bits.Mul64(uint64(off), pg.recip)
	off -= uintptr(i) * uintptr(pg.stride) // into the slot
	if i >= uint64(len(pg.links)) || off+uintptr(n) > pg.spec.size {
		return nil, false
	}
	return unsafe.Add(x, -int(off)), true
}

// changeLink replaces the word of slot i, if it is still the old one. Any P. Words are written by
// plain stores otherwise; this is for a word that two goroutines may want to change. The one whose
// compare-and-swap succeeds owns the slot from there on, and the other one reads the new word. (Processors
// have no compare-and-swap for two bytes that Go offers, so it takes the neighbour along. There is
// one: a page has whole cache lines for its words, and a guard has two words.)
func (pg *page) changeLink(i uint32, from, to uint16) bool {
	at := pg.link(i)
	if raceEnabled { // the detector would see a race with what is done to the neighbour
		if *at != from {
			return false
		}
		*at = to
		return true
	}
	shift := i % 2 * 16
	if isBigEndian {
		shift = 16 - shift
	}
	both := (*uint32)(unsafe.Pointer(pg.link(i &^ 1)))
	for {
		w := atomic.LoadUint32(both)
		if uint16(w>>shift) != from {
			return false
		}
		yieldPoint()
		if atomic.CompareAndSwapUint32(both, w, w&^(0xffff<<shift)|uint32(to)<<shift) {
			return true
		}
	}
}

// isBigEndian says that the upper half of a number comes first in memory.
var isBigEndian = func() bool {
	n := uint16(1)
	return *(*byte)(unsafe.Pointer(&n)) == 0
}()

// popBump takes the lowest slot of the bump range, or returns nil. Owner only.
func (pg *page) popBump() unsafe.Pointer {
	i := pg.bump
	if i >= pg.capacity {
		return nil
	}
	pg.bump = i + 1
	*pg.link(i) = taken
	pg.used++
	return pg.slot(i)
}

// popBumps is popBump for as many slots as there are, up to the length of dst. It returns how many.
func (pg *page) popBumps(dst []unsafe.Pointer) int {
	i := pg.bump
	n := min(uint32(len(dst)), pg.capacity-i)
	words := pg.links[i:][:n]
	dst = dst[:n]
	for k := range dst {
		words[k] = taken
		dst[k] = pg.slot(i + uint32(k))
	}
	pg.bump += n
	pg.used += n
	return int(n)
}

// popFree takes the first slot of free, or returns nil. Owner only.
//
// Two Puts of one slot that race can put it on two lists, and no check catches them for certain. So
// a list ends where it leads out of the page, and where it leads to a slot that is in use: what
// follows is lost, but no slot is handed out twice, and no other memory is reached.
func (pg *page) popFree() (x unsafe.Pointer, isFresh bool) {
	i := pg.free
	if i >= pg.reserved {
		return nil, false
	}
	word := pg.link(i)
	if isCounted(*word) {
		pg.free = none
		return nil, false
	}
	isFresh = isUnmade(*word)
	pg.free = nextOf(*word)
	*word = taken
	pg.used++
	return pg.slot(i), isFresh
}

// ready reports whether there is a slot to pop. Owner only.
func (pg *page) ready() bool { return pg.bump < pg.capacity || pg.free < pg.reserved }

// push puts slot i on localFree. It reports false if the slot's word is not as given. Owner only. The
// caller looks at used.
//
// The load of the word comes after Get's store of taken, and after an earlier Put's store of
// anything else: whatever handed the slot from that goroutine to this one has ordered them.
func (pg *page) push(i uint32, from uint16) bool {
	word := pg.link(i)
	if *word != from {
		return false
	}
	*word = uint16(pg.localFree)
	pg.localFree = i
	pg.cameHome(1)
	return true
}

// pushRemote gives the owner a chain of n slots, which links joins from first to last. It reports
// false, and has done nothing, if nobody owns the page. Any P.
//
// The words of the chain belong to the caller, for only the caller knows that these slots are free.
// The successful compare-and-swap publishes them to the owner, whose Swap in takeRemote reads them.
// The list may have been taken and refilled between the Load and the CompareAndSwap. An equal state
// then means an equal head, and the link that was written is right.
func (pg *page) pushRemote(first, last, n uint32) bool {
	for {
		w := pg.remoteState()
		if !w.isOwned() {
			return false
		}
		pg.setNext(last, w.head())
		tail := last
		if w.count() != 0 {
			tail = w.tail()
		}
		yieldPoint()
		if pg.setRemote(w, remoteList(first, tail, w.count()+n)) {
			return true
		}
	}
}

// takeRemote takes the whole of remoteFree, a list of n slots from first to last. Owner only. The
// Swap reads what each pushRemote has published.
func (pg *page) takeRemote() (first, last, n uint32) {
	if pg.remoteState().count() == 0 {
		return none, none, 0
	}
	yieldPoint()
	w := remoteState(pg.remote.Swap(uint64(remoteEmpty | remoteOwned)))
	pg.cameHome(w.count())
	return w.head(), w.tail(), w.count()
}

// refill makes a page ready that has nothing ready: with what was put back, which is localFree or
// else remoteFree, and if that is little, by carving up to n slots. Owner only. A whole list
// replaces an empty free, so nothing is walked. isSlow says that it did more than to take localFree.
func (pg *page) refill(n uint32) (isReady, isSlow bool) {
	var back uint32
	if pg.localFree != none {
		back = pg.capacity - min(pg.used, pg.capacity) // |localFree|
		pg.useLocal()
	} else if pg.free, _, back = pg.takeRemote(); back != 0 {
		pg.isFresh = false
		isSlow = true
	}
	// Without this, a page whose carved slots are nearly all in use would come here again at once,
	// and again, for as long as it stays so.
	if back == 0 || back < n/4 {
		pg.carve(n)
		isSlow = true
	}
	if !pg.ready() {
		// The count says that slots are free, and no list has them. Two Puts of one slot have
		// raced, and these slots are lost. The page counts as full from here on.
		pg.used = pg.capacity
	}
	return pg.ready(), isSlow
}

// useLocal makes localFree, which is not empty, the new free. Owner only, and only if nothing is
// ready.
func (pg *page) useLocal() {
	pg.free, pg.localFree = pg.localFree, none
	pg.isFresh = false
}

// collect moves remoteFree to localFree and returns how many slots came home.
// Owner only. O(1): see the tail in remote.
func (pg *page) collect() int {
	first, last, n := pg.takeRemote()
	if n != 0 {
		pg.splice(first, last)
	}
	return int(n)
}

// splice puts a chain in front of localFree. Owner only; used is the caller's.
func (pg *page) splice(first, last uint32) {
	pg.setNext(last, pg.localFree)
	pg.localFree = first
}

// cameHome counts n slots that are not in use any more. After two Puts of one slot that raced, there
// may be more of them than used says. Owner only.
func (pg *page) cameHome(n uint32) { pg.used -= min(n, pg.used) }

// carve opens up to n more slots. Owner only, with an empty bump range, and if the pool has a
// WithInit function, for a Get that takes the slot at once (newSpec sees to it that n is 1 then). So
// the fast path of Get finds no slot in a bump range whose object is not made.
func (pg *page) carve(n uint32) {
	if n = min(n, pg.reserved-pg.capacity); n != 0 {
		pg.capacity += n
		pg.isFresh = pg.mem.zeroed || pg.heap != nil || pg.spec.keeps
	}
}

// reset makes all carved slots of an empty page free in address order: the bump range starts over,
// and the lists are dropped. It is O(1). used == 0 says that no other list refers to a slot. The
// words of the slots keep stale links, and any value other than taken will do.
//
// This is promotion: the next Get stays on its fast path. A reset costs no more than moving
// localFree to free, and it also undoes any disorder in which the slots were put. In mimalloc that
// was worth a third of the time. Here links are not in the slots, and no difference has been
// measured (docs/performance.md).
func (pg *page) reset() {
	pg.bump = 0
	pg.free = none
	pg.localFree = none
	pg.isFresh = false
}

// full reports whether no slot is free, as far as the owner can see without
// looking at remoteFree. Owner only.
func (pg *page) full() bool { return pg.used >= pg.reserved }

// claim makes the caller the owner of a page that nobody owns. Any P. The compare-and-swap reads
// the owner-only fields, which disown or disownSpare has published.
func (pg *page) claim() bool {
	for {
		w := pg.remoteState()
		if w.isOwned() {
			return false
		}
		yieldPoint()
		if pg.setRemote(w, w|remoteOwned) {
			return true
		}
	}
}

// disown gives the page up if remoteFree is empty. Owner only, for a full page. After it has
// returned true, the caller must not touch the page. The compare-and-swap publishes the owner-only
// fields to the next claim. It fails if a slot has come home, so that a page without owner never
// has a free slot that nobody will look for.
//
// A page of the Go heap is weak from then on: the collector takes it when nobody has any of its
// slots.
func (pg *page) disown() bool {
	owner, base := pg.ownerID(), pg.base
	for {
		if pg.heap != nil {
			pg.weaken()
			yieldPoint()
		}
		if pg.disownFull() {
			yieldPoint()
			// A Put may have ended the last Ref after weaken has looked. It could not claim the page
			// then, or it does so now.
			if !pg.keepsInVain() || !pg.claim() {
				return true
			}
		}
		if pg.heap != nil {
			pg.setBase(base)
		}
		pg.setOwner(owner)
		if !pg.full() || pg.remoteState().count() != 0 {
			return false
		}
	}
}

// disownFull is disown for a page that stays as it is, weak or not. If it reports false, the owner
// has to be set again.
func (pg *page) disownFull() bool {
	pg.setOwner(noOwner)
	yieldPoint()
	return pg.setRemote(remoteEmpty|remoteOwned, remoteEmpty)
}

// disownSpare gives up a page that may have free slots. Owner only, and only when depot.spare has
// the page: what lies on the page's lists is found through that.
func (pg *page) disownSpare() {
	pg.setOwner(noOwner)
	for {
		w := pg.remoteState()
		yieldPoint()
		if pg.setRemote(w, w&^remoteOwned) {
			return
		}
	}
}

// counted returns how many of the first n slots count as used, by their words. In a correct program
// there are none if used is 0. After two Puts of one slot that raced, used may be too low.
func (pg *page) counted(n uint32) (count uint32) {
	words := pg.links[:n]
	// Only what is no index has the upper bit set. Four words are looked at together.
	for len(words) >= 4 {
		const upper = 1<<15 | 1<<31 | 1<<47 | 1<<63
		if *(*uint64)(unsafe.Pointer(unsafe.SliceData(words)))&upper != 0 {
			for _, word := range words[:4] {
				if isCounted(word) {
					count++
				}
			}
		}
		words = words[4:]
	}
	for _, word := range words {
		if isCounted(word) {
			count++
		}
	}
	return count
}

// clean reports whether no slot of the page counts as used, by their words.
func (pg *page) clean() bool { return pg.counted(uint32(len(pg.links))) == 0 }

// address returns p as a number.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// startOf returns a pointer to where mem begins.
func startOf(mem []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(mem)) }

// addressOf returns where mem begins.
func addressOf(mem []byte) uintptr { return uintptr(startOf(mem)) }

// memoryAt returns size bytes of memory that is not Go's. It is for systems that return a number.
//
//lint:ignore U1000 for Windows
func memoryAt(addr, size uintptr) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), addr)), size)
}

// zero clears a slot. (Assigning T's zero value would take a copy of it, on the Go heap for a large
// T.)
func zero[T any](x *T) { clear(bytesAt(unsafe.Pointer(x), int(unsafe.Sizeof(*x)))) }

// bytesAt returns the n bytes at x.
func bytesAt(x unsafe.Pointer, n int) []byte { return unsafe.Slice((*byte)(x), n) }

// pointers views a slice of typed pointers as one of untyped ones.
func pointers[T any](xs []*T) []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(xs))), len(xs))
}
