package pool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A model is a few pools in an arena of their own, and an oracle that knows what
// they have handed out, what that holds, and which Refs it has. One goroutine does
// operations on them (see operations_test.go): on which shard, and what is done
// between an operation and what it leaves in its outbox, is up to who chooses the operations, not to
// the scheduler, and time stands still but for ticks.
//
// After each operation no slot is out twice, what is out holds what its user
// wrote, the count of live slots and the bytes that pools hold are exact, the
// invariants hold, and Refs resolve to their slots, or to nothing.
type model struct {
	t      testing.TB
	arena  *arena
	pools  [2]*modelPool
	issued map[uint64]bool // ids of all Refs there have been
	stale  []staleRef
	stamp  uint64 // of the slot handed out last
	work   int    // left to be done before operations become small

	faults    map[string]int // system calls to fail, of each kind
	fired     int            // system calls failed
	dirty     bool           // a purge that fails leaves the old data, and says that the memory is gone
	committed int64          // when the operation before had ended
	purged    int64
	units     int  // of Refs, in use before
	collected bool // by runtime.GC
}

// A staleRef is a Ref whose slot has been put.
type staleRef struct {
	of *modelPool
	id uint64
}

// A modelPool is a pool and what the oracle knows of it.
type modelPool struct {
	*model
	api
	c       *core
	kind    int // place in modelTypes
	size    int // of a slot, as far as its user may write
	shards  []*shard
	live    []modelSlot
	out     map[unsafe.Pointer]bool // live
	put     []unsafe.Pointer        // of some slots that were put
	refEach uint64                  // every how many Gets make a Ref; 0: none

	// What goroutines that have lost their processors are about to do.
	outboxes []outbox
	inHand   []*page // to attach
}

// A modelSlot is a slot that is out.
type modelSlot struct {
	x     unsafe.Pointer
	stamp uint64 // what it holds, at both ends
	ref   uint64 // 0: none was made
}

// An api is a Pool of any type.
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

func (a apiOf[T]) core() *core                    { return &a.p.core }
func (a apiOf[T]) get() unsafe.Pointer            { return unsafe.Pointer(a.p.Get()) }
func (a apiOf[T]) getNoZero() unsafe.Pointer      { return unsafe.Pointer(a.p.GetNoZero()) }
func (a apiOf[T]) getBatch(xs []unsafe.Pointer)   { a.p.GetBatch(typed[T](xs)) }
func (a apiOf[T]) put(x unsafe.Pointer)           { a.p.Put((*T)(x)) }
func (a apiOf[T]) putBatch(xs []unsafe.Pointer)   { a.p.PutBatch(typed[T](xs)) }
func (a apiOf[T]) ref(x unsafe.Pointer) uint64    { return a.p.Ref((*T)(x)).id }
func (a apiOf[T]) deref(id uint64) unsafe.Pointer { return unsafe.Pointer(a.p.Deref(Ref[T]{id})) }
func (a apiOf[T]) putRef(id uint64) bool          { return a.p.PutRef(Ref[T]{id}) }

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

// modelTypes are the types of pools, by the size of a slot: of all three sizes of
// page, with the links in and outside of it, and with one unit of Refs and several.
var modelTypes = []struct {
	size int
	make func(...Option) api
}{
	{64, newAPI[[64]byte]},
	{1000, newAPI[[1000]byte]},
	{5000, newAPI[[5000]byte]},
	{20000, newAPI[[20000]byte]},
	{24, newAPI[[24]byte]},
	{8192, newAPI[[8192]byte]},
	{300000, newAPI[[300000]byte]},
	{8, newAPI[[8]byte]},
}

// modelShards is how many shards a pool has at first, and modelShardsMax at last.
const (
	modelShards    = 3
	modelShardsMax = 6
)

// Bits of the bytes that say what a pool is like, besides its place in modelTypes.
const (
	configLimit     = 0x08 // three pages
	configSame      = 0x10 // of the type of the other pool
	configLowLimit  = 0x18 // one page
	configWarmPages = 0x20
	configRefs      = 0x80 // of each third slot
)

// newModel makes a model of two pools, each of which a byte of config describes.
func newModel(t testing.TB, config [2]byte) *model {
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

func unitsInUse() int {
	refs.mu.Lock()
	defer refs.mu.Unlock()
	return int(refs.next) - len(refs.free)
}

// newPool makes a pool that config describes. same is the type of the other pool.
func (m *model) newPool(config byte, same int) *modelPool {
	kind := int(config & 7)
	var opts []Option
	pageSize := int64(geometryOf(uintptr(modelTypes[kind].size)).pageSize)
	switch config & configLowLimit {
	case configSame:
		kind = same
	case configLimit:
		opts = append(opts, WithLimit(3*pageSize))
	case configLowLimit:
		opts = append(opts, WithLimit(pageSize+1))
	}
	if config&configWarmPages != 0 {
		opts = append(opts, WithWarmPages(2))
	}
	a := modelTypes[kind].make(opts...)
	p := &modelPool{model: m, api: a, c: a.core(), kind: kind, size: modelTypes[kind].size, out: make(map[unsafe.Pointer]bool)}
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

// addShard makes a P more.
func (p *modelPool) addShard() {
	p.shards = append(p.shards, newShard(&p.c.spec, &p.c.depot, len(p.shards)))
	p.c.shards.Store(&shardTable{core: p.c, shards: slices.Clone(p.shards)})
}

// arenaApart puts an arena in the place of the process's until the end of the test,
// in address space that is the process's too: in the upper half of the first
// region, where the fast paths look. It does not purge by time.
func arenaApart(t testing.TB) *arena {
	arenaInit.Do(initArena)
	half := len(mainRegion.mem) / chunkSize / 2
	if half == 0 {
		t.Skip("the first region is too small to share")
	}
	before := theArena
	mem := mainRegion.mem[half*chunkSize:]
	a := &arena{armed: true, regions: []*region{{base: addressOf(mem), size: uintptr(len(mem)), mem: mem, chunks: mainTable[half:]}}}
	theArena = a
	t.Cleanup(func() {
		for _, ch := range a.open {
			mainTable[half+ch.index].store(noChunk)
			for step := range chunkSteps {
				if ch.committed&(1<<step) == 0 {
					continue
				}
				mem := ch.mem[step*commitGranules*granuleSize:][:commitGranules*granuleSize]
				if _, zeroed := osPurge(mem); !zeroed {
					clear(mem) // the next arena here says that it is
				}
			}
		}
		theArena = before
	})
	return a
}

// failSystem makes the system's calls fail as faults says.
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
		purge: func(mem []byte) (gone, zeroed bool) {
			if fails("purge") {
				return m.dirty, false
			}
			return osPurge(mem)
		},
		protect: osProtect,
		barrier: osBarrier,
	})
}

// slots returns how many slots a page has.
func (p *modelPool) slots() int { return int(p.c.geo.slots) }

// room reduces n to how many slots more are worth the time.
func (p *modelPool) room(n int) int {
	n = min(n, 4000-len(p.live), (16<<20)/p.size-len(p.live))
	return max(p.budget(n), 0)
}

// budget reduces n to how many slots one operation may move.
func (p *modelPool) budget(n int) int {
	if p.work <= 0 {
		n = min(n, 3)
	}
	p.work -= n * (1 + p.size/1024)
	return n
}

// bytesOf returns what the user of a slot may write.
func (p *modelPool) bytesOf(x unsafe.Pointer) []byte { return unsafe.Slice((*byte)(x), p.size) }

// got notes a slot that was handed out, and writes to it.
func (p *modelPool) got(x unsafe.Pointer) {
	pg := pageOf(uintptr(x))
	if _, ok := pg.indexOf(uintptr(x)); !ok || pg.spec != &p.c.spec {
		p.t.Fatalf("%p is no slot of the pool that handed it out", x)
	}
	if p.out[x] {
		p.t.Fatalf("slot %p was handed out twice", x)
	}
	p.out[x] = true
	p.stamp++
	b := p.bytesOf(x)
	binary.NativeEndian.PutUint64(b, p.stamp)
	binary.NativeEndian.PutUint64(b[len(b)-8:], p.stamp)
	p.live = append(p.live, modelSlot{x: x, stamp: p.stamp})
	if p.refEach != 0 && p.stamp%p.refEach == 0 {
		p.makeRef(len(p.live) - 1)
	}
}

var zeroSlot [300000]byte

// gotZero is got for a slot that has to be zero.
func (p *modelPool) gotZero(x unsafe.Pointer) {
	if !bytes.Equal(p.bytesOf(x), zeroSlot[:p.size]) {
		p.t.Fatalf("slot %p is not zero", x)
	}
	p.got(x)
}

// intact verifies what a slot holds.
func (p *modelPool) intact(s modelSlot) {
	b := p.bytesOf(s.x)
	if binary.NativeEndian.Uint64(b) != s.stamp || binary.NativeEndian.Uint64(b[len(b)-8:]) != s.stamp {
		p.t.Fatalf("slot %p has been overwritten", s.x)
	}
}

// takeBack notes that n live slots are about to be put, from the one at k on, and
// returns them.
func (p *modelPool) takeBack(k, n int) []unsafe.Pointer {
	var xs []unsafe.Pointer
	for _, s := range p.live[k:][:n] {
		p.intact(s)
		delete(p.out, s.x)
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
func (p *modelPool) makeRef(k int) { p.noteRef(&p.live[k], p.ref(p.live[k].x)) }

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
	return p.c.maxPages != 0 || p.arena.limit != 0 || p.faults["commit"] != 0
}

// attempt does get, which gets n slots, and verifies that it fails only if it has
// to. It reports whether it got them.
func (p *modelPool) attempt(n int, get func() error) bool {
	if p.constrained() {
		p.settle() // Get would wait for pages on their way
	}
	fired := p.fired
	err := caught(get)
	total := p.c.maxPages * p.slots()
	switch {
	case err == nil:
		if total != 0 && len(p.live)+n > total {
			p.t.Fatalf("%d slots are beyond WithLimit", len(p.live)+n)
		}
		return true
	case len(p.live)+n <= len(p.c.depot.pages)*p.slots():
		p.t.Fatalf("%v, with %d slots free", err, len(p.c.depot.pages)*p.slots()-len(p.live))
	case errors.Is(err, ErrOutOfMemory):
		require.Greater(p.t, p.fired, fired, "no call has failed")
	case !errors.Is(err, ErrLimit):
		p.t.Fatal(err)
	case total == 0 || len(p.live)+n <= total:
		require.NotZero(p.t, p.arena.limit, "there is no limit")
		require.Greater(p.t, p.leastFor(n), p.arena.limit, "there is room")
		require.False(p.t, p.heldRun(p.c.geo.granules()), "there is memory that the system did not take back")
	}
	return false
}

// leastFor returns the bytes that all pools have at least when p has n slots more.
func (p *modelPool) leastFor(n int) int64 {
	pages := (len(p.live) + n + p.slots() - 1) / p.slots()
	granules := pages * p.c.geo.granules()
	for _, other := range p.pools {
		if other != p {
			granules += len(other.c.depot.pages) * other.c.geo.granules()
		}
	}
	return int64(granules+p.arena.total.held) * granuleSize
}

// heldRun reports whether there is a free run of n granules that the system did not
// take back.
func (m *model) heldRun(n int) bool {
	for _, ch := range m.arena.open {
		for first := 0; first < chunkGranules; first += n {
			k := first
			for k < first+n && ch.held[k/64]>>(k%64)&1 != 0 {
				k++
			}
			if k == first+n {
				return true
			}
		}
	}
	return false
}

// caught does f, and returns its error or the one that it panics with.
func caught(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok || errors.As(err, new(runtime.Error)) {
				panic(r)
			}
		}
	}()
	return f()
}

// refuses verifies that f, a misuse, panics with an error that wraps want.
func (p *modelPool) refuses(want error, f func()) {
	err := caught(func() error { f(); return nil })
	require.ErrorIs(p.t, err, want)
}

// settle has everybody go on who was about to.
func (p *modelPool) settle() {
	p.c.settle(p.outboxes...)
	p.outboxes = nil
	for _, pg := range p.inHand {
		if s, err := p.c.enter("Get"); err == nil { // otherwise Close has released it
			s.attach(pg)
			p.c.leave(s)
		}
	}
	p.inHand = nil
}

// check verifies what has to hold after each operation on p.
func (p *modelPool) check() {
	err := p.c.checkInvariants()
	st := p.c.stats()
	switch {
	case err != nil:
		p.t.Fatal(err)
	case st.Live != len(p.live):
		p.t.Fatalf("%d slots are live, and the pool says %d", len(p.live), st.Live)
	case st.MappedBytes != int64(st.Pages)*int64(p.c.geo.pageSize), st.CommittedBytes > st.MappedBytes, st.WarmPages > st.Pages:
		p.t.Fatalf("these do not agree: %+v", st)
	case p.c.maxPages != 0 && st.Pages > p.c.maxPages:
		p.t.Fatalf("%d pages are beyond WithLimit", st.Pages)
	}
	for k := range min(len(p.live), 8) {
		p.checkRef(p.live[k*len(p.live)/8%len(p.live)])
	}
	p.checkMemory()
	p.checkStale(16)
}

// checkMemory verifies what ReadMemory returns.
func (m *model) checkMemory() {
	var inUse int64
	for _, p := range m.pools {
		inUse += int64(len(p.c.depot.pages)) * int64(p.c.geo.pageSize)
	}
	got := ReadMemory()
	switch limit := m.arena.limit; {
	case got.InUse != inUse:
		m.t.Fatalf("pools have %d bytes, and ReadMemory says %d", inUse, got.InUse)
	case got.Committed != got.InUse+got.Warm || got.Warm < 0 || got.Purged < m.purged:
		m.t.Fatalf("these do not agree: %+v", got)
	case limit != 0 && got.Committed > max(limit, m.committed):
		m.t.Fatalf("%d bytes are committed, beyond the limit of %d", got.Committed, limit)
	}
	m.committed, m.purged = got.Committed, got.Purged
}

// checkRef verifies that the Ref of a live slot resolves to it, in its pool only.
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

// checkStale verifies that stale Refs resolve to nothing: the last ones and some
// others, about n.
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

// checkAll verifies all that is known of p.
func (p *modelPool) checkAll() {
	for _, s := range p.live {
		p.intact(s)
		p.checkRef(s)
	}
	p.checkStale(2 * len(p.stale))
	if st := p.c.stats(); st.WarmPages > p.empties() {
		p.t.Fatalf("%d pages are warm, and %d empty", st.WarmPages, p.empties())
	}
}

// empties returns how many pages of p have no live slot.
func (p *modelPool) empties() int {
	used := make(map[*page]bool)
	for _, s := range p.live {
		used[pageOf(uintptr(s.x))] = true
	}
	return len(p.c.depot.pages) - len(used)
}

// end puts what is out, closes all pools, and verifies that nothing is left.
func (m *model) end() {
	clear(m.faults)
	for _, p := range m.pools {
		p.checkAll()
		p.settle()
		p.putBatch(p.takeBack(0, len(p.live)))
		p.check()
		require.NoError(m.t, p.c.close())
		require.Empty(m.t, p.c.depot.pages)
		m.checkStale(2 * len(m.stale))
		if len(p.put) > 0 {
			p.refuses(ErrClosed, func() { p.api.put(p.put[0]) })
		}
	}
	m.checkMemory()
	require.Zero(m.t, ReadMemory().InUse)
	require.LessOrEqual(m.t, unitsInUse(), m.units, "units of Refs that no page has")
	m.arena.purge(func(released) bool { return true })
	m.arena.purgeHeld(&m.pools[0].c.depot.purged)
	require.Zero(m.t, ReadMemory().Committed)
}
