package pool

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// A page is one run of arena memory cut into equal slots, together with the
// bookkeeping of which slots are free. The bookkeeping is apart from the slots,
// on the Go heap and behind the last slot: a write after Put cannot corrupt it,
// and memory is touched only where slots are used.
//
// Free slots are in one of four places, each with its own writer (those parked by
// shards count as used):
//
//   - the bump range [bump, capacity): carved, in address order, owner only
//   - free: the list that Get pops, owner only
//   - localFree: the list that the owner's Put pushes, owner only; a Get that
//     has to look at it counts as slow
//   - remoteFree: the list that everybody else pushes, by compare-and-swap;
//     the owner takes all of it at once, so there is no ABA problem
//
// The lists are linked through links, one 2-byte word a slot: the index of the
// next free slot, none, or what the slot is if it is on no list.
//
// Invariants, with |free| counting the bump range (see page.check):
//
//	used + |free| + |localFree| == capacity
//	bump <= capacity <= reserved == len(links)
//	|remoteFree| + slots parked by shards <= used
//
// that is: a slot on remoteFree, or parked, still counts as used. used == 0 therefore means that no reference to
// the page is left anywhere but with its owner.
//
// The split of the free list and its order of use are mimalloc's. Unlike
// mimalloc, links are indexes outside the slots, and an all-free page is a
// bump range rather than a list (see reset).
//
// The three parts are on cache lines of their own: what every P reads, what the
// owner writes, and what the others write. Without this, one foreign Put costs
// the owner a cache miss on every Get.
type page struct {
	pageShared
	pageOwned
	_ [8]byte

	// remote packs the head of remoteFree (bits 0-15), its length (bits 16-31),
	// the owned bit (32) and its tail (bits 33-48). Any P, atomic.
	remote atomic.Uint64

	mem   run    // set once
	guard *guard // not nil: see guard.go; set once
	_     [64 - 8 - 24]byte
}

// pageShared is set once before the page is published in the arena's table, and
// read by any P; but for owner and refs.
type pageShared struct {
	base   unsafe.Pointer // first slot
	links  []uint16       // one word a slot; who may write a word is said at each use
	core   *core          // the pool that this page belongs to
	recip  uint64         // geometry.recip
	stride uint32

	// owner is the id of the shard that owns the page, or noOwner. It changes
	// only in the hands of whoever holds the owned bit of remote; a shard that
	// reads its own id here therefore knows that the page is its own.
	owner atomic.Uint32

	// refs is nil until the first Ref of a slot of the page. See ref.go.
	refs atomic.Pointer[refUnit]
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
	retired    bool   // kept though it was empty, and not seen in use since
	freeIsZero bool   // the bump range was never handed out since the OS gave it zeroed
	expires    uint32 // shard.tick at which a retired page is released
	next, prev *page

	// Under core.mu.
	index  uint32 // place in core.pages
	listed uint32 // place in core.partial + 1, if it is there
}

// What a word of page.links can hold besides the index of a slot. A page has
// at most smallPageSize/minStride = 8192 slots, so these cannot be indexes.
const (
	none    = 0xffff // end of a list
	taken   = 0xfffe // handed out by Get
	parking = 0xfffd // put, and waiting in the parking lot of a shard
	watched = 0xfffc // handed out by Get, and Put has more to do: see watch.go
	kept    = 0xfffb // was watched, and is in the hands of its Put, or in quarantine (debug_on.go)
)

// inUse reports whether the slot of a word has a user.
func inUse(word uint16) bool { return word == taken || word == watched }

// isCounted reports whether the slot of a word on no list counts as used.
func isCounted(word uint16) bool { return word >= kept && word != none }

// Owners that are no shard's id.
const (
	noOwner = 0
	inLimbo = 1<<32 - 1 // owned, on its way from one shard to another
)

const (
	remoteEmpty = uint64(none)
	remoteOwned = uint64(1) << 32
)

func remoteHead(w uint64) uint32  { return uint32(uint16(w)) }
func remoteCount(w uint64) uint32 { return uint32(uint16(w >> 16)) }
func remoteTail(w uint64) uint32  { return uint32(uint16(w >> 33)) }

func remoteWord(head, tail, count uint32, owned uint64) uint64 {
	return uint64(head) | uint64(count)<<16 | owned | uint64(tail)<<33
}

// pageList says on which list of its owner a page is.
type pageList uint8

const (
	onNone    pageList = iota // current page of a shard, or of no shard
	onQueue                   // shard.queue: has a free slot
	onRetired                 // shard.retired: all slots free, kept warm
)

// noPage stands for no page, as the current page of a shard and in the arena's
// table: it has no slots and no pool, so that the fast paths need no nil check.
// Never written.
var noPage = &page{pageOwned: pageOwned{free: none, localFree: none}}

// newPage makes of an empty header the bookkeeping for mem. It returns an owned page that no shard
// has attached yet.
func newPage(c *core, pg *page, mem run) *page {
	g := &c.geo
	pg.base = unsafe.Pointer(unsafe.SliceData(mem.mem(int(mem.n))))
	pg.links = newLinks(g, mem)
	pg.core = c
	pg.recip = g.recip
	pg.stride = g.stride
	pg.free = none
	pg.localFree = none
	pg.reserved = g.slots
	pg.mem = mem
	pg.remote.Store(remoteEmpty | remoteOwned)
	return pg
}

// newLinks makes the words for the slots of the page in mem. In the page they are
// invisible to the garbage collector, which would otherwise have two objects a
// page to mark, and go back to the OS along with it.
func newLinks(g *geometry, mem run) []uint16 {
	if g.linksAt != 0 {
		at := unsafe.Pointer(&mem.mem(int(mem.n))[g.linksAt])
		links := unsafe.Slice((*uint16)(at), g.slots)
		if !mem.zeroed {
			clear(links) // another page's words: none may say taken
		}
		return links
	}
	const line = 64 / 2
	words := make([]uint16, g.slots+line)
	if inSlot0(address(&words[0])) {
		return words[line:]
	}
	return words[:g.slots:g.slots]
}

// newHeader cuts an empty page from a slab: a pool with many pages has fewer, larger
// objects for the garbage collector to mark. A slab of 1, 2, 4, 8 or 16 pages
// begins on a cache line.
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

// slot returns the address of slot i. i < reserved.
func (pg *page) slot(i uint32) unsafe.Pointer { return slotAt(pg.base, i, pg.stride) }

// slotAt returns the address of the slot i behind that at first.
func slotAt(first unsafe.Pointer, i, stride uint32) unsafe.Pointer {
	return unsafe.Add(first, uintptr(i)*uintptr(stride))
}

// link returns the word of slot i without a bounds check. i < reserved, which is
// len(links).
func (pg *page) link(i uint32) *uint16 {
	return (*uint16)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(pg.links)), uintptr(i)*2))
}

// indexOf returns the index of the slot at addr, and false if no slot starts
// there. For an offset within the page, the upper half of
// offset*ceil(2^64/stride) is the quotient, and the lower half is below
// ceil(2^64/stride) exactly if there is no remainder (Lemire, Kaser, Kurz:
// "Faster Remainder by Direct Computation", 2019). For an offset beyond the last
// slot, negative ones included, the upper half is reserved or more.
func (pg *page) indexOf(addr uintptr) (uint32, bool) {
	hi, lo := bits.Mul64(uint64(addr-uintptr(pg.base)), pg.recip)
	return uint32(hi), lo < pg.recip && hi < uint64(pg.reserved)
}

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

// popBumps is popBump for as many slots as dst has room for, or there are. It
// returns how many.
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
// A list that leads out of the page is treated as ended. Two Puts of one slot at
// the same time can do that to it, which no check of ours catches for certain;
// this way it costs slots, and no memory but theirs.
func (pg *page) popFree() unsafe.Pointer {
	i := pg.free
	if i >= pg.reserved {
		return nil
	}
	word := pg.link(i)
	pg.free = uint32(*word)
	*word = taken
	pg.used++
	return pg.slot(i)
}

// ready reports whether there is a slot to pop. Owner only.
func (pg *page) ready() bool { return pg.bump < pg.capacity || pg.free < pg.reserved }

// push puts slot i on localFree, or reports false if it is not taken. Owner only.
// The caller looks at used.
//
// Get's store of taken, and an earlier Put's store of anything else, are ordered
// before the load here by whatever handed the slot from that goroutine to this
// one.
func (pg *page) push(i uint32) bool {
	word := pg.link(i)
	if *word != taken {
		return false
	}
	*word = uint16(pg.localFree)
	pg.localFree = i
	pg.used--
	return true
}

// mayBeTaken reports whether slot i of a page that the caller does not own may be
// in use. It looks only if nobody owns the page: then nobody writes its words, and
// they are in all caches. Any P.
func (pg *page) mayBeTaken(i uint32) bool {
	return pg.owner.Load() != noOwner || *pg.link(i) == taken
}

// pushRemote gives the owner a chain of n slots that links already joins from
// first to last. It reports false, and has done nothing, if nobody owns the
// page. Any P.
//
// The words of the chain belong to the caller, who alone knows these slots are
// free; the successful compare-and-swap publishes them to the owner, whose Swap
// in takeRemote reads them. The list may have been taken and refilled between
// the Load and the CompareAndSwap: then an equal word means an equal head, and
// the link that was written is right.
func (pg *page) pushRemote(first, last, n uint32) bool {
	for {
		w := pg.remote.Load()
		if w&remoteOwned == 0 {
			return false
		}
		*pg.link(last) = uint16(remoteHead(w))
		tail := last
		if remoteCount(w) != 0 {
			tail = remoteTail(w)
		}
		yieldPoint()
		if pg.remote.CompareAndSwap(w, remoteWord(first, tail, remoteCount(w)+n, remoteOwned)) {
			return true
		}
	}
}

// takeRemote takes the whole of remoteFree, a list of n slots from first to last.
// Owner only. The Swap reads what each pushRemote published.
func (pg *page) takeRemote() (first, last, n uint32) {
	if remoteCount(pg.remote.Load()) == 0 {
		return none, none, 0
	}
	yieldPoint()
	w := pg.remote.Swap(remoteEmpty | remoteOwned)
	pg.used -= remoteCount(w)
	return remoteHead(w), remoteTail(w), remoteCount(w)
}

// refill makes a page that has nothing ready ready: by what was put back, first
// localFree, else remoteFree, and by carving up to n slots if that is little.
// Owner only. The lists are whole lists that replace an empty free, so nothing is
// walked.
func (pg *page) refill(n uint32) bool {
	back := pg.capacity - pg.used // |localFree|
	if back != 0 {
		pg.useLocal()
	} else if pg.free, _, back = pg.takeRemote(); back != 0 {
		pg.freeIsZero = false
	}
	// A page of which nearly all carved slots are in use would otherwise come
	// here again at once, and for as long as it stays so.
	if back == 0 || back < n/4 {
		pg.carve(n)
	}
	return pg.ready()
}

// useLocal makes localFree, which is not empty, the new free. Owner only, with
// nothing ready.
func (pg *page) useLocal() {
	pg.free, pg.localFree = pg.localFree, none
	pg.freeIsZero = false
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
	*pg.link(last) = uint16(pg.localFree)
	pg.localFree = first
}

// carve opens up to n more slots. Owner only, with an empty bump range.
func (pg *page) carve(n uint32) {
	if n = min(n, pg.reserved-pg.capacity); n != 0 {
		pg.capacity += n
		pg.freeIsZero = pg.mem.zeroed
	}
}

// reset makes all carved slots of an empty page free in address order: the bump
// range starts over and the lists are dropped. O(1), and used == 0 says that
// no list but the dropped ones refers to a slot. The words of the slots keep
// stale links, which is as good as any value that is not taken.
//
// This is promotion: the next Get stays on its fast path. Resetting costs no more
// than to move localFree to free, and also undoes any disorder in which the slots
// were put. In mimalloc that was worth a third of the time; here, where links are
// not in the slots, no difference has been measured (docs/performance.md).
func (pg *page) reset() {
	pg.bump = 0
	pg.free = none
	pg.localFree = none
	pg.freeIsZero = false
}

// full reports whether no slot is free, as far as the owner can see without
// looking at remoteFree. Owner only.
func (pg *page) full() bool { return pg.used == pg.reserved }

// claim makes the caller the owner of a page that nobody owns. Any P. The
// compare-and-swap reads what disown published: the owner-only fields.
func (pg *page) claim() bool {
	for {
		w := pg.remote.Load()
		if w&remoteOwned != 0 {
			return false
		}
		yieldPoint()
		if pg.remote.CompareAndSwap(w, w|remoteOwned) {
			return true
		}
	}
}

// disown gives the page up if remoteFree is empty. Owner only; after it returned
// true the caller must not touch the page. The compare-and-swap publishes the
// owner-only fields to the next claim, and fails if a slot came home, so that
// a page without owner never has a free slot that nobody will look for.
func (pg *page) disown() bool {
	owner := pg.owner.Load()
	pg.owner.Store(noOwner)
	yieldPoint()
	if pg.remote.CompareAndSwap(remoteEmpty|remoteOwned, remoteEmpty) {
		return true
	}
	pg.owner.Store(owner)
	return false
}

// abandon gives up a page that may have free slots. Owner only, and only once
// core.partial refers to the page: what lies on its lists is found through that.
func (pg *page) abandon() {
	pg.owner.Store(noOwner)
	for {
		w := pg.remote.Load()
		yieldPoint()
		if pg.remote.CompareAndSwap(w, w&^remoteOwned) {
			return
		}
	}
}

// clean reports whether no slot of a page without owner and users is taken or
// parked all the same. A correct program has no such slot; two Puts of one slot
// at the same time can make the count of used slots say so.
func (pg *page) clean() bool {
	for _, word := range pg.links {
		if isCounted(word) {
			return false
		}
	}
	return true
}

// address returns p as a number.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// startOf returns a pointer to where mem begins.
func startOf(mem []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(mem)) }

// addressOf returns where mem begins.
func addressOf(mem []byte) uintptr { return uintptr(startOf(mem)) }

// memoryAt returns size bytes of memory that is not Go's.
//
//lint:ignore U1000 where the system returns a number
func memoryAt(addr, size uintptr) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), addr)), size)
}

// zero clears a slot. (To assign T's zero value would take a copy of it, which for a
// large T is made on the Go heap.)
func zero[T any](x *T) { clear(bytesAt(unsafe.Pointer(x), int(unsafe.Sizeof(*x)))) }

// bytesAt returns the n bytes at x.
func bytesAt(x unsafe.Pointer, n int) []byte { return unsafe.Slice((*byte)(x), n) }

// pointers views a slice of typed pointers as one of untyped ones.
func pointers[T any](xs []*T) []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(xs))), len(xs))
}
