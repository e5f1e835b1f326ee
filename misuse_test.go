package pool

import (
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type quote struct {
	id, price int64
	symbol    [16]byte
}

// requireMisuse requires f to panic with an error that wraps want and names the
// pool and its type, and to leave the goroutine unpinned.
func requireMisuse(t *testing.T, want error, f func()) {
	t.Helper()
	var got any
	func() {
		defer func() { got = recover() }()
		f()
	}()
	require.NotNil(t, got, "no panic")
	err, ok := got.(error)
	require.True(t, ok, "panic value %v is no error", got)
	require.ErrorIs(t, err, want)
	assert.Contains(t, err.Error(), `pool "quotes" (pool.quote)`)
	// A pinned goroutine that gives up its P ends the process.
	runtime.Gosched()
	runtime.GC()
}

var global quote

func TestMisuse(t *testing.T) {
	other := New[quote](WithName("quotes"))
	tests := []struct {
		name string
		want error
		text string
		do   func(p *Pool[quote])
	}{
		{"double Put", ErrDoublePut, "Put before", func(p *Pool[quote]) {
			x := p.Get()
			p.Put(x)
			p.Put(x)
		}},
		{"double Put with others live", ErrDoublePut, "", func(p *Pool[quote]) {
			y, x, z := p.Get(), p.Get(), p.Get()
			p.Put(x)
			defer p.Put(y)
			defer p.Put(z)
			p.Put(x)
		}},
		{"double Put on another goroutine", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			done := make(chan struct{})
			go func() { p.Put(x); close(done) }()
			<-done
			p.Put(x)
		}},
		{"double Put in a batch", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			p.PutBatch([]*quote{x, x})
		}},
		{"double Put long after", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			xs := make([]*quote, 5000)
			p.GetBatch(xs)
			p.Put(x)
			p.PutBatch(xs)
			p.Put(x)
		}},
		{"double Put after the page was released", ErrDoublePut, "released since", func(p *Pool[quote]) {
			x := p.Get()
			p.Put(x)
			p.Trim()
			p.Put(x)
		}},
		{"slot never handed out", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.Put((*quote)(unsafe.Add(unsafe.Pointer(x), 1000*p.Stats().SlotSize)))
		}},
		{"heap", ErrForeignPut, "no pool has memory there", func(p *Pool[quote]) {
			x := new(quote)
			runtime.KeepAlive(&x)
			p.Put(x)
		}},
		{"stack", ErrForeignPut, "no pool has memory there", func(p *Pool[quote]) {
			var x quote
			p.Put(&x)
		}},
		{"global", ErrForeignPut, "no pool has memory there", func(p *Pool[quote]) { p.Put(&global) }},
		{"nearly nil", ErrForeignPut, "no pool has memory there", func(p *Pool[quote]) {
			p.core.put(pointerAt(8))
		}},
		{"inside a slot", ErrForeignPut, "8 bytes into a slot", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.Put((*quote)(unsafe.Pointer(&x.price)))
		}},
		{"inside a slot, in a batch", ErrForeignPut, "8 bytes into a slot", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.PutBatch([]*quote{nil, (*quote)(unsafe.Pointer(&x.price))})
		}},
		{"another pool of the same type", ErrForeignPut, "belongs to", func(p *Pool[quote]) {
			x := other.Get()
			defer other.Put(x)
			p.Put(x)
		}},
		{"Get after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Get() }},
		{"GetNoZero after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetNoZero() }},
		{"Put after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Put(&global) }},
		{"GetBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetBatch(make([]*quote, 3)) }},
		{"empty GetBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetBatch(nil) }},
		{"PutBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().PutBatch([]*quote{&global}) }},
		{"Trim after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Trim() }},
		{"slot of before Close", ErrClosed, "", func(*Pool[quote]) {
			p := New[quote](WithName("quotes"))
			x := p.Get()
			p.Put(x)
			if err := p.Close(); err != nil {
				panic(err)
			}
			p.Put(x)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			oneP(t)
			p := newStill[quote](t, WithName("quotes"))
			requireMisuse(t, test.want, func() {
				defer func() {
					if r := recover(); r != nil {
						assert.ErrorContains(t, r.(error), test.text)
						panic(r)
					}
				}()
				test.do(p)
			})
			// The pool works on, and nothing is counted twice.
			require.NoError(t, p.core.checkInvariants())
			xs := make([]*quote, 3000)
			p.GetBatch(xs)
			seen := make(map[*quote]bool)
			for _, x := range xs {
				require.False(t, seen[x])
				seen[x] = true
			}
			p.PutBatch(xs)
			require.Zero(t, p.Stats().Live)
		})
	}
	require.NoError(t, other.Close())
}

func closed() *Pool[quote] {
	p := New[quote](WithName("quotes"))
	if err := p.Close(); err != nil {
		panic(err)
	}
	return p
}

func TestPutNil(t *testing.T) {
	p := newStill[quote](t)
	p.Put(nil)
	p.PutBatch([]*quote{nil, nil})
	closed().Put(nil)
}

func TestTryGetAfterClose(t *testing.T) {
	x, err := closed().TryGet()
	assert.Nil(t, x)
	assert.ErrorIs(t, err, ErrClosed)
}

// The rest of a page that is no multiple of the slot holds no slot.
func TestPutBehindLastSlot(t *testing.T) {
	p := newStill[[24]byte](t)
	x := p.Get()
	defer p.Put(x)
	defer func() { assert.ErrorIs(t, recover().(error), ErrForeignPut) }()
	p.Put((*[24]byte)(unsafe.Add(unsafe.Pointer(x), p.Stats().SlotsPerPage*p.Stats().SlotSize)))
}

// A second Put of a parked slot is caught wherever in the lot the slot is, on whatever P it comes, and
// also if the slot was handed out from the lot and parked again meanwhile.
func TestSecondPutOfParkedSlot(t *testing.T) {
	c, shards := sim(t, 64, 3)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 20)
	refused := func(x uintptr) {
		t.Helper()
		for _, s := range shards {
			before := s.lot.n
			require.False(t, s.lot.repark(x))
			require.False(t, simPut(c, s, x))
			require.Equal(t, before, s.lot.n)
		}
	}
	for k, x := range xs[:10] {
		require.True(t, simPut(c, b, x))
		for _, before := range xs[:k+1] {
			refused(before)
		}
		require.EqualValues(t, k+1, b.lot.n)
	}
	for k := range 10 { // a slot that is handed out again may be put again
		x := simGet(t, c, b)
		require.Equal(t, xs[9-k], x)
		require.True(t, b.lot.repark(x))
		refused(x)
		require.Equal(t, x, simGet(t, c, b))
	}
	for _, k := range []int{9, 8, 7, 6} { // the entries above the second are stale now
		require.True(t, simPut(c, b, xs[k]))
	}
	for _, k := range []int{9, 8, 7, 6} {
		refused(xs[k])
	}
	require.NoError(t, c.checkInvariants())
	for _, x := range append(xs[:6], xs[10:]...) {
		require.True(t, simPut(c, b, x))
	}
	b.flush(0)
	c.settle(b.takeOutbox())
	require.NoError(t, c.checkInvariants())
	assert.Zero(t, c.stats().Live)
	seen := make(map[uintptr]bool)
	for _, x := range simFill(t, c, a, 20) {
		require.False(t, seen[x], "no slot is on a list twice")
		seen[x] = true
	}
}

// A second Put is caught wherever the slot has gone in between: to another P's
// parking lot, home from there, into a page that others own.
func TestDoublePutAcrossShards(t *testing.T) {
	c, shards := sim(t, 64, 3)
	var xs []uintptr
	for range 1500 {
		xs = append(xs, simGet(t, c, shards[0]))
	}
	for k, x := range xs {
		require.True(t, simPut(c, shards[k%3], x))
		for _, s := range shards {
			require.False(t, simPut(c, s, x), "slot %d, shard %d", k, s.id)
		}
	}
	for _, s := range shards {
		s.flush(0)
		for _, x := range xs {
			require.False(t, simPut(c, s, x))
		}
	}
}

// Two Puts of a slot at the same time are a data race of the caller's. They may
// go unnoticed, but no panic, no hang and no harm outside the pool may follow.
func TestRacingDoublePut(t *testing.T) {
	if raceEnabled {
		t.Skip("the detector would rightly report it")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[quote]()
	var caught atomic.Int64
	for range 300 {
		xs := make([]*quote, 500)
		p.GetBatch(xs)
		var wg group
		for range 4 {
			wg.Go(func() {
				for _, x := range xs {
					func() {
						defer func() {
							if r := recover(); r != nil {
								if !errors.Is(r.(error), ErrDoublePut) && !errors.Is(r.(error), ErrForeignPut) {
									panic(r)
								}
								caught.Add(1)
							}
						}()
						p.Put(x)
					}()
				}
			})
		}
		wg.Wait()
	}
	assert.Positive(t, caught.Load())
	p.Trim()
	p.Stats()
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
		{CheckType[[MaxSlotSize + 1]byte](), "524289 bytes"},
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

// A Pool that New did not make says so.
func TestZeroPool(t *testing.T) {
	var p Pool[quote]
	assert.PanicsWithValue(t, errNotNew, func() { p.Get() })
	assert.PanicsWithValue(t, errNotNew, func() { p.GetBatch(make([]*quote, 2)) })
	assert.PanicsWithValue(t, errNotNew, func() { p.Trim() })
	assert.PanicsWithValue(t, errNotNew, func() { _ = p.Close() })
	assert.PanicsWithValue(t, errNotNew, func() { p.Stats() })
	assert.PanicsWithValue(t, errNotNew, func() { p.Ref(&global) })
	assert.PanicsWithValue(t, errNotNew, func() {
		for range p.All() {
			t.Error("a slot of no pool")
		}
	})
	assert.Panics(t, func() { p.Put(&global) })
	runtime.Gosched()
}

// A copy of a Pool says so, sooner or later, and what it has done by then the original has done.
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
			t.Error("a slot of a copy")
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

// A parked slot that another Put, at the same time, has put on a list as well is not
// handed out from the lot.
func TestParkedAndListed(t *testing.T) {
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 3)
	require.True(t, simPut(c, shards[1], xs[0]))
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	require.EqualValues(t, parking, *pg.link(i))
	*pg.link(i) = none // the owner's push
	require.NotEqual(t, xs[0], simGet(t, c, shards[1]))
	require.Zero(t, shards[1].lot.n)
	*pg.link(i) = taken
}

// What a shard remembers of a slot that it handed out does not outlive the
// slot's page: the same address may by now be another pool's slot.
func TestForget(t *testing.T) {
	if !pinned {
		t.Skip("shards remember under locks as well, but simulated ones are not locked")
	}
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	n := int(c.geo.slots)
	first := simFill(t, c, a, n)
	xs := simFill(t, c, a, n) // the current page, full
	for _, x := range first[:a.lot.room] {
		require.True(t, simPut(c, a, x)) // makes the first page its own again
	}
	for a.lot.n != 0 {
		simGet(t, c, a)
	}
	require.True(t, simPut(c, a, xs[0]))
	require.Equal(t, xs[0], simGet(t, c, a))
	simGet(t, c, a) // turns to the first page
	for _, x := range xs {
		require.True(t, simPut(c, b, x))
	}
	b.flush(0)
	for range windowSole + 1 {
		simTick(c, b, false)
	}
	require.Equal(t, noPage, pageOf(xs[0]), "released")
	require.Equal(t, xs[0], uintptr(a.lot.places[0].slot), "a remembers")

	other, theirs := sim(t, 64, 1)
	again := simFill(t, other, theirs[0], 1)
	require.Equal(t, xs[0], again[0], "the arena uses the memory again")
	for range 2 { // the first may take another path, for all that has been signalled
		on(c, a, func() {
			defer func() { require.ErrorIs(t, recover().(error), ErrForeignPut) }()
			c.put(pointerAt(xs[0]))
		})
	}
	require.NoError(t, other.checkInvariants())
}
