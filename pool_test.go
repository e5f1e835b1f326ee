package pool

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/internal/hook"
)

// view returns the bytes of a slot.
func view[T any](x *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafe.Sizeof(*x))
}

// needsOSMemory skips a test of what becomes of memory of the system.
func needsOSMemory(t testing.TB) {
	if !offHeap {
		t.Skip("in this build memory comes from the Go heap")
	}
}

// exactSlots skips a test that knows how many slots a page has.
func exactSlots(t testing.TB) {
	if redZone != 0 {
		t.Skip("in this build slots have red zones")
	}
}

// needsPreemption skips a test of goroutines that take turns by themselves, in loops without
// end.
func needsPreemption(t testing.TB) {
	if runtime.GOARCH == "wasm" {
		t.Skip("here, a goroutine runs until it waits")
	}
}

// oneP keeps the test on one P, so that counters do not depend on the scheduler.
func oneP(t testing.TB) {
	noQuarantine(t)
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// stopClock keeps c's timer from ticking: to arm, it looks armed already.
func (c *core) stopClock() { c.clock.armed.Store(true) }

// newStill makes a pool that does not tick by time.
func newStill[T any](t testing.TB, opts ...Option) *Pool[T] {
	p := New[T](opts...)
	p.core.stopClock()
	t.Cleanup(func() {
		require.NoError(t, p.core.checkInvariants())
		require.NoError(t, p.Close())
	})
	return p
}

// newBase is newStill with the retirement changes off.
func newBase[T any](t testing.TB) *Pool[T] {
	hook.Promotion.Store(hook.None)
	defer hook.Promotion.Store(hook.Reset)
	return newStill[T](t)
}

// churn is one round: n Gets, then Puts in the given order.
func churn[T any](p *Pool[T], xs []*T, order []int) {
	for i := range xs {
		xs[i] = p.Get()
	}
	for _, i := range order {
		p.Put(xs[i])
	}
}

// orders returns first-in, last-in and shuffled orders of n.
func orders(n int) map[string][]int {
	first, last := make([]int, n), make([]int, n)
	for i := range n {
		first[i], last[i] = i, n-1-i
	}
	return map[string][]int{"first-in": first, "last-in": last, "shuffled": rand.New(rand.NewPCG(1, 2)).Perm(n)}
}

// canary is what slot i holds in a round.
func canary(round, i, k int) byte { return byte(round*31 + i*7 + k*3 + 1) }

func fill(b []byte, round, i int) {
	for k := range b {
		b[k] = canary(round, i, k)
	}
}

func intact(b []byte, round, i int) bool {
	for k := range b {
		if b[k] != canary(round, i, k) {
			return false
		}
	}
	return true
}

func churnCorrect[T any](t *testing.T, rounds int) {
	p := newStill[T](t)
	const n = 100
	xs := make([]*T, n)
	for round := range times(rounds) {
		for i := range xs {
			xs[i] = p.GetNoZero()
			fill(view(xs[i]), round, i)
		}
		for i := range xs {
			if !intact(view(xs[i]), round, i) {
				t.Fatalf("round %d: slot %d has been overwritten", round, i)
			}
		}
		for _, i := range rand.Perm(n) {
			p.Put(xs[i])
		}
	}
	assert.Zero(t, p.Stats().Live)
}

// times is n, or fewer in a build that watches all slots, which is slow.
func times(n int) int {
	if watchAll {
		return max(n/20, 2)
	}
	return n
}

// perRound runs rounds of churn over n slots and returns the slow Gets a round
// after warm-up.
func perRound[T any](t *testing.T, p *Pool[T], n, rounds int, order []int) float64 {
	xs := make([]*T, n)
	for range 3 {
		churn(p, xs, order)
	}
	before := p.Stats()
	for range rounds {
		churn(p, xs, order)
	}
	after := p.Stats()
	if p.core.promotion == hook.Reset {
		assert.Equal(t, before.Releases, after.Releases, "releases")
		assert.Equal(t, before.PurgedBytes, after.PurgedBytes, "purged bytes")
		assert.Greater(t, after.Promotions, before.Promotions, "promotions")
	}
	return float64(after.SlowGets-before.SlowGets) / float64(rounds)
}

func retireFastpath[T any](t *testing.T, n int) {
	oneP(t)
	for name, order := range orders(n) {
		t.Run(name, func(t *testing.T) {
			// Steady state never empties the page, so nothing retires: each
			// time around, what was put is collected once.
			steady := newStill[T](t)
			anchor := steady.Get()
			defer steady.Put(anchor)
			xs := make([]*T, n)
			churn(steady, xs, order)
			before := steady.Stats().SlowGets
			for range times(100) {
				churn(steady, xs, order)
			}
			steadily := float64(steady.Stats().SlowGets-before) / float64(times(100))
			assert.Positive(t, steadily, "the counter is alive")

			assert.Zero(t, perRound(t, newStill[T](t), n, times(100), order))
			assert.GreaterOrEqual(t, perRound(t, newBase[T](t), n, times(100), order), 1.0)
		})
	}
}

func multiPageChurn[T any](t *testing.T, pages int) {
	oneP(t)
	p := newStill[T](t)
	n := pages * p.Stats().SlotsPerPage
	for name, order := range orders(n) {
		t.Run(name, func(t *testing.T) {
			assert.Zero(t, perRound(t, p, n, times(50), order))
			st := p.Stats()
			assert.Equal(t, pages, st.Pages)
			assert.GreaterOrEqual(t, st.WarmPages, pages-1, "all but one whose slots are parked")
			assert.Positive(t, perRound(t, newBase[T](t), n, times(50), order), "the counter is alive")
		})
	}
}

func zeroAfterChurn[T any](t *testing.T) {
	p := newStill[T](t)
	zero := make([]byte, unsafe.Sizeof(*new(T)))
	xs := make([]*T, 300)
	for round := range 200 {
		for i := range xs {
			switch i % 3 {
			case 0:
				xs[i] = p.Get()
			case 1:
				var err error
				xs[i], err = p.TryGet()
				require.NoError(t, err)
			default:
				p.GetBatch(xs[i : i+1])
			}
			require.Equal(t, zero, view(xs[i]), "round %d, slot %d", round, i)
			fill(view(xs[i]), round, i)
		}
		for _, i := range rand.Perm(len(xs)) {
			p.Put(xs[i])
		}
		if round%50 == 49 {
			p.Trim()
		}
	}
}

func singleObj[T any](t *testing.T) {
	oneP(t)
	p := newStill[T](t)
	x := p.Get()
	p.Put(x)
	before := p.Stats()
	for round := range 1000 {
		y := p.GetNoZero()
		require.Same(t, x, y)
		fill(view(y), round, 0)
		require.True(t, intact(view(y), round, 0))
		p.Put(y)
	}
	after := p.Stats()
	assert.Equal(t, before.SlowGets, after.SlowGets)
	assert.Equal(t, 1, after.Pages)
}

// A rig is a pool of some type, for tests that mix types.
type rig struct {
	get   func() []byte
	put   func([]byte)
	stats func() Stats
}

func newRig[T any](t testing.TB) rig {
	p := newStill[T](t)
	return rig{
		get:   func() []byte { return view(p.Get()) },
		put:   func(b []byte) { p.Put((*T)(unsafe.Pointer(unsafe.SliceData(b)))) },
		stats: p.Stats,
	}
}

func mixedSizesChurn(t *testing.T) {
	rigs := []rig{
		newRig[[1]byte](t), newRig[[8]byte](t), newRig[[16]byte](t), newRig[[24]byte](t),
		newRig[[40]byte](t), newRig[[64]byte](t), newRig[[100]byte](t), newRig[[256]byte](t),
		newRig[[1000]byte](t), newRig[[4096]byte](t), newRig[[9000]byte](t), newRig[[70000]byte](t),
	}
	const each = 40
	for round := range 60 {
		var slots [][]byte
		for range each {
			for _, r := range rigs {
				b := r.get()
				fill(b, round, len(slots))
				slots = append(slots, b)
			}
		}
		for i, b := range slots {
			require.True(t, intact(b, round, i), "round %d, slot %d", round, i)
		}
		for _, i := range rand.Perm(len(slots)) {
			rigs[i%len(rigs)].put(slots[i])
		}
	}
	for _, r := range rigs {
		assert.Zero(t, r.stats().Live)
	}
}

func slotSize[T any](t *testing.T) {
	p := newStill[T](t)
	st := p.Stats()
	size, align := unsafe.Sizeof(*new(T)), unsafe.Alignof(*new(T))
	assert.GreaterOrEqual(t, st.SlotSize, int(size))
	assert.GreaterOrEqual(t, st.SlotsPerPage, 8)
	xs := make([]*T, 50)
	for range 20 { // through retirement, and through Trim
		for i := range xs {
			xs[i] = p.Get()
			assert.Zero(t, uintptr(unsafe.Pointer(xs[i]))%align)
		}
		seen := make(map[*T]bool)
		for _, x := range xs {
			assert.False(t, seen[x])
			seen[x] = true
		}
		p.PutBatch(xs)
	}
	p.Trim()
	assert.Zero(t, uintptr(unsafe.Pointer(xs[0]))%align)
}

func fastPathRegression[T any](t *testing.T) {
	oneP(t)
	for _, pages := range []int{2, 4} {
		p := newStill[T](t)
		n := p.Stats().SlotsPerPage
		order := orders(n * pages)["first-in"]
		single := perRound(t, newStill[T](t), n, times(50), order[:n]) / float64(n)
		multi := perRound(t, p, n*pages, times(50), order) / float64(n*pages)
		assert.LessOrEqual(t, multi, 4*single)

		base := perRound(t, newBase[T](t), n*pages, times(50), order) / float64(n*pages)
		assert.Positive(t, base, "the counter is alive")
	}
}

type odd struct {
	A byte
	B uint64
	C [3]byte
}

// The tests of what a pool does, under the names by which they are asked for:
// go test -run 'Test/retire-fastpath'.
func Test(t *testing.T) {
	t.Run("churn-correct", func(t *testing.T) {
		t.Run("8", func(t *testing.T) { churnCorrect[[8]byte](t, 1000) })
		t.Run("16", func(t *testing.T) { churnCorrect[[16]byte](t, 1000) })
		t.Run("32", func(t *testing.T) { churnCorrect[[32]byte](t, 1000) })
		t.Run("64", func(t *testing.T) { churnCorrect[[64]byte](t, 1000) })
		t.Run("128", func(t *testing.T) { churnCorrect[[128]byte](t, 500) })
		t.Run("256", func(t *testing.T) { churnCorrect[[256]byte](t, 500) })
		t.Run("512", func(t *testing.T) { churnCorrect[[512]byte](t, 500) })
		t.Run("1024", func(t *testing.T) { churnCorrect[[1024]byte](t, 500) })
	})
	t.Run("retire-fastpath", func(t *testing.T) {
		t.Run("64", func(t *testing.T) { retireFastpath[[64]byte](t, 1024) })
		t.Run("64-part", func(t *testing.T) { retireFastpath[[64]byte](t, 200) })
		t.Run("1024", func(t *testing.T) { retireFastpath[[1024]byte](t, 50) })
	})
	t.Run("multi-page-churn", func(t *testing.T) {
		t.Run("16-2", func(t *testing.T) { multiPageChurn[[16]byte](t, 2) })
		t.Run("64-2", func(t *testing.T) { multiPageChurn[[64]byte](t, 2) })
		t.Run("64-3", func(t *testing.T) { multiPageChurn[[64]byte](t, 3) })
		t.Run("64-4", func(t *testing.T) { multiPageChurn[[64]byte](t, 4) })
		t.Run("1024-4", func(t *testing.T) { multiPageChurn[[1024]byte](t, 4) })
	})
	t.Run("zero-after-churn", func(t *testing.T) {
		t.Run("16", func(t *testing.T) { zeroAfterChurn[[16]byte](t) })
		t.Run("64", func(t *testing.T) { zeroAfterChurn[[64]byte](t) })
		t.Run("1024", func(t *testing.T) { zeroAfterChurn[[1024]byte](t) })
	})
	t.Run("single-obj", func(t *testing.T) {
		t.Run("8", func(t *testing.T) { singleObj[[8]byte](t) })
		t.Run("64", func(t *testing.T) { singleObj[[64]byte](t) })
		t.Run("1024", func(t *testing.T) { singleObj[[1024]byte](t) })
		t.Run("8192", func(t *testing.T) { singleObj[[8192]byte](t) })
	})
	t.Run("mixed-sizes-churn", mixedSizesChurn)
	t.Run("slot-size", func(t *testing.T) {
		t.Run("1", func(t *testing.T) { slotSize[byte](t) })
		t.Run("odd", func(t *testing.T) { slotSize[odd](t) })
		t.Run("uint64", func(t *testing.T) { slotSize[uint64](t) })
		t.Run("100000", func(t *testing.T) { slotSize[[100000]byte](t) })
	})
	t.Run("fast-path regression", func(t *testing.T) {
		t.Run("16", func(t *testing.T) { fastPathRegression[[16]byte](t) })
		t.Run("64", func(t *testing.T) { fastPathRegression[[64]byte](t) })
	})
	t.Run("starvation", starvation)
}

// starvation: memory that others give back reaches the arena although its owner
// never leaves its fast path.
func starvation(t *testing.T) {
	type obj [64]byte
	noQuarantine(t)
	p := New[obj]()
	xs := make([]*obj, times(64<<20/64))
	for i := range xs {
		xs[i] = p.Get()
	}
	pages := p.Stats().Pages
	var stop atomic.Bool
	var wg group
	wg.Go(func() {
		mine := make([]*obj, 512)
		for !stop.Load() {
			for i := range mine {
				mine[i] = p.Get()
			}
			for _, x := range mine {
				p.Put(x)
			}
			if runtime.GOARCH == "wasm" {
				runtime.Gosched() // nothing else makes way for the other goroutines there
			}
		}
	})
	wg.Go(func() { p.PutBatch(xs) })
	assert.Eventually(t, func() bool { return p.Stats().Pages <= max(pages/32, 4) }, 10*time.Second, 20*time.Millisecond)
	stop.Store(true)
	wg.Wait()
	assert.GreaterOrEqual(t, p.Stats().Releases, uint64(pages*9/10))
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

func TestBatch(t *testing.T) {
	p := newStill[[64]byte](t)
	for _, n := range []int{0, 1, 63, 64, 65, 1000} {
		xs := make([]*[64]byte, n)
		p.GetBatch(xs)
		seen := make(map[*[64]byte]bool)
		for _, x := range xs {
			require.NotNil(t, x)
			require.Equal(t, [64]byte{}, *x)
			require.False(t, seen[x])
			seen[x] = true
			fill(x[:], n, 1)
		}
		assert.Equal(t, n, p.Stats().Live)
		before := append([]*[64]byte{}, xs...)
		p.PutBatch(append(xs, nil))
		assert.Equal(t, before, xs)
		assert.Zero(t, p.Stats().Live)
	}
}

// A Get that takes a page is slow once: what is slow is a share of all Gets.
func TestSlowGetsWhileGrowing(t *testing.T) {
	testSlowGets[[64]byte](t)
	testSlowGets[[8192]byte](t) // each carved by itself
	testSlowGets[[100_000]byte](t)
}

func testSlowGets[T any](t *testing.T) {
	oneP(t)
	p := newStill[T](t)
	g := p.core.geo
	xs := make([]*T, 3*g.slots)
	for i := range xs {
		xs[i] = p.Get()
	}
	assert.EqualValues(t, 3*((g.slots+g.carve-1)/g.carve), p.Stats().SlowGets, "each for what it carves")
	p.PutBatch(xs)
	shards := p.core.shards.Load().present()
	seize(shards)
	shards[0].flush(0)
	shards[0].giveUpAll()
	given := shards[0].takeOutbox()
	handBack(shards)
	p.core.settle(given)
	before := p.Stats().SlowGets
	x := p.Get()
	assert.EqualValues(t, 1, p.Stats().SlowGets-before, "a page adopted")
	p.Put(x)
}

func TestStats(t *testing.T) {
	needsOSMemory(t)
	exactSlots(t)
	oneP(t)
	p := newStill[[64]byte](t, WithName("orders"))
	want := Stats{ID: p.core.id, Name: "orders", Type: "[64]uint8", SlotSize: 64, SlotsPerPage: 992, OffHeap: offHeap, Access: access()}
	assert.Equal(t, want, p.Stats())
	x := p.Get()
	want.Live, want.Pages, want.Gets, want.SlowGets = 1, 1, 1, 1
	want.MappedBytes, want.CommittedBytes = 64<<10, 4<<10
	assert.Equal(t, want, p.Stats())
	y := p.Get()
	p.Put(x)
	p.Put(y)
	st := p.Stats()
	assert.Equal(t, 1, st.WarmPages)
	assert.Equal(t, uint64(1), st.Retirements)
	assert.Equal(t, int64(64<<10), p.Trim())
	st = p.Stats()
	assert.Zero(t, st.Pages)
	assert.Zero(t, st.MappedBytes)
	assert.Equal(t, int64(64<<10), st.PurgedBytes)
	assert.Equal(t, uint64(1), st.Releases)
	assert.Zero(t, p.Trim(), "nothing left")
}

func TestClose(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	p := New[[64]byte](WithName("c"))
	x, y := p.Get(), p.Get()
	p.Put(y)
	err := p.Close()
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorContains(t, err, "1 of its slots")
	y = p.Get() // nothing changed
	p.Put(y)
	p.Put(x)
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Close(), ErrClosed)
	assert.Equal(t, "c", p.Stats().Name)
	assert.Zero(t, p.Stats().Pages)
	assert.False(t, p.core.clock.timer.Stop(), "no timer is left")
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}

// Many pools in turn use the same addresses.
func TestCloseReuse(t *testing.T) {
	addrs := make(map[uintptr]bool)
	for range 200 {
		p := New[[64]byte]()
		x := p.Get()
		addrs[uintptr(unsafe.Pointer(x))] = true
		x[0] = 1
		p.Put(x)
		require.NoError(t, p.Close())
	}
	assert.Less(t, len(addrs), 20)
}

// A pool that nobody calls any more gives its memory back, and then its timer
// rests.
func TestExpiryByTime(t *testing.T) {
	exactSlots(t)
	noQuarantine(t)
	needsOSMemory(t)
	p := New[[64]byte]()
	churn(p, make([]*[64]byte, 4900), orders(4900)["first-in"])
	assert.Equal(t, 5, p.Stats().Pages)
	assert.True(t, p.core.clock.armed.Load())
	assert.Eventually(t, func() bool { return p.Stats().Pages == 0 }, 5*time.Second, 10*time.Millisecond)
	assert.Eventually(t, func() bool { return !p.core.clock.armed.Load() }, 5*time.Second, 10*time.Millisecond)
	assert.Eventually(t, func() bool { return p.Stats().PurgedBytes == 5*64<<10 }, 5*time.Second, 10*time.Millisecond)
	p.Put(p.Get())
	assert.True(t, p.core.clock.armed.Load(), "the next use arms it again")
	require.NoError(t, p.Close())
}

// What an idle P holds is collected, and goroutines on other Ps can have it.
func TestIdleShard(t *testing.T) {
	noQuarantine(t)
	p := New[[64]byte]()
	xs := make([]*[64]byte, 3000)
	for i := range xs {
		xs[i] = p.Get()
	}
	for i := 0; i < len(xs); i += 2 {
		p.Put(xs[i]) // every page is left partly free
	}
	assert.Eventually(t, func() bool { return p.core.depot.spares.Load() > 0 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, p.core.checkInvariants())
	pages := p.Stats().Pages
	ys := make([]*[64]byte, 1500)
	p.GetBatch(ys)
	assert.Equal(t, pages, p.Stats().Pages, "no new page while others are partly free")
	p.PutBatch(ys)
	for i := 1; i < len(xs); i += 2 {
		p.Put(xs[i])
	}
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

func TestGOMAXPROCS(t *testing.T) {
	noQuarantine(t)
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	p := New[[64]byte]()
	var live atomic.Int64
	for _, n := range []int{1, 8, 2, 32, 1} {
		runtime.GOMAXPROCS(n)
		var wg group
		for range n * 2 {
			wg.Go(func() {
				xs := make([]*[64]byte, 100)
				for range times(200) {
					p.GetBatch(xs)
					live.Add(100)
					p.PutBatch(xs)
					live.Add(-100)
				}
			})
		}
		wg.Wait()
		require.NoError(t, p.core.checkInvariants())
	}
	assert.Zero(t, p.Stats().Live)
	assert.Eventually(t, func() bool { return p.Stats().Pages == 0 }, 5*time.Second, 10*time.Millisecond, "orphaned shards are looked after")
	require.NoError(t, p.Close())
}

func TestTrimCollectsFromAllPs(t *testing.T) {
	p := New[[64]byte]()
	p.core.stopClock()
	const n = 100000
	ch := make(chan []*[64]byte, 4)
	var wg group
	wg.Go(func() {
		for range n / 100 {
			xs := make([]*[64]byte, 100)
			p.GetBatch(xs)
			ch <- xs
		}
		close(ch)
	})
	wg.Go(func() {
		for xs := range ch {
			for _, x := range xs {
				p.Put(x)
			}
		}
	})
	wg.Wait()
	p.Trim()
	st := p.Stats()
	assert.Zero(t, st.Pages)
	assert.Zero(t, st.Live)
	require.NoError(t, p.Close())
}

// Objects that live in the pool are live objects of nothing else.
func TestNoAllocs(t *testing.T) {
	if watchAll {
		t.Skip("this build keeps records of slots")
	}
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	xs := make([]*[64]byte, 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range xs {
			xs[i] = p.Get()
		}
		for _, x := range xs {
			p.Put(x)
		}
		p.GetBatch(xs)
		p.PutBatch(xs)
	}))
}

func TestGeometry(t *testing.T) {
	for size := uintptr(1); size <= MaxSlotSize; size += 1 + size/7 {
		g := geometryOf(size)
		require.GreaterOrEqual(t, uintptr(g.stride), size)
		require.Less(t, uintptr(g.stride), size+minStride)
		require.Zero(t, g.stride%minStride)
		require.GreaterOrEqual(t, g.slots, uint32(8))
		require.Less(t, g.slots, uint32(parking))
		require.LessOrEqual(t, g.slots*g.stride, g.pageSize)
		require.Zero(t, int(g.pageSize)%granuleSize)
		require.Contains(t, []int{1, 8, 64}, g.granules())

		pg := &page{pageShared: pageShared{base: unsafe.Pointer(unsafe.StringData("base")), stride: g.stride, recip: g.recip},
			pageOwned: pageOwned{reserved: g.slots}}
		for range 200 {
			off := rand.Uint32N(g.pageSize + g.pageSize/2)
			i, ok := pg.indexOf(uintptr(pg.base) + uintptr(off))
			require.Equal(t, off%g.stride == 0 && off/g.stride < g.slots, ok, "stride %d, offset %d", g.stride, off)
			if ok {
				require.Equal(t, off/g.stride, i)
			}
		}
		_, ok := pg.indexOf(uintptr(pg.base) - uintptr(g.stride))
		require.False(t, ok)
	}
}
