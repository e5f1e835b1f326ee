package pool

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/internal/hook"
)

// Test has tests of what a pool does, for instance go test -run 'Test/retire-fastpath'.
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
		t.Run("4096", func(t *testing.T) { slotSize[[4096]byte](t) })
		t.Run("100000", func(t *testing.T) { slotSize[[100000]byte](t) })
	})
	t.Run("fast-path regression", func(t *testing.T) {
		t.Run("16", func(t *testing.T) { fastPathRegression[[16]byte](t) })
		t.Run("64", func(t *testing.T) { fastPathRegression[[64]byte](t) })
	})
	t.Run("starvation", starvation)
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

// perRound runs rounds of churn over n slots, and returns the slow Gets in each round after the
// first ones.
func perRound[T any](t *testing.T, p *Pool[T], n, rounds int, order []int) float64 {
	xs := make([]*T, n)
	round := func() {
		churn(p, xs, order)
		p.core.flush()
	}
	for range 3 {
		round()
	}
	before := p.Stats()
	for range rounds {
		round()
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
			// In a steady state, the page does not become empty and is not retired.
			steady := newStill[T](t)
			anchor := steady.Get()
			defer steady.Put(anchor)
			xs := make([]*T, n)
			churn(steady, xs, order)
			steady.core.flush()
			before := steady.Stats().SlowGets
			for range times(100) {
				churn(steady, xs, order)
				steady.core.flush()
			}
			steadily := float64(steady.Stats().SlowGets-before) / float64(times(100))
			if !watchAll { // a quarantine keeps slots from being got again
				assert.Less(t, steadily, 1.0)
			}

			assert.Zero(t, perRound(t, newStill[T](t), n, times(100), order))
			base := newBase[T](t)
			if n > base.Stats().SlotsPerPage {
				assert.GreaterOrEqual(t, perRound(t, base, n, times(100), order), 1.0, "slow Gets are counted")
			}
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
			assert.GreaterOrEqual(t, st.WarmPages, pages-1, "all except one whose slots are parked")
			assert.Positive(t, perRound(t, newBase[T](t), n, times(50), order), "slow Gets are counted")
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

// A rig is a pool without its type, for tests that mix types.
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
	for round := range times(60) {
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
	size := unsafe.Sizeof(*new(T))
	align := alignFor(size, 1)
	assert.Zero(t, align%unsafe.Alignof(*new(T)), "of the type")
	assert.GreaterOrEqual(t, st.SlotSize, int(size))
	assert.GreaterOrEqual(t, st.SlotsPerPage, 8)
	xs := make([]*T, 50)
	for range 20 { // so that pages are retired, and released by Trim
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

type odd struct {
	A byte
	B uint64
	C [3]byte
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
		assert.Positive(t, base, "slow Gets are counted")
	}
}

// starvation: slots that others put are collected, and their pages go to the arena, although the
// owner of the pages never leaves its fast path.
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
				runtime.Gosched() // nothing else lets other goroutines run there
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

func TestStats(t *testing.T) {
	needsOSMemory(t)
	exactSlots(t)
	oneP(t)
	p := newStill[[64]byte](t, WithName("orders"))
	want := Stats{ID: p.core.id, Name: "orders", Type: "[64]uint8", SlotSize: 64, SlotsPerPage: 1024, PageBytes: 64 << 10, OffHeap: offHeap, Access: access()}
	assert.Equal(t, want, p.Stats())
	x := p.Get()
	want.Live, want.Pages, want.Gets, want.SlowGets = 1, 1, 1, 1
	want.MappedBytes, want.CommittedBytes = 64<<10, 4<<10
	assert.Equal(t, want, p.Stats())
	y := p.Get()
	p.Put(x)
	p.Put(y)
	p.core.flush()
	st := p.Stats()
	assert.Equal(t, 1, st.WarmPages)
	assert.Equal(t, uint64(1), st.Retirements)
	assert.Equal(t, int64(64<<10), p.Trim())
	st = p.Stats()
	assert.Zero(t, st.Pages)
	assert.Zero(t, st.MappedBytes)
	assert.Equal(t, int64(64<<10), st.PurgedBytes)
	assert.Equal(t, uint64(1), st.Releases)
	assert.Zero(t, p.Trim(), "nothing is left to purge")
}

// Stats says where slots are and how goroutines get shards, because builds differ in that.
func TestStatsOfBuild(t *testing.T) {
	newArena(t)
	p := newStill[[1024]byte](t)
	assert.Equal(t, offHeap, p.Stats().OffHeap)
	assert.Equal(t, access(), p.Stats().Access)
	if debugging {
		return // quarantine keeps slots from use
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	xs := make([]*[1024]byte, 32<<10)
	p.GetBatch(xs)
	runtime.ReadMemStats(&after)
	onHeap := int64(after.HeapAlloc - before.HeapAlloc)
	assert.Equal(t, !p.Stats().OffHeap, onHeap > 16<<20, "%d bytes of 32 MiB are on the heap", onHeap)
	p.PutBatch(xs)
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

func TestClose(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	p := New[[64]byte](WithName("c"))
	x, y := p.Get(), p.Get()
	p.Put(y)
	err := p.Close()
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorContains(t, err, "1 of its slots")
	y = p.Get() // a Close that fails changes nothing
	p.Put(y)
	p.Put(x)
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Close(), ErrClosed)
	assert.Equal(t, "c", p.Stats().Name)
	assert.Zero(t, p.Stats().Pages)
	assert.False(t, p.core.alarm.goesOn(), "ticks are left")
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}

// Pools that are made and closed in turn use the same addresses.
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

// A closed pool goes when nobody refers to it, also if others use its memory, or have Refs whose
// records lie beside those of its own.
func TestClosedPoolGoes(t *testing.T) {
	for name, use := range map[string]func(*Pool[[64]byte]) *[64]byte{
		"memory":  (*Pool[[64]byte]).Get,
		"Refs":    func(p *Pool[[64]byte]) *[64]byte { _, x := p.GetRef(); return x },
		"guarded": func(p *Pool[[64]byte]) *[64]byte { x, _ := p.TryGet(); return x },
	} {
		t.Run(name, func(t *testing.T) {
			newArena(t)
			p := New[[64]byte](WithGuardSampling(1))
			p.Put(use(p))
			require.NoError(t, p.Close())
			closed := weak.Make(p)
			p = newStill[[64]byte](t, WithGuardSampling(1))
			defer p.Put(use(p))
			gcUntil(t, func() bool { return closed.Value() == nil })
		})
	}
}

func TestLimitOptions(t *testing.T) {
	for _, test := range []struct {
		text string
		make func()
	}{
		{"WithLimit(-1)", func() { New[[64]byte](WithLimit(-1)) }},
		{"WithLimit(65535)", func() { New[[64]byte](WithLimit(1<<16 - 1)) }},
		{"524288 bytes", func() { New[[9000]byte](WithLimit(1 << 16)) }},
		{"WithWarmPages(-1)", func() { New[[64]byte](WithWarmPages(-1)) }},
	} {
		func() {
			defer func() { assert.ErrorContains(t, recover().(error), test.text) }()
			test.make()
		}()
	}
	p := newStill[[64]byte](t, WithLimit(0), WithWarmPages(0))
	p.PutBatch(simBatch(p, 100_000))
}

func TestAlignOptions(t *testing.T) {
	for _, n := range []int{0, -1, -64, 3, 48, 4095, 4097, 8192, math.MinInt, math.MaxInt} {
		assert.PanicsWithError(t, fmt.Sprintf("pool ([64]uint8): WithAlign(%d): give a power of two from 1 to 4096, in bytes", n),
			func() { New[[64]byte](WithAlign(n)) })
	}
	for n := 1; n <= 4096; n *= 2 {
		p := newStill[[24]byte](t, WithAlign(3), WithAlign(n)) // the last one counts
		assert.Zero(t, p.Stats().SlotSize%n)
		if redZone == 0 {
			assert.Equal(t, (24+max(n, 8)-1)/max(n, 8)*max(n, 8), p.Stats().SlotSize)
		}
		x := p.Get()
		assert.Zero(t, address(x)%uintptr(n))
		p.Put(x)
	}
	// Slots do not become larger than MaxSlotSize, and a limit knows how many there are.
	p := newStill[[MaxSlotSize - 1]byte](t, WithAlign(4096))
	if redZone == 0 {
		assert.Equal(t, MaxSlotSize, p.Stats().SlotSize)
	}
	q := newStill[[8]byte](t, WithAlign(4096), WithLimit(1<<16))
	xs := fillUp(t, q)
	assert.Len(t, xs, q.Stats().SlotsPerPage)
	q.PutBatch(xs)
}

type node struct {
	Key  [2]int32
	Next *node
}

type order struct {
	ID    int64
	Items [3]struct {
		Qty  int
		Name string
	}
}

type embedded struct{ Quote quote }

func TestCheckType(t *testing.T) {
	good := []error{
		CheckType[bool](), CheckType[uintptr](), CheckType[complex128](), CheckType[[7]float32](),
		CheckType[quote](), CheckType[embedded](), CheckType[sync.Mutex](), CheckType[sync.WaitGroup](),
		CheckType[atomic.Int64](), CheckType[[0]*int](), CheckType[struct {
			_ [0]func()
			x int
		}](), CheckType[[MaxSlotSize]byte](), CheckType[time.Duration](),
	}
	for i, err := range good[:9] {
		assert.NoError(t, err, "good %d", i)
	}
	assert.NoError(t, good[10])
	assert.NoError(t, good[11])

	bad := []struct {
		err  error
		path string
	}{
		{CheckType[order](), "pool.order.Items[].Name (string)"},
		{CheckType[node](), "pool.node.Next (*pool.node)"},
		{CheckType[string](), "string (string)"},
		{CheckType[any](), "interface {} (interface {})"},
		{CheckType[[2][3]map[int]int](), "[2][3]map[int]int[][] (map[int]int)"},
		{CheckType[struct{ f func() }](), "f (func())"},
		{CheckType[struct{ c chan int }](), "c (chan int)"},
		{CheckType[struct{ s []byte }](), "s ([]uint8)"},
		{CheckType[struct{ p unsafe.Pointer }](), "p (unsafe.Pointer)"},
		{CheckType[time.Time](), "time.Time.loc (*time.Location)"},
		{CheckType[netip.Addr](), "netip.Addr.z"},
		{CheckType[sync.Cond](), "sync.Cond.L (sync.Locker)"},
		{CheckType[atomic.Pointer[int]](), "(unsafe.Pointer)"},
		{CheckType[struct{}](), "size 0"},
		{CheckType[[0]*int](), "size 0"},
		{CheckType[[MaxSlotSize + 1]byte](), "67108865 bytes"},
	}
	for _, test := range bad {
		var typeErr *TypeError
		require.ErrorAs(t, test.err, &typeErr)
		assert.ErrorContains(t, test.err, test.path)
		assert.NotEmpty(t, typeErr.Path)
	}
	assert.PanicsWithError(t, CheckType[order]().Error(), func() { New[order]() })
	assert.Equal(t, "pool.order", reflect.TypeFor[order]().String())
}

// The calls of a copy of a Pool panic and say so, sooner or later. Until then, the original does
// what they ask for.
func TestCopiedPool(t *testing.T) {
	requireCopied := func(f func()) {
		t.Helper()
		require.PanicsWithValue(t, errCopied, f)
	}
	p := newStill[quote](t)
	if pinned {
		q := copied(p) // before p has a shard
		requireCopied(func() { q.Get() })
		requireCopied(func() { _, _ = q.TryGet() })
		requireCopied(func() { q.GetBatch(make([]*quote, 2)) })
		requireCopied(func() { q.Put(&global) })
		requireCopied(func() { q.PutBatch([]*quote{&global}) })
	}
	p.Put(p.Get())
	q := copied(p)
	requireCopied(func() { q.Put(&global) })
	requireCopied(func() { q.Trim() })
	requireCopied(func() { _ = q.Close() })
	requireCopied(func() { q.Stats() })
	requireCopied(func() { q.Ref(&global) })
	requireCopied(func() {
		for range q.All() {
			t.Error("All comes to a slot of a copy")
		}
	})
	var xs []*quote
	requireCopied(func() {
		for range 100_000 {
			xs = append(xs, q.Get())
		}
	})
	assert.Equal(t, len(xs), p.Stats().Live)
	p.PutBatch(xs)
	require.NoError(t, p.core.checkInvariants())
}

// The current page is no warm one when a Get has come back to it.
func TestWarmPageInUse(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	p.core.flush()
	require.Equal(t, 1, p.Stats().WarmPages)
	x := p.Get()
	assert.Zero(t, p.Stats().WarmPages)
	p.Put(x)
}
