package pool

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A model is two pools in an arena of their own, and an oracle that knows which slots they have
// handed out, what these hold, and which Refs they have. One goroutine does operations on the
// pools. The input says on which shard an operation runs, and what comes between an operation and
// the settling of its outbox. The scheduler has no part in that. Time passes only in ticks, and
// garbage is collected only where an operation says so.
//
// After each operation, no slot is in use twice, each slot in use holds what its user wrote, the
// counts of live and lost slots and the bytes that pools hold are exact, the invariants hold, and
// Refs resolve to their slots or to nothing. Each object of a pool with WithInit is made when its
// slot is handed out, and holds what it was left with. Put resets each object once.
type model struct {
	t      testing.TB
	arena  *arena
	pools  [2]*modelPool
	issued map[uint64]bool // ids of all Refs that were made
	stale  []staleRef
	stamp  uint64 // of the slot that was handed out last
	work   int    // how much is left to do before operations become small

	faults    map[string]int // how many system calls of each kind will fail
	fired     int            // how many system calls have failed
	dirty     bool           // a purge that fails leaves the old data, and says that the memory is gone
	committed int64          // at the end of the operation before
	purged    int64          // likewise
	units     int            // units of Refs that were in use at the start
	onHeap    bool           // a pool is on the Go heap
	collected int            // how often runtime.GC has run
}

// A staleRef is a Ref whose slot was put.
type staleRef struct {
	of *modelPool
	id uint64
}

// A modelPool is a pool and what the oracle knows of it.
type modelPool struct {
	*model
	api
	c       *core
	kind    int  // place in modelTypes
	size    int  // bytes of a slot that its user may write
	tagged  bool // slots have a pointer: see tag
	shards  []*shard
	live    []modelSlot
	out     map[unsafe.Pointer]bool // the slots of live
	put     []unsafe.Pointer        // some slots that were put
	refEach uint64                  // Gets for each Ref that is made; 0: none is

	forgotten map[uintptr]modelSlot // slots that nobody has and that are not collected yet; they have no x
	lost      uint64                // those that were collected

	kept      map[uintptr]keptObject // of a pool with WithInit: what free slots hold
	putting   map[uintptr]uint64     // slots that are about to be put, and what they hold
	undoing   bool                   // a batch gets slots, and may put them again
	failInits int                    // how many calls of the WithInit function will fail
	endReset  func(unsafe.Pointer)   // what the WithReset function does at its end

	// What goroutines that have lost their processors are about to do.
	outboxes []outbox // to settle
	inHand   []*page  // to attach
}

// A modelSlot is a slot in use.
type modelSlot struct {
	x     unsafe.Pointer
	stamp uint64 // the slot holds it at both ends
	ref   uint64 // 0: none was made
	given bool   // by Ref, and not only by All
	page  *page  // of a slot that is forgotten
}

// A keptObject is what a slot that is not in use has to hold.
type keptObject struct {
	stamp uint64
	page  *page // whose slot it is: another page may come to have the address
}

// An api is a Pool without its type.
type api interface {
	core() *core
	get() unsafe.Pointer
	getNoZero() unsafe.Pointer
	tryGet() (unsafe.Pointer, error)
	getBatch(xs []unsafe.Pointer)
	put(x unsafe.Pointer)
	putBatch(xs []unsafe.Pointer)
	ref(x unsafe.Pointer) uint64
	deref(id uint64) unsafe.Pointer
	putRef(id uint64) bool
	all() iter.Seq2[uint64, unsafe.Pointer]
}

type apiOf[T any] struct{ p *Pool[T] }

func newAPI[T any](opts ...Option) api { return apiOf[T]{New[T](opts...)} }

func typed[T any](xs []unsafe.Pointer) []*T {
	return unsafe.Slice((**T)(unsafe.Pointer(unsafe.SliceData(xs))), len(xs))
}

func (a apiOf[T]) core() *core { return &a.p.core }

func (a apiOf[T]) get() unsafe.Pointer { return unsafe.Pointer(a.p.Get()) }

func (a apiOf[T]) getNoZero() unsafe.Pointer { return unsafe.Pointer(a.p.GetNoZero()) }

func (a apiOf[T]) getBatch(xs []unsafe.Pointer) { a.p.GetBatch(typed[T](xs)) }

// put is Put. Go may not be told that x is a *T: a misuse may be another pool's slot, and smaller.
func (a apiOf[T]) put(x unsafe.Pointer) { a.p.core.put(x) }

func (a apiOf[T]) putBatch(xs []unsafe.Pointer) { a.p.PutBatch(typed[T](xs)) }

func (a apiOf[T]) ref(x unsafe.Pointer) uint64 { return a.p.core.ref(x) }

func (a apiOf[T]) deref(id uint64) unsafe.Pointer { return unsafe.Pointer(a.p.Deref(Ref[T]{id})) }

func (a apiOf[T]) putRef(id uint64) bool { return a.p.PutRef(Ref[T]{id}) }

func (a apiOf[T]) tryGet() (unsafe.Pointer, error) {
	x, err := a.p.TryGet()
	return unsafe.Pointer(x), err
}

func (a apiOf[T]) all() iter.Seq2[uint64, unsafe.Pointer] {
	return func(yield func(uint64, unsafe.Pointer) bool) {
		for r, x := range a.p.All() {
			if !yield(r.id, unsafe.Pointer(x)) {
				return
			}
		}
	}
}

// A modelType is a type of slots.
type modelType struct {
	size   int
	tagged bool
	make   func(...Option) api
	init   func(func(unsafe.Pointer)) Option // WithInit
	reset  func(func(unsafe.Pointer)) Option // WithReset
}

func modelTypeOf[T any]() modelType {
	typed := func(f func(unsafe.Pointer)) func(*T) { return func(x *T) { f(unsafe.Pointer(x)) } }
	var x T
	return modelType{
		size:  int(unsafe.Sizeof(x)),
		make:  newAPI[T],
		init:  func(f func(unsafe.Pointer)) Option { return WithInit(typed(f)) },
		reset: func(f func(unsafe.Pointer)) Option { return WithReset(typed(f)) },
	}
}

// A taggedSlot has a pointer, behind its first stamp.
type taggedSlot[Rest any] struct {
	stamp uint64
	tag   *uint64
	rest  Rest
}

func taggedTypeOf[Rest any]() modelType {
	t := modelTypeOf[taggedSlot[Rest]]()
	t.tagged = true
	return t
}

// modelTypes are the types of pools, by the size of a slot. There are some for each of the three
// sizes of pages, with links inside and outside of the page, and with one and several units of
// Refs. taggedTypes are similar ones with pointers.
var (
	modelTypes = [8]modelType{
		modelTypeOf[[64]byte](), modelTypeOf[[1000]byte](), modelTypeOf[[5000]byte](), modelTypeOf[[20000]byte](),
		modelTypeOf[[24]byte](), modelTypeOf[[8192]byte](), modelTypeOf[[700000]byte](), modelTypeOf[[8]byte](),
	}
	taggedTypes = [8]modelType{
		taggedTypeOf[[48]byte](), taggedTypeOf[[984]byte](), taggedTypeOf[[4984]byte](), taggedTypeOf[[20000]byte](),
		taggedTypeOf[[8]byte](), taggedTypeOf[[8176]byte](), taggedTypeOf[[700000]byte](), taggedTypeOf[[16]byte](),
	}
)

// A pool has modelShards shards at first, and at most modelShardsMax.
const (
	modelShards    = 3
	modelShardsMax = 6
)

// Bits of the number that describes a pool. The other bits are its place in modelTypes.
const (
	configLimit     = 0x08 // three pages
	configSame      = 0x10 // the type of the other pool
	configLowLimit  = 0x18 // one page
	configWarmPages = 0x20
	configMaxSlots  = 0x40
	configRefs      = 0x80 // for each third slot

	configInit   = 0x100
	configReset  = 0x200
	configGoHeap = 0x400
	configTagged = 0x800 // on the Go heap: with pointers
)

// newModel makes a model of two pools, each of which a number of config describes.
func newModel(t testing.TB, config [2]uint16) *model {
	oneP(t) // see on
	m := &model{
		t:      t,
		arena:  arenaApart(t),
		issued: make(map[uint64]bool),
		faults: make(map[string]int),
		work:   30000,
		units:  unitsInUse(),
	}
	m.failSystem()
	for k := range m.pools {
		m.pools[k] = m.newPool(config[k], int(config[0]&7))
	}
	return m
}

// keepGarbage has garbage collected only where an operation says so, until the test ends.
func (m *model) keepGarbage() {
	if !m.onHeap {
		m.onHeap = true
		percent := debug.SetGCPercent(-1)
		m.t.Cleanup(func() {
			debug.SetGCPercent(percent)
			runtime.GC()
		})
	}
}

func unitsInUse() int {
	refs.mu.Lock()
	defer refs.mu.Unlock()
	return int(refs.next) - len(refs.free)
}

// newPool makes a pool that config describes. same is the type of the other pool.
func (m *model) newPool(config uint16, same int) *modelPool {
	p := &modelPool{model: m, kind: int(config & 7), out: make(map[unsafe.Pointer]bool)}
	if config&configLowLimit == configSame {
		p.kind = same
	}
	of := modelTypes[p.kind]
	pageSize := int64(geometryOf(uintptr(of.size)).pageSize)
	var opts []Option
	if config&configGoHeap != 0 {
		m.keepGarbage()
		if config&configTagged != 0 {
			of = taggedTypes[p.kind]
		}
		opts = append(opts, WithGoHeap())
		p.forgotten = make(map[uintptr]modelSlot)
		pageSize = of.make(WithGoHeap()).core().pageBytes()
	}
	switch config & configLowLimit {
	case configLimit:
		opts = append(opts, WithLimit(3*pageSize))
	case configLowLimit:
		opts = append(opts, WithLimit(pageSize+1))
	}
	if config&configWarmPages != 0 {
		opts = append(opts, WithWarmPages(2))
	}
	if config&configMaxSlots != 0 { // one, some, nearly a page, or more
		per := int(geometryOf(uintptr(of.size)).slots)
		opts = append(opts, WithMaxSlots([]int{1, per/8 + 2, per - per/8, 2*per + per/3 + 1}[config>>8&3]))
	}
	p.putting = make(map[uintptr]uint64)
	if config&configInit != 0 {
		p.kept = make(map[uintptr]keptObject)
		opts = append(opts, of.init(p.onInit))
	}
	if config&configReset != 0 {
		opts = append(opts, of.reset(p.onReset))
	}
	p.size, p.tagged = of.size, of.tagged
	p.api = of.make(opts...)
	p.c = p.core()
	if config&configRefs != 0 {
		p.refEach = 3
	}
	p.c.stopClock()
	p.c.grow()
	p.shards = p.c.shards.Load().present()
	for range modelShards - 1 {
		p.addShard()
	}
	return p
}

// pageBytes returns the size of a page.
func (c *core) pageBytes() int64 { return int64(c.geo.pageSize) }

// addShard adds a P.
func (p *modelPool) addShard() {
	s := newShard(p.c.spec, &p.c.depot, len(p.shards))
	s.raise(signalExhausted) // as grow does
	if p.c.hasRefs.Load() {
		s.raise(signalRefs)
	}
	p.shards = append(p.shards, s)
	p.c.shards.Store(&shardTable{core: p.c, shards: slices.Clone(p.shards)})
}

// modelRegion is where the arenas of models are, one after the other.
var modelRegion []byte

// arenaApart puts a new arena in the place of the process's until the test ends. It does not purge
// by time.
func arenaApart(t testing.TB) *arena {
	needsOSMemory(t)
	if modelRegion == nil {
		mem, err := osReserve(4*chunkSize + tableStep)
		require.NoError(t, err)
		modelRegion = mem[-addressOf(mem)%tableStep:][:4*chunkSize]
	}
	before := theArena
	t.Cleanup(stopClock())
	a := &arena{regions: []*region{{mem: modelRegion}}}
	theArena = a
	t.Cleanup(func() {
		for _, ch := range a.open {
			run{chunk: ch, n: uint16(len(ch.mem) / granuleSize)}.withdraw()
			for step := range chunkSteps {
				if ch.committed&(1<<step) == 0 {
					continue
				}
				mem := ch.mem[step*commitGranules*granuleSize:][:commitGranules*granuleSize]
				if _, zeroed, _ := osPurge(mem); !zeroed {
					clear(mem) // the next arena here takes it for zero
				}
			}
		}
		theArena = before
	})
	return a
}

// failSystem makes system calls fail as m.faults says.
func (m *model) failSystem() {
	before := system.Load()
	m.t.Cleanup(func() { system.Store(before) })
	fails := func(call string) bool {
		if m.faults[call] == 0 {
			return false
		}
		m.faults[call]--
		m.fired++
		return true
	}
	system.Store(&calls{
		reserve: osReserve,
		commit: func(mem []byte) error {
			if fails("commit") {
				return errors.New("injected fault")
			}
			return osCommit(mem)
		},
		purge: func(mem []byte) (gone, zeroed, lost bool) {
			if fails("purge") {
				return m.dirty, false, false
			}
			return osPurge(mem)
		},
		protect: osProtect,
		barrier: osBarrier,
	})
}

// slots returns how many slots a page has.
func (p *modelPool) slots() int { return int(p.c.geo.slots) }

// room reduces n to the number of slots that are worth the time.
func (p *modelPool) room(n int) int {
	n = min(n, 4000-len(p.live), (16<<20)/p.size-len(p.live))
	return max(p.budget(n), 0)
}

// budget reduces n to the number of slots that one operation may move.
func (p *modelPool) budget(n int) int {
	if p.work <= 0 {
		n = min(n, 3)
	}
	p.work -= n * (1 + p.size/1024)
	return n
}

// bytesOf returns what the user of a slot may write.
func (p *modelPool) bytesOf(x unsafe.Pointer) []byte { return unsafe.Slice((*byte)(x), p.size) }

// tag is the pointer of a slot that has one. The number that it leads to is the slot's stamp.
func tag(x unsafe.Pointer) **uint64 { return &(*taggedSlot[[8]byte])(x).tag }

// write fills a slot.
func (p *modelPool) write(x unsafe.Pointer, stamp uint64) {
	b := p.bytesOf(x)
	binary.NativeEndian.PutUint64(b, stamp)
	binary.NativeEndian.PutUint64(b[len(b)-8:], stamp)
	if p.tagged {
		*tag(x) = &stamp
	}
}

// holds reports whether a slot has what write wrote.
func (p *modelPool) holds(x unsafe.Pointer, stamp uint64) bool {
	b := p.bytesOf(x)
	return binary.NativeEndian.Uint64(b) == stamp && binary.NativeEndian.Uint64(b[len(b)-8:]) == stamp &&
		(!p.tagged || **tag(x) == stamp)
}

// isZero reports whether a slot is zero.
func (p *modelPool) isZero(x unsafe.Pointer) bool {
	return bytes.Equal(p.bytesOf(x), zeroSlot[:p.size])
}

// newStamp returns what no slot holds yet.
func (m *model) newStamp() uint64 {
	m.stamp++
	return m.stamp
}

var errModel = errors.New("a function of the model has failed")

// onInit is the pool's WithInit function.
func (p *modelPool) onInit(x unsafe.Pointer) {
	if before, ok := p.kept[uintptr(x)]; ok && before.page == pageOf(uintptr(x)) {
		p.t.Fatalf("the object in slot %p is made again", x)
	}
	if p.out[x] || !p.isZero(x) {
		p.t.Fatalf("an object is made in slot %p, which is in use or not zero", x)
	}
	stamp := p.newStamp()
	p.write(x, stamp)
	if p.failInits > 0 {
		p.failInits--
		panic(errModel)
	}
	p.keep(x, stamp)
}

// onReset is the pool's WithReset function.
func (p *modelPool) onReset(x unsafe.Pointer) {
	stamp, ok := p.putting[uintptr(x)]
	if ok && !p.holds(x, stamp) || !ok && !p.undoing || p.out[x] {
		p.t.Fatalf("slot %p is reset, which is in use, or not being put, or was reset before", x)
	}
	delete(p.putting, uintptr(x))
	stamp = p.newStamp()
	p.write(x, stamp)
	p.keep(x, stamp)
	if p.endReset != nil {
		p.unkeep(x)
		p.endReset(x)
	}
}

// keep notes what a slot holds that has no user.
func (p *modelPool) keep(x unsafe.Pointer, stamp uint64) {
	if p.kept != nil {
		p.kept[uintptr(x)] = keptObject{stamp, pageOf(uintptr(x))}
	}
}

// unkeep notes that the object in a slot has to be made anew.
func (p *modelPool) unkeep(x unsafe.Pointer) { delete(p.kept, uintptr(x)) }

// got notes that a slot was handed out, and writes to it.
func (p *modelPool) got(x unsafe.Pointer) {
	pg := pageOf(uintptr(x))
	if _, ok := pg.indexOf(uintptr(x)); !ok || pg.spec != p.c.spec {
		p.t.Fatalf("%p is no slot of the pool that handed it out", x)
	}
	if p.out[x] {
		p.t.Fatalf("slot %p was handed out twice", x)
	}
	if _, ok := p.forgotten[uintptr(x)]; ok {
		p.t.Fatalf("slot %p was handed out again, and nobody has put it", x)
	}
	switch object, ok := p.kept[uintptr(x)]; {
	case p.kept == nil:
		if p.tagged && !p.isZero(x) {
			p.t.Fatalf("slot %p keeps what its last user left", x)
		}
	case !ok || object.page != pg:
		p.t.Fatalf("the object in slot %p is not made", x)
	case !p.holds(x, object.stamp):
		p.t.Fatalf("the object in slot %p does not hold what it was left with", x)
	default:
		p.unkeep(x)
	}
	p.out[x] = true
	stamp := p.newStamp()
	p.write(x, stamp)
	p.live = append(p.live, modelSlot{x: x, stamp: stamp})
	if p.refEach != 0 && stamp%p.refEach == 0 {
		p.makeRef(len(p.live) - 1)
	}
}

var zeroSlot [800000]byte

// gotZero is got for a slot that has to be zero, if Get clears it.
func (p *modelPool) gotZero(x unsafe.Pointer) {
	if p.kept == nil && !p.isZero(x) {
		p.t.Fatalf("slot %p is not zero", x)
	}
	p.got(x)
}

// intact verifies that a slot holds what its user wrote.
func (p *modelPool) intact(s modelSlot) {
	if !p.holds(s.x, s.stamp) {
		p.t.Fatalf("slot %p has been overwritten", s.x)
	}
}

// takeBack notes that n live slots are about to be put, those from place k on, and returns them.
func (p *modelPool) takeBack(k, n int) []unsafe.Pointer {
	var xs []unsafe.Pointer
	for _, s := range p.live[k:][:n] {
		p.intact(s)
		delete(p.out, s.x)
		p.putting[uintptr(s.x)] = s.stamp
		p.keep(s.x, s.stamp)
		if s.ref != 0 {
			p.stale = append(p.stale, staleRef{p, s.ref})
		}
		xs = append(xs, s.x)
	}
	p.live = slices.Delete(p.live, k, k+n)
	if p.put = append(p.put, xs[:min(n, 10)]...); len(p.put) > 100 {
		p.put = slices.Delete(p.put, 0, 50)
	}
	return xs
}

// makeRef makes a Ref of a live slot.
func (p *modelPool) makeRef(k int) {
	p.noteRef(&p.live[k], p.ref(p.live[k].x))
	p.live[k].given = true
}

// noteRef notes a Ref of a live slot.
func (p *modelPool) noteRef(s *modelSlot, id uint64) {
	switch {
	case s.ref == id && id != 0:
		return
	case s.ref != 0:
		p.t.Fatalf("two Refs of one slot: %#x and %#x", s.ref, id)
	case id == 0 || p.issued[id]:
		p.t.Fatalf("Ref %#x is not new", id)
	}
	p.issued[id] = true
	s.ref = id
}

// constrained reports whether a Get may fail.
func (p *modelPool) constrained() bool {
	return p.c.maxPages != 0 || p.c.maxSlots != 0 || p.arena.limit != 0 || p.faults["commit"] != 0
}

// attempt calls get, which gets n slots. It reports whether get has succeeded, and verifies that
// get fails only if it has to.
func (p *modelPool) attempt(n int, get func() error) bool {
	if p.constrained() {
		p.settle() // otherwise Get waits for pages in transit
	}
	fired, failInits := p.fired, p.failInits
	err := caught(get)
	total := p.c.maxPages * p.slots()
	if most := p.c.maxSlots; most != 0 && (total == 0 || most < total) {
		total = most
	}
	inUse := len(p.live) + len(p.forgotten)
	have := p.have()
	switch {
	case err == nil:
		if total != 0 && inUse+n > total {
			p.t.Fatalf("%d slots are beyond the limit", inUse+n)
		}
		return true
	case errors.Is(err, errModel):
		require.Equal(p.t, failInits-1, p.failInits)
	case inUse+n <= have:
		p.t.Fatalf("%v, with %d slots free", err, have-inUse)
	case errors.Is(err, ErrOutOfMemory):
		require.Greater(p.t, p.fired, fired, "no system call has failed")
	case !errors.Is(err, ErrLimit):
		p.t.Fatal(err)
	case total == 0 || inUse+n <= total:
		require.False(p.t, p.c.goHeap, "there is no limit on the Go heap")
		require.NotZero(p.t, p.arena.limit, "there is no limit")
		require.Greater(p.t, p.leastFor(n), p.arena.limit, "there is room")
		require.False(p.t, p.heldRun(p.c.geo.granules()), "there is memory for a page, which the system did not take back")
	}
	return false
}

// have returns how many slots the pages of the pool have.
func (p *modelPool) have() (slots int) {
	for _, pg := range p.c.depot.pages {
		slots += int(pg.reserved)
	}
	return slots
}

// leastFor returns how many bytes all pools need at least, if p has n more slots in use than now,
// which is more than its pages have. One of them has fewer slots than the others if WithMaxSlots
// allowed no more when it was made, and keeps to that until it is released.
func (p *modelPool) leastFor(n int) int64 {
	more := len(p.live) + n - p.have()
	pages := len(p.c.depot.pages) + (more+p.slots()-1)/p.slots()
	granules := pages * p.c.geo.granules()
	for _, other := range p.pools {
		if other != p && !other.c.goHeap {
			granules += len(other.c.depot.pages) * other.c.geo.granules()
		}
	}
	return int64(granules+p.arena.total.held) * granuleSize
}

// heldRun reports whether there is a free run of n granules whose memory the system did not take
// back.
func (m *model) heldRun(n int) bool {
	for _, ch := range m.arena.open {
		others := ch.held
		for w := range others {
			others[w] = ^others[w]
		}
		if others.find(n) >= 0 {
			return true
		}
	}
	return false
}

// refuses verifies that the misuse f panics with an error that wraps want.
func (p *modelPool) refuses(want error, f func()) {
	err := caught(func() error { f(); return nil })
	require.ErrorIs(p.t, err, want)
}

// settle lets goroutines that have lost their processors go on.
func (p *modelPool) settle() {
	p.c.settle(p.outboxes...)
	p.outboxes = nil
	for _, pg := range p.inHand {
		if s, err := p.c.enter("Get"); err == nil { // otherwise Close has released the page
			s.attach(pg)
			p.c.leave(s)
		}
	}
	p.inHand = nil
}

// check verifies what has to be true after each operation on p.
func (p *modelPool) check() {
	err := p.c.checkInvariants()
	st := p.c.stats()
	switch {
	case err != nil:
		p.t.Fatal(err)
	case st.Live != len(p.live)+len(p.forgotten) || st.Lost != p.lost:
		p.t.Fatalf("%d slots are live, %d forgotten and %d lost, and the pool says %d and %d", len(p.live), len(p.forgotten), p.lost, st.Live, st.Lost)
	case len(p.putting) != 0 && p.c.reset != nil:
		p.t.Fatalf("%d slots were put and not reset", len(p.putting))
	case st.MappedBytes != int64(st.Pages)*int64(p.c.geo.pageSize), st.CommittedBytes > st.MappedBytes, st.WarmPages > st.Pages:
		p.t.Fatalf("these do not agree: %+v", st)
	case p.c.maxPages != 0 && st.Pages > p.c.maxPages:
		p.t.Fatalf("%d pages are beyond WithLimit", st.Pages)
	case p.c.liveNow() != st.Live:
		p.t.Fatalf("Live is %d, and Stats.Live is %d", p.c.liveNow(), st.Live)
	case p.c.depot.slots != p.have(), p.c.maxSlots != 0 && p.have() > p.c.maxSlots:
		p.t.Fatalf("%d slots are counted, of %d in pages, and %d are allowed", p.c.depot.slots, p.have(), p.c.maxSlots)
	}
	clear(p.putting)
	for k := range min(len(p.live), 8) {
		p.checkRef(p.live[k*len(p.live)/8%len(p.live)])
	}
	p.checkForgotten(8)
	p.checkMemory()
	p.checkStale(16)
}

// checkMemory verifies what ReadMemory returns.
func (m *model) checkMemory() {
	var inUse, onHeap int64
	for _, p := range m.pools {
		bytes := int64(len(p.c.depot.pages)) * int64(p.c.geo.pageSize)
		if p.c.goHeap {
			onHeap += bytes
		} else {
			inUse += bytes
		}
	}
	got := ReadMemory()
	switch limit := m.arena.limit; {
	case got.InUse != inUse:
		m.t.Fatalf("pools have %d bytes, and ReadMemory says %d", inUse, got.InUse)
	case got.GoHeap < onHeap: // other tests may have left some
		m.t.Fatalf("pools have %d bytes of the Go heap, and ReadMemory says %d", onHeap, got.GoHeap)
	case got.Committed != got.InUse+got.Warm || got.Warm < 0 || got.Purged < m.purged:
		m.t.Fatalf("these do not agree: %+v", got)
	case limit != 0 && got.Committed > max(limit, m.committed):
		m.t.Fatalf("%d bytes are committed, beyond the limit of %d", got.Committed, limit)
	}
	m.committed, m.purged = got.Committed, got.Purged
}

// checkRef verifies that the Ref of a live slot resolves to the slot, and in no other pool.
func (p *modelPool) checkRef(s modelSlot) {
	if s.ref == 0 {
		return
	}
	for _, q := range p.pools {
		var want unsafe.Pointer
		if q == p {
			want = s.x
		}
		if got := q.deref(s.ref); got != want {
			p.t.Fatalf("Ref %#x of slot %p resolves to %p", s.ref, s.x, got)
		}
	}
}

// checkForgotten verifies n slots that nobody has and that are not collected yet. By a Ref they can
// be found.
func (p *modelPool) checkForgotten(n int) {
	for at, slot := range p.forgotten {
		if n--; n < 0 {
			return
		}
		if slot.ref == 0 {
			continue
		}
		if x := p.deref(slot.ref); uintptr(x) != at || !p.holds(x, slot.stamp) {
			p.t.Fatalf("Ref %#x of slot %#x, which is forgotten, resolves to %p", slot.ref, at, x)
		}
	}
}

// checkStale verifies that stale Refs resolve to nothing. It looks at about n: the last ones and
// some others.
func (m *model) checkStale(n int) {
	total := len(m.stale)
	for k := max(0, total-n/2); k < total; k++ {
		m.stale[k].check(m)
	}
	for k := range min(total, n/2) {
		m.stale[k*total/(n/2)%total].check(m)
	}
}

func (r staleRef) check(m *model) {
	if x := r.of.deref(r.id); x != nil {
		m.t.Fatalf("Ref %#x is stale, and resolves to %p", r.id, x)
	}
	for _, p := range m.pools {
		if x := p.deref(r.id); x != nil {
			m.t.Fatalf("Ref %#x is stale, and resolves to %p", r.id, x)
		}
	}
}

// checkAll verifies everything that the oracle knows of p.
func (p *modelPool) checkAll() {
	for _, s := range p.live {
		p.intact(s)
		p.checkRef(s)
	}
	p.checkForgotten(len(p.forgotten))
	p.checkStale(2 * len(p.stale))
	if st := p.c.stats(); st.WarmPages > p.empties() {
		p.t.Fatalf("%d pages are warm, and %d empty", st.WarmPages, p.empties())
	}
}

// held returns the pages of live slots.
func (p *modelPool) held() map[*page]bool {
	held := make(map[*page]bool)
	for _, s := range p.live {
		held[pageOf(uintptr(s.x))] = true
	}
	return held
}

// empties returns how many pages of p have no slot in use.
func (p *modelPool) empties() int {
	used := p.held()
	for _, s := range p.forgotten {
		used[s.page] = true
	}
	return len(p.c.depot.pages) - len(used)
}

// end puts all slots, closes all pools, and verifies that nothing is left.
func (m *model) end() {
	clear(m.faults)
	for _, p := range m.pools {
		p.checkAll()
		p.settle()
		p.putBatch(p.takeBack(0, len(p.live)))
		p.check()
		require.NoError(m.t, p.c.close())
		require.Empty(m.t, p.c.depot.pages)
		p.loseAll()
		require.Equal(m.t, p.lost, p.c.stats().Lost)
		m.checkStale(2 * len(m.stale))
		if len(p.put) > 0 {
			p.refuses(ErrClosed, func() { p.api.put(p.put[0]) })
		}
	}
	m.checkMemory()
	require.Zero(m.t, ReadMemory().InUse)
	require.LessOrEqual(m.t, unitsInUse(), m.units, "units of Refs are left over")
	m.arena.purge(func(released) bool { return true })
	m.arena.purgeHeld(&m.pools[0].c.depot.purged)
	require.Zero(m.t, ReadMemory().Committed)
}

// An input of the model has two bytes for each of its pools, and then two bytes for each operation:
// an opcode and an argument. All 256 opcodes mean something.
const (
	modelHeader = 4
	modelMaxOps = 400
)

// opcodes has the operation of each opcode.
var opcodes = func() (table [256]*operation) {
	next := 0
	for k := range operations {
		for range operations[k].weight {
			table[next] = &operations[k]
			next++
		}
	}
	if next != len(table) {
		panic(fmt.Sprintf("the weights of the operations add up to %d", next))
	}
	return table
}()

// A step is an operation with its argument.
type step struct {
	*operation
	arg byte
}

// stepsOf decodes an input.
func stepsOf(input []byte) []step {
	var steps []step
	for rest := input[modelHeader:]; len(rest) >= 2; rest = rest[2:] {
		steps = append(steps, step{opcodes[rest[0]], rest[1]})
	}
	return steps
}

func (s step) pool() int { return int(s.arg >> 2 & 1) }

func (s step) shard() int { return int(s.arg & 3) }

func (s step) n() int { return int(s.arg >> 3) }

func (s step) String() string {
	return fmt.Sprintf("%s(pool %d, shard %d, %d)", s.name, s.pool(), s.shard(), s.n())
}

// runModel does what an input says. It counts the operations by name in tried.
func runModel(t testing.TB, input []byte, tried map[string]int) {
	if len(input) < modelHeader || len(input) > modelHeader+2*modelMaxOps {
		return
	}
	steps := stepsOf(input)
	var now int
	t.Cleanup(func() {
		if t.Failed() {
			var b strings.Builder
			for _, s := range steps[:min(now+1, len(steps))] {
				fmt.Fprintln(&b, s)
			}
			t.Logf("input %q, pools %#x, failed in the last of these operations:\n%s", input, input[:modelHeader], &b)
		}
	})
	m := newModel(t, [2]uint16{binary.LittleEndian.Uint16(input), binary.LittleEndian.Uint16(input[2:])})
	for k, s := range steps {
		now = k
		p := m.pools[s.pool()]
		// When shards are added, the first ones become idle.
		first := len(p.shards) - modelShards
		s.do(p, p.shards[(first+s.shard())%len(p.shards)], s.n())
		p.check()
		if tried != nil {
			tried[s.name]++
		}
	}
	now++
	m.end()
}

// A script is an input that is written by the names of operations.
type script []byte

// newScript returns a script without operations.
func newScript(config0, config1 uint16) script {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, config0), config1)
}

// op adds an operation.
func (b script) op(name string, pool, shard, n int) script {
	for code, op := range opcodes {
		if op.name == name {
			return append(b, byte(code), byte(n<<3|pool<<2|shard))
		}
	}
	panic(name)
}

// FuzzPool does with a model what the input says.
func FuzzPool(f *testing.F) {
	if debugging {
		f.Skip("the model works below what the debug build adds to the library")
	}
	runtime.GOMAXPROCS(1) // once, and not for each input
	for _, seed := range seeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) { runModel(t, input, nil) })
}

// FuzzHeapPages does the same with two pools on the Go heap, whatever the input says.
func FuzzHeapPages(f *testing.F) {
	if debugging {
		f.Skip("the model works below what the debug build adds to the library")
	}
	runtime.GOMAXPROCS(1) // once, and not for each input
	for _, seed := range seeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) >= modelHeader {
			input = slices.Clone(input)
			input[1] |= configGoHeap >> 8
			input[3] |= configGoHeap >> 8
		}
		runModel(t, input, nil)
	})
}

func seeds() []script {
	return []script{
		// Shards use the pages that idle shards have given up. A second Put of a slot in such a
		// page is caught.
		newScript(configRefs|5, 0).
			op("getNoZero", 0, 0, 0).op("tickAll", 0, 0, 0).op("tickAll", 0, 0, 0).op("doublePut", 0, 0, 0),
		// Second Puts among slots that cross between shards.
		newScript(1, 0).
			op("getMany", 0, 1, 21).op("doublePut", 0, 2, 0).op("doublePut", 0, 2, 2).op("putMany", 0, 1, 15).
			op("getBatch", 0, 0, 1).op("putAllBut", 0, 1, 0).op("getBatch", 0, 2, 1).op("doublePut", 0, 2, 0),
		// As many slots as a limit allows, and one more.
		newScript(configLimit|configRefs|6, 0).
			op("getMany", 0, 0, 31).op("put", 0, 1, 3).op("tryGet", 0, 2, 0).op("get", 0, 2, 0).op("getBatch", 0, 0, 1),
		// Empty pages are released and purged, and another pool gets their memory.
		newScript(0, configRefs|1).
			op("getMany", 0, 0, 31).op("all", 0, 0, 1).op("putAllBut", 0, 1, 0).op("longIdle", 0, 0, 0).
			op("getMany", 1, 0, 30).op("trim", 0, 0, 0).op("tryGetCore", 0, 0, 8).op("putAllBut", 1, 0, 0).op("trim", 1, 0, 0).
			op("getBatch", 0, 2, 28).op("checkAll", 0, 0, 0),
		// Memory that the system did not take back, at the limit of the process.
		newScript(0, 3).
			op("getMany", 0, 0, 31).op("failPurge", 0, 0, 7).op("putAllBut", 0, 0, 0).op("trim", 0, 0, 0).
			op("processLimit", 0, 0, 3|3<<2).op("getMany", 1, 0, 10).op("tryGetCore", 0, 1, 8).op("failCommit", 0, 0, 2).
			op("processLimit", 0, 0, 0).op("getMany", 0, 0, 31),
		// A pool is closed, and the next one gets its memory.
		newScript(configRefs, configWarmPages|4).
			op("getMany", 0, 0, 26).op("ref", 0, 0, 7).op("close", 0, 0, 0).op("putAllBut", 0, 1, 0).op("close", 0, 0, 1).
			op("getBatch", 1, 0, 26).op("get", 0, 0, 2).op("refMisuse", 0, 0, 9).op("doublePut", 0, 0, 9).op("putOther", 1, 0, 0),
		// A slot that was parked on a shard is another pool's when it is put there again.
		newScript(0, configSame).
			op("getMany", 0, 0, 26).op("put", 0, 0, 0).op("getNoZero", 0, 0, 0).op("putAllBut", 0, 1, 0).op("tick", 0, 1, 31).
			op("getMany", 1, 0, 25).op("doublePut", 0, 0, 1),
		// Ps are added while pages of others are in transit.
		newScript(configWarmPages|7, configLowLimit|2).
			op("getMany", 0, 0, 31).op("stallPut", 0, 1, 29).op("addShard", 0, 0, 0).op("stallTick", 0, 0, 0).op("stallGet", 0, 0, 0).
			op("getBatch", 0, 2, 21).op("settle", 0, 2, 0).op("putBatch", 0, 2, 31).op("putBadBatch", 0, 1, 9).op("putRef", 0, 1, 4).
			op("getMany", 1, 1, 27).op("collectGarbage", 0, 0, 0).op("putAllBut", 1, 2, 1).op("close", 1, 0, 0),
		// Slots of the Go heap are forgotten, found again, and lost. Others are put on another shard when
		// their pages are weak, while one slot of each page is held.
		newScript(configGoHeap|configTagged, configGoHeap|configRefs).
			op("getMany", 0, 0, 31).op("getMany", 1, 0, 31).op("forget", 0, 0, 3).op("collectGarbage", 0, 0, 0).op("all", 0, 0, 1).
			op("putMany", 0, 1, 20).op("tickAll", 0, 0, 0).op("forget", 1, 0, 0).op("lose", 1, 0, 0).op("lose", 0, 0, 4).
			op("getMany", 0, 2, 26).op("putAllBut", 0, 0, 2).op("all", 1, 0, 1).op("trim", 1, 0, 0).op("close", 1, 0, 0),
		// A limit on the Go heap counts lost slots until they are collected.
		newScript(configGoHeap|configTagged|configLowLimit, configGoHeap|configLimit|configReset).
			op("getMany", 0, 0, 31).op("forget", 0, 0, 0).op("get", 0, 1, 0).op("lose", 0, 0, 0).op("getMany", 0, 1, 31).
			op("getMany", 1, 0, 31).op("putMany", 1, 1, 9).op("forget", 1, 0, 2).op("getBatch", 1, 2, 29).op("lose", 1, 0, 7).op("getBatch", 1, 2, 22),
		// Objects are made once, are kept, and are made anew if a function has failed, or if their memory
		// was released.
		newScript(configInit|configReset|4, configGoHeap|configTagged|configInit|configReset|configRefs|1).
			op("getMany", 0, 0, 17).op("failInit", 0, 0, 3).op("getBatch", 0, 0, 17).op("getMany", 0, 0, 17).op("tryGet", 0, 0, 0).
			op("failReset", 0, 1, 0).op("failReset", 0, 1, 1).op("failReset", 0, 1, 2).op("putAllBut", 0, 1, 4).op("getBatchCore", 0, 0, 31).
			op("getMany", 1, 0, 28).op("failInit", 1, 0, 2).op("getBatch", 1, 1, 27).op("failReset", 1, 2, 3).op("putAllBut", 1, 1, 0).
			op("tickAll", 1, 0, 7).op("getMany", 1, 2, 29).op("putRef", 1, 0, 9).op("stallPut", 1, 1, 20).op("trim", 1, 0, 0).op("tryGetCore", 1, 0, 8),
	}
}

var modelInputs = flag.Int("model", 150, "how many random inputs TestModel tries")

// TestModel runs the model with the seeds and with random inputs.
func TestModel(t *testing.T) {
	if debugging {
		t.Skip("the model works below what the debug build adds to the library")
	}
	n := *modelInputs
	if testing.Short() {
		n = n/10 + 1
	}
	tried := make(map[string]int)
	for _, seed := range seeds() {
		t.Run("seed", func(t *testing.T) { runModel(t, seed, tried) })
	}
	for range n {
		input := make([]byte, modelHeader+2*rand.IntN(modelMaxOps/2))
		for k := range input {
			input[k] = byte(rand.Uint32())
		}
		if !t.Run("random", func(t *testing.T) { runModel(t, input, tried) }) {
			break
		}
	}
	total := 0
	for _, op := range operations {
		total += tried[op.name]
	}
	for _, op := range operations {
		if tried[op.name] == 0 && total != 0 && !testing.Short() { // 0: -run has left out all inputs
			t.Errorf("no input has tried %s", op.name)
		}
	}
	t.Logf("%d operations: %v", total, tried)
}

// checkInvariants, on which the other tests rely, finds each kind of damage.
func TestInvariantsAreChecked(t *testing.T) {
	damages := []struct {
		want string
		do   func(c *core, s *shard, pg *page) (undo func())
	}{
		{"does not hold: ", func(_ *core, _ *shard, pg *page) func() { pg.used++; return func() { pg.used-- } }},
		{"bump <= capacity", func(_ *core, _ *shard, pg *page) func() {
			before := pg.bump
			pg.bump = pg.capacity + 1
			return func() { pg.bump = before }
		}},
		{"of the bump range has the word", func(_ *core, _ *shard, pg *page) func() {
			pg.links[pg.bump] = taken
			return func() { pg.links[pg.bump] = none }
		}},
		{"which is not carved", func(_ *core, _ *shard, pg *page) func() {
			before := pg.localFree
			pg.localFree = pg.capacity
			return func() { pg.localFree = before }
		}},
		{"on one twice", func(_ *core, _ *shard, pg *page) func() {
			before := pg.links[pg.localFree]
			pg.links[pg.localFree] = uint16(pg.localFree)
			return func() { pg.links[pg.localFree] = before }
		}},
		{"is on no list and has the word", func(_ *core, _ *shard, pg *page) func() {
			pg.links[0] = none
			return func() { pg.links[0] = taken }
		}},
		{"says it is 7", func(_ *core, _ *shard, pg *page) func() {
			before := pg.index
			pg.index = 7
			return func() { pg.index = before }
		}},
		{"remoteFree has", func(_ *core, _ *shard, pg *page) func() {
			before := pg.remote.Load()
			pg.remote.Store(before + 1<<16)
			return func() { pg.remote.Store(before) }
		}},
		{"that does not own it", func(_ *core, _ *shard, pg *page) func() {
			before := pg.remote.Load()
			pg.remote.Store(before &^ uint64(remoteOwned))
			return func() { pg.remote.Store(before) }
		}},
		{"has a page of owner", func(_ *core, s *shard, pg *page) func() {
			pg.setOwner(s.id + 1)
			return func() { pg.setOwner(s.id) }
		}},
		{"of at most", func(_ *core, s *shard, _ *page) func() {
			before := s.lot.room
			s.lot.room = 0
			return func() { s.lot.room = before }
		}},
		{"which is not parked", func(_ *core, s *shard, _ *page) func() {
			word := s.lot.places[0].word
			*word = none
			return func() { *word = parking }
		}},
		{"pages are in transit", func(c *core, _ *shard, _ *page) func() {
			c.depot.transit.leave()
			return func() { c.depot.transit.word.Add(1) }
		}},
		{"slots in use", func(c *core, _ *shard, _ *page) func() {
			c.depot.partials.Add(1)
			return func() { c.depot.partials.Add(-1) }
		}},
		{"spare pages", func(c *core, _ *shard, _ *page) func() {
			c.depot.spares.Add(1)
			return func() { c.depot.spares.Add(-1) }
		}},
		{"not the pool's", func(c *core, s *shard, _ *page) func() {
			pages := c.depot.pages
			c.depot.pages = pages[:0]
			return func() { c.depot.pages = pages }
		}},
		{"in its outbox", func(_ *core, s *shard, _ *page) func() {
			s.outbox.arm = true
			return func() { s.outbox.arm = false }
		}},
		{"nobody knows of them", func(_ *core, s *shard, pg *page) func() {
			before := pg.remote.Load()
			s.cur = noPage
			pg.remote.Store(before &^ uint64(remoteOwned))
			return func() { s.cur = pg; pg.remote.Store(before) }
		}},
	}
	for _, damage := range damages {
		t.Run(damage.want, func(t *testing.T) {
			c, shards := sim(t, 64, 2)
			s := shards[0]
			xs := simFill(t, c, s, 5)
			simDrain(t, c, s, xs[3:])
			s.flush(0)
			simDrain(t, c, s, xs[2:3]) // parked
			pg := pageOf(xs[0])
			require.NoError(t, c.checkInvariants())
			undo := damage.do(c, s, pg)
			assert.ErrorContains(t, c.checkInvariants(), damage.want)
			undo()
			require.NoError(t, c.checkInvariants())
			simDrain(t, c, s, xs[:2])
		})
	}
}

// An operation of the model.
type operation struct {
	name   string
	weight int // how many of the 256 opcodes mean it
	do     func(p *modelPool, s *shard, n int)
}

// operations are what opcodes mean. The argument of an operation says on which pool and on which
// shard it runs, and has a number n below 32 that says how much, or which.
var operations = []operation{
	{"get", 15, (*modelPool).opGet},
	{"getNoZero", 12, (*modelPool).opGetNoZero},
	{"tryGet", 11, (*modelPool).opTryGet},
	{"tryGetCore", 10, (*modelPool).opTryGetCore},
	{"getMany", 18, (*modelPool).opGetMany},
	{"getBatch", 12, (*modelPool).opGetBatch},
	{"getBatchCore", 6, (*modelPool).opGetBatchCore},
	{"put", 17, (*modelPool).opPut},
	{"putMany", 16, (*modelPool).opPutMany},
	{"putAllBut", 10, (*modelPool).opPutAllBut},
	{"putBatch", 10, (*modelPool).opPutBatch},

	{"ref", 8, (*modelPool).opRef},
	{"putRef", 8, (*modelPool).opPutRef},
	{"all", 4, (*modelPool).opAll},

	{"tick", 6, (*modelPool).opTick},
	{"tickAll", 8, (*modelPool).opTickAll},
	{"longIdle", 2, (*modelPool).opLongIdle},
	{"flush", 4, (*modelPool).opFlush},
	{"trim", 5, (*modelPool).opTrim},
	{"addShard", 2, (*modelPool).opAddShard},

	{"stallTick", 3, (*modelPool).opStallTick},
	{"stallPut", 4, (*modelPool).opStallPut},
	{"stallGet", 4, (*modelPool).opStallGet},
	{"settle", 3, (*modelPool).opSettle},

	{"doublePut", 5, (*modelPool).opDoublePut},
	{"putInside", 2, (*modelPool).opPutInside},
	{"putOther", 3, (*modelPool).opPutOther},
	{"putBadBatch", 4, (*modelPool).opPutBadBatch},
	{"refMisuse", 3, (*modelPool).opRefMisuse},

	{"close", 6, (*modelPool).opClose},
	{"processLimit", 6, (*modelPool).opProcessLimit},
	{"failCommit", 3, (*modelPool).opFailCommit},
	{"failPurge", 4, (*modelPool).opFailPurge},
	{"checkAll", 2, (*modelPool).opCheckAll},
	{"collectGarbage", 4, (*modelPool).opCollectGarbage},

	{"failInit", 3, (*modelPool).opFailInit},
	{"failReset", 5, (*modelPool).opFailReset},
	{"forget", 6, (*modelPool).opForget},
	{"lose", 2, (*modelPool).opLose},
}

// amount returns how many slots n stands for.
func (p *modelPool) amount(n int) int {
	slots := p.slots()
	return []int{
		1, 2, 3, 4, 5, 7, 10, 13, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200,
		slots / 4, slots / 2, slots - 1, slots, slots + 1, slots + slots/2, 2 * slots, 2*slots + 1, 3 * slots, 4 * slots,
	}[n]
}

// which returns the place in p.live that n stands for: near the start for small n, and otherwise
// spread over all of it.
func (p *modelPool) which(n int) int {
	if n < 8 {
		return n % len(p.live)
	}
	return (len(p.live) - 1) * (31 - n) / 23
}

func (p *modelPool) opGet(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n%3 + 1) {
			var x unsafe.Pointer
			if p.attempt(1, func() error { x = p.get(); return nil }) {
				p.gotZero(x)
			}
		}
	})
}

func (p *modelPool) opGetNoZero(s *shard, n int) { p.getMany(s, n%4+1) }

func (p *modelPool) opGetMany(s *shard, n int) { p.getMany(s, p.amount(n)) }

// getMany gets up to n slots, one by one.
func (p *modelPool) getMany(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n) {
			var x unsafe.Pointer
			if !p.attempt(1, func() error { x = p.getNoZero(); return nil }) {
				return
			}
			p.got(x)
		}
	})
}

func (p *modelPool) opTryGet(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n%2 + 1) {
			var x unsafe.Pointer
			if p.attempt(1, func() (err error) { x, err = p.tryGet(); return err }) {
				p.gotZero(x)
			}
		}
	})
}

// opTryGetCore gets slots. Those that the core says are zero have to be zero.
func (p *modelPool) opTryGetCore(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(p.amount(n % 9)) {
			var x unsafe.Pointer
			var isZero bool
			switch {
			case !p.attempt(1, func() (err error) { x, isZero, err = p.c.tryGet(); return err }):
			case isZero:
				p.gotZero(x)
			default:
				p.got(x)
			}
		}
	})
}

// opGetBatch gets all slots of a batch or none.
func (p *modelPool) opGetBatch(s *shard, n int) {
	xs := make([]unsafe.Pointer, p.room(p.amount(n)))
	p.undoing = true
	defer func() { p.undoing = false }()
	on(p.c, s, func() {
		if p.attempt(len(xs), func() error { p.getBatch(xs); return nil }) {
			for _, x := range xs {
				p.gotZero(x)
			}
			return
		}
		for _, x := range xs {
			require.Nil(p.t, x, "GetBatch failed, and returned slots")
		}
	})
}

func (p *modelPool) opGetBatchCore(s *shard, n int) {
	xs := make([]unsafe.Pointer, p.room(2*n+1))
	p.undoing = true
	defer func() { p.undoing = false }()
	on(p.c, s, func() {
		var b batch
		failInits := p.failInits
		all := p.attempt(len(xs), func() (err error) {
			if b, err = p.c.getBatch(xs); p.c.construct != nil {
				err = cmp.Or(err, p.c.makeObjects(xs, 0, b))
			}
			return err
		})
		if p.failInits != failInits {
			require.Equal(p.t, make([]unsafe.Pointer, b.n), xs[:b.n])
			return
		}
		require.Equal(p.t, all, b.n == len(xs))
		for k, x := range xs[:b.n] {
			if b.fresh>>k&1 != 0 {
				p.gotZero(x)
			} else {
				p.got(x)
			}
		}
	})
}

func (p *modelPool) opPut(s *shard, n int) {
	if len(p.live) > 0 {
		p.putMany(s, p.which(n), 1, 0)
	}
}

func (p *modelPool) opPutMany(s *shard, n int) {
	from := 0
	if n&1 != 0 {
		from = len(p.live)
	}
	n = p.budget(min(p.amount(n), len(p.live)))
	p.putMany(s, max(from-n, 0), n, n)
}

// opPutAllBut puts all slots except a few.
func (p *modelPool) opPutAllBut(s *shard, n int) {
	keep := min(len(p.live), []int{0, 0, 0, 0, 1, 2, 5, 20}[n%8])
	p.putMany(s, keep/2, len(p.live)-keep, n/8)
}

// putMany puts n live slots, those from place k on, one by one. order says in which order.
func (p *modelPool) putMany(s *shard, k, n, order int) {
	xs := p.takeBack(k, n)
	on(p.c, s, func() {
		for i := range xs {
			switch order & 3 {
			case 1:
				i = n - 1 - i
			case 2: // every second one, and then the others
				if i = 2 * i; i >= n {
					i -= n - 1 + n%2
					i |= 1
				}
			}
			p.api.put(xs[i])
		}
	})
}

func (p *modelPool) opPutBatch(s *shard, n int) {
	n = p.budget(min(p.amount(n), len(p.live)))
	xs := append(p.takeBack(len(p.live)-n, n), nil)
	on(p.c, s, func() { p.putBatch(xs) })
}

func (p *modelPool) opRef(s *shard, n int) {
	if len(p.live) > 0 {
		on(p.c, s, func() {
			for k := range min(n%8+1, len(p.live)) {
				p.makeRef((p.which(n) + k) % len(p.live))
			}
		})
	}
}

// opPutRef puts a slot by its Ref. That works once, and not in another pool.
func (p *modelPool) opPutRef(s *shard, n int) {
	if len(p.live) == 0 {
		return
	}
	k := p.which(n)
	on(p.c, s, func() {
		p.makeRef(k)
		id := p.live[k].ref
		for _, q := range p.pools {
			require.True(p.t, q == p || !q.putRef(id))
		}
		p.takeBack(k, 1)
		require.True(p.t, p.putRef(id))
		require.False(p.t, p.putRef(id))
	})
}

// opAll looks at all slots. It may put some of them in a second loop.
func (p *modelPool) opAll(s *shard, n int) {
	on(p.c, s, func() {
		places := make(map[unsafe.Pointer]int)
		for k, slot := range p.live {
			places[slot.x] = k
		}
		forgotten := len(p.forgotten)
		for id, x := range p.all() {
			if slot, ok := p.forgotten[uintptr(x)]; ok {
				forgotten--
				p.find(slot, id, x, n&1 != 0)
				continue
			}
			k, ok := places[x]
			if !ok {
				p.t.Fatalf("All came to slot %p twice, or it is not live", x)
			}
			delete(places, x)
			p.noteRef(&p.live[k], id)
		}
		require.Empty(p.t, places, "All misses live slots")
		require.Zero(p.t, forgotten, "All misses slots that are forgotten")
		if n&3 != 0 {
			return
		}
		left, i := len(p.live), 0
		for id, x := range p.all() {
			if _, ok := p.forgotten[uintptr(x)]; ok {
				continue
			}
			if left--; i < 40 && left%(n/4+1) == 0 {
				i++
				p.takeBack(slices.IndexFunc(p.live, func(s modelSlot) bool { return s.x == x }), 1)
				require.True(p.t, p.putRef(id))
			}
		}
		require.Zero(p.t, left)
	})
}

// find notes that All has found a slot that is forgotten, and may take it back.
func (p *modelPool) find(slot modelSlot, id uint64, x unsafe.Pointer, takes bool) {
	if !p.holds(x, slot.stamp) {
		p.t.Fatalf("slot %p, which is forgotten, has been overwritten", x)
	}
	if p.noteRef(&slot, id); !takes {
		p.forgotten[uintptr(x)] = slot
		return
	}
	delete(p.forgotten, uintptr(x))
	p.out[x] = true
	slot.x, slot.page = x, nil
	p.live = append(p.live, slot)
}

// opTick lets time pass for one shard.
func (p *modelPool) opTick(s *shard, n int) {
	for range []int{1, 1, 1, 2, 4, 8, 16, 17}[n&7] {
		s.tick(n>>3 == 0)
		p.c.settle(s.takeOutbox())
	}
}

// opTickAll lets time pass. A shard on which no operation runs meanwhile is idle.
func (p *modelPool) opTickAll(_ *shard, n int) { p.tickAll([]int{1, 1, 1, 2, 2, 3, 8, 17}[n%8]) }

func (p *modelPool) tickAll(n int) {
	for range n {
		p.c.tick()
	}
}

// opLongIdle lets so much time pass that no empty pages are left, except those of WithWarmPages.
func (p *modelPool) opLongIdle(*shard, int) {
	p.settle()
	before := p.empties()
	p.tickAll(2*windowSole + windowSeveral)
	require.Equal(p.t, min(before, p.c.warmPages), p.empties(), "empty pages")
}

func (p *modelPool) opFlush(s *shard, n int) {
	s.flush(uint32(n & 3))
	p.c.settle(s.takeOutbox())
}

// opTrim releases every empty page and gives its memory back to the OS.
func (p *modelPool) opTrim(_ *shard, n int) {
	if n&1 == 0 {
		p.settle()
	}
	purged, fired := p.c.depot.purged.Load(), p.fired
	bytes := p.c.trim("Trim")
	require.Equal(p.t, p.c.depot.purged.Load()-purged, bytes)
	if n&1 == 0 {
		require.Zero(p.t, p.empties())
	}
	if fired == p.fired {
		require.Zero(p.t, p.arena.total.held)
	}
}

func (p *modelPool) opAddShard(*shard, int) {
	if len(p.shards) < modelShardsMax {
		p.addShard()
	}
}

// opStallTick does a tick of a shard. The shard loses its processor before its outbox is settled.
func (p *modelPool) opStallTick(s *shard, n int) {
	s.tick(n&1 == 0)
	p.outboxes = append(p.outboxes, s.takeOutbox())
}

// opStallPut puts slots on a shard, which loses its processor before its outbox is settled.
func (p *modelPool) opStallPut(s *shard, n int) {
	n = p.budget(min(p.amount(n), len(p.live)))
	xs := p.takeBack(len(p.live)-n, n)
	ok := true
	on(p.c, s, func() {
		s, err := p.c.enter("Put")
		require.NoError(p.t, err)
		for _, x := range xs {
			unwatch(uintptr(x))
			p.c.endRefs(uintptr(x))
			if p.c.claims {
				ok = p.tidy(x) && s.putLeaving(x) == putDone && ok
			} else {
				ok = s.putAt(x) == putDone && ok
			}
		}
		out := s.takeOutbox()
		s.unpin()
		p.outboxes = append(p.outboxes, out)
	})
	require.True(p.t, ok)
}

// tidy does what a Put does to a slot before it is free. It reports false if the slot is not in use.
func (p *modelPool) tidy(x unsafe.Pointer) bool {
	pg, i, _ := p.c.find(uintptr(x))
	if pg.claimSlot(i) == none {
		return false
	}
	if p.c.reset != nil {
		p.c.reset(x)
	}
	if p.c.clearsOnPut {
		p.c.clear(x)
	}
	return true
}

// opStallGet takes a page for a shard, which loses its processor before it attaches the page.
func (p *modelPool) opStallGet(*shard, int) {
	pg := p.c.depot.adopt()
	if pg == nil && !p.constrained() {
		var err error
		pg, err = p.c.depot.fresh()
		require.NoError(p.t, err)
	}
	if pg != nil {
		p.inHand = append(p.inHand, pg)
	}
}

func (p *modelPool) opSettle(s *shard, _ int) { on(p.c, s, p.settle) }

// misused returns the error that a Put of x panics with. x is not a slot in use.
func (p *modelPool) misused(x unsafe.Pointer) error {
	pg := pageOf(uintptr(x))
	if _, ok := pg.indexOf(uintptr(x)); !ok || pg.spec != p.c.spec {
		return ErrForeignPut
	}
	return ErrDoublePut
}

// opDoublePut puts a slot twice in a row, or puts slots once more that were put long before.
func (p *modelPool) opDoublePut(s *shard, n int) {
	on(p.c, s, func() {
		var xs []unsafe.Pointer
		switch {
		case n&1 == 0 && len(p.live) > 0:
			xs = p.takeBack(p.which(n), 1)
			p.api.put(xs[0])
		default:
			from := n * len(p.put) / 32
			xs = p.put[from:min(from+5, len(p.put))]
		}
		for _, x := range xs {
			if !p.out[x] {
				p.refuses(p.misused(x), func() { p.api.put(x) })
			}
		}
	})
}

// opPutInside puts an address inside a slot.
func (p *modelPool) opPutInside(s *shard, n int) {
	if len(p.live) > 0 {
		x := p.live[p.which(n)].x
		on(p.c, s, func() { p.refuses(ErrForeignPut, func() { p.api.put(unsafe.Add(x, 1+n%7)) }) })
	}
}

// other returns the other pool.
func (p *modelPool) other() *modelPool {
	if p.pools[0] == p {
		return p.pools[1]
	}
	return p.pools[0]
}

// opPutOther puts a slot to another pool.
func (p *modelPool) opPutOther(s *shard, n int) {
	q := p.other()
	if len(q.live) == 0 {
		return
	}
	x := q.live[q.which(n)]
	on(p.c, s, func() {
		p.refuses(ErrForeignPut, func() { p.api.put(x.x) })
		p.refuses(ErrForeignPut, func() { p.putBatch([]unsafe.Pointer{x.x}) })
		p.refuses(ErrForeignPut, func() { p.ref(x.x) })
	})
	q.intact(x)
	q.checkRef(x)
}

// opPutBadBatch puts a batch in which a slot comes twice. The slots before the second time are put
// then, and those after it are not.
func (p *modelPool) opPutBadBatch(s *shard, n int) {
	n = min(n+2, len(p.live)) / 2
	if n == 0 {
		return
	}
	xs := p.takeBack(len(p.live)-2*n, n)
	xs = append(xs, xs[0])
	for _, slot := range p.live[len(p.live)-n:] {
		xs = append(xs, slot.x)
	}
	on(p.c, s, func() { p.refuses(ErrDoublePut, func() { p.putBatch(xs) }) })
}

// opRefMisuse asks for Refs of slots that are not in use, and puts by stale Refs.
func (p *modelPool) opRefMisuse(s *shard, n int) {
	on(p.c, s, func() {
		if len(p.put) > 0 {
			if x := p.put[n*len(p.put)/32]; !p.out[x] {
				p.refuses(p.misused(x), func() { p.ref(x) })
			}
		}
		if len(p.stale) > 0 {
			require.False(p.t, p.putRef(p.stale[n*len(p.stale)/32].id))
		}
		require.False(p.t, p.putRef(uint64(n)))
		require.False(p.t, p.putRef(1<<63|uint64(n)<<27))
	})
}

// opClose closes the pool. If no slot is in use, or if it is on the Go heap, a new pool takes its
// place.
func (p *modelPool) opClose(_ *shard, n int) {
	if n&1 == 0 {
		p.settle()
	}
	if n&6 == 6 {
		p.clear()
		return
	}
	err := p.c.close()
	if len(p.live) > 0 && !p.c.goHeap {
		require.ErrorIs(p.t, err, ErrInUse)
		p.checkAll()
		return
	}
	require.NoError(p.t, err)
	p.settle()
	require.Empty(p.t, p.c.depot.pages)
	p.loseAll()
	require.Zero(p.t, p.c.stats().Live)
	require.ErrorIs(p.t, p.c.close(), ErrClosed)
	_, err = p.tryGet()
	require.ErrorIs(p.t, err, ErrClosed)
	for _, x := range p.put {
		p.refuses(ErrClosed, func() { p.api.put(x) })
	}
	q := p.newPool(uint16(n<<2|len(p.put)&3)|uint16(p.stamp&15)<<8, p.other().kind)
	for k := range p.pools {
		if p.pools[k] == p {
			p.pools[k] = q
		}
	}
	q.put, p.put = p.put, nil
	p.checkStale(2 * len(p.stale))
}

// clear takes all slots back.
func (p *modelPool) clear() {
	p.settle() // otherwise somebody has a page
	require.NoError(p.t, p.c.clearAll())
	for _, slot := range p.live {
		p.put = append(p.put[max(0, len(p.put)-50):], slot.x)
		p.ended(slot)
	}
	for _, slot := range p.forgotten {
		p.ended(slot)
	}
	p.live = nil
	clear(p.out)
	clear(p.forgotten)
	require.Empty(p.t, p.c.depot.pages)
	p.checkStale(2 * len(p.stale))
}

// ended notes that the Refs of a slot are stale.
func (p *modelPool) ended(slot modelSlot) {
	if slot.ref != 0 {
		p.stale = append(p.stale, staleRef{p, slot.ref})
	}
}

// loseAll notes that Close has lost all slots in use. The program still has those that it held.
func (p *modelPool) loseAll() {
	for _, slot := range p.live {
		p.intact(slot)
		p.put = append(p.put[max(0, len(p.put)-50):], slot.x)
		p.loseOne(slot)
	}
	for _, slot := range p.forgotten {
		p.loseOne(slot)
	}
	p.live, p.out, p.forgotten = nil, nil, nil
}

func (p *modelPool) loseOne(slot modelSlot) {
	p.lost++
	p.ended(slot)
}

// opProcessLimit sets a limit that is near what the pools have.
func (p *modelPool) opProcessLimit(_ *shard, n int) {
	m := ReadMemory()
	before := p.arena.limit
	limit := int64(0)
	if n&3 != 0 {
		granules := []int64{-64, -8, -2, 0, 1, 8, 9, 64}[n>>2]
		limit = max(m.InUse, 1)
		if n&3 == 3 {
			limit = max(m.Committed, 1)
		}
		limit = max(limit+granules*granuleSize, 1)
	}
	require.Equal(p.t, before, SetProcessLimit(limit))
	require.Equal(p.t, limit, SetProcessLimit(-1))
	if after := ReadMemory(); limit != 0 && after.Committed > limit {
		require.Zero(p.t, p.arena.total.waiting, "more than the limit is committed, and freed runs are not purged")
	}
}

func (p *modelPool) opFailCommit(_ *shard, n int) { p.faults["commit"] = n & 3 }

func (p *modelPool) opFailPurge(_ *shard, n int) {
	p.faults["purge"] = n & 7
	p.dirty = n&8 != 0
}

func (p *modelPool) opCheckAll(*shard, int) { p.checkAll() }

// opFailInit has the WithInit function fail some times.
func (p *modelPool) opFailInit(_ *shard, n int) {
	if p.kept != nil {
		p.failInits = n & 3
	}
}

// opFailReset puts a slot. The WithReset function panics, or ends its goroutine, or puts the slot
// again.
func (p *modelPool) opFailReset(s *shard, n int) {
	if p.c.reset == nil || len(p.live) == 0 {
		return
	}
	ends := []func(unsafe.Pointer){
		func(unsafe.Pointer) { panic(errModel) },
		func(unsafe.Pointer) { runtime.Goexit() },
		p.api.put,
	}
	errs := []error{errModel, nil, ErrDoublePut}
	p.endReset = ends[n%3]
	defer func() { p.endReset = nil }()
	on(p.c, s, func() {
		k := p.which(n)
		p.makeRef(k)
		id := p.live[k].ref
		x := p.takeBack(k, 1)[0]
		puts := []func(){
			func() { p.api.put(x) },
			func() { p.putBatch([]unsafe.Pointer{x}) },
			func() { p.putRef(id) },
		}
		done := make(chan error, 1)
		go func() {
			defer close(done)
			done <- caught(func() error { puts[n/3%3](); return nil })
		}()
		err, returned := <-done
		require.Equal(p.t, n%3 != 1, returned)
		require.ErrorIs(p.t, err, errs[n%3])
		p.refuses(p.misused(x), func() { p.api.put(x) })
	})
}

// opForget forgets slots of the Go heap.
func (p *modelPool) opForget(_ *shard, n int) {
	if p.forgotten == nil {
		return
	}
	keepEach := []int{0, 0, 2, 3, 5, 20, 64, 200}[n%8]
	var left []modelSlot
	for k, slot := range p.live {
		p.intact(slot)
		if keepEach != 0 && k%keepEach == 0 {
			left = append(left, slot)
			continue
		}
		x := slot.x
		delete(p.out, x)
		slot.x, slot.page = nil, pageOf(uintptr(x))
		p.forgotten[uintptr(x)] = slot
	}
	clear(p.live)
	p.live = left
	for _, q := range p.pools {
		q.put = nil
	}
}

// opLose forgets slots, lets time pass, and collects garbage. Then those are lost of whose page the
// program has nothing.
func (p *modelPool) opLose(s *shard, n int) {
	if p.forgotten == nil || p.collected >= 5 {
		return
	}
	p.opForget(s, n)
	p.settle()
	p.tickAll(3 * windowSole)
	p.collectGarbage()
	held := p.held()
	for at, slot := range p.forgotten {
		if !held[slot.page] && slot.page.firstUnit() == nil {
			p.t.Fatalf("nobody has a slot of the page of slot %#x, and the page is there", at)
		}
	}
}

func (p *modelPool) opCollectGarbage(*shard, int) {
	if p.collected < 2 {
		p.collectGarbage()
	}
}

// collectGarbage collects garbage, and waits until pools know of it.
func (m *model) collectGarbage() {
	m.collected++
	runtime.GC()
	for _, p := range m.pools {
		p.awaitLost()
	}
}

// awaitLost waits until the pool knows which pages are collected. No slot of these was held.
func (p *modelPool) awaitLost() {
	d := &p.c.depot
	hasDead := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return slices.ContainsFunc(d.pages, (*page).isDead)
	}
	for deadline := time.Now().Add(20 * time.Second); hasDead(); runtime.Gosched() {
		require.True(p.t, time.Now().Before(deadline), "the pool does not know that a page is collected")
	}
	for at, slot := range p.forgotten {
		if d.has(slot.page) {
			continue
		}
		if slot.given {
			p.t.Fatalf("slot %#x is lost, and the program has a Ref of it", at)
		}
		delete(p.forgotten, at)
		p.loseOne(slot)
	}
}
