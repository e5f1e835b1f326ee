package pool

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A heapNode holds all that a slot off the Go heap cannot.
type heapNode struct {
	next *heapNode
	name string
	m    map[string]int
	buf  []byte
	id   int
	_    [3]uint64
}

// gcUntil collects garbage until f is true. Cleanups run a little after a collection.
func gcUntil(t testing.TB, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		runtime.GC()
		if f() {
			return
		}
		runtime.Gosched()
	}
	require.True(t, f(), "after many collections")
}

func TestGoHeapKeepsWhatSlotsHold(t *testing.T) {
	p := New[heapNode](WithGoHeap())
	xs := make([]*heapNode, 1000)
	for i := range xs {
		xs[i] = p.Get()
		require.Zero(t, *xs[i])
		xs[i].m = map[string]int{"i": i}
		xs[i].name = strconv.Itoa(i)
		xs[i].buf = make([]byte, 10, 20)
		xs[i].next = xs[i/2]
	}
	runtime.GC()
	runtime.GC()
	for i, x := range xs {
		require.Equal(t, i, x.m["i"])
		require.Equal(t, strconv.Itoa(i), x.name)
		require.Same(t, xs[i/2], x.next)
	}
	assert.Equal(t, 1000, p.Stats().Live)
	assert.False(t, p.Stats().OffHeap)
	p.PutBatch(xs)
	for range 1000 {
		x := p.GetNoZero()
		require.Zero(t, *x)
	}
	assert.NoError(t, p.core.checkInvariants())
}

// A free slot keeps nothing alive, even if its reset has failed.
func TestGoHeapPutClears(t *testing.T) {
	noQuarantine(t)
	for name, opts := range map[string][]Option{
		"put":         {WithGoHeap()},
		"reset":       {WithGoHeap(), WithReset(func(*heapNode) {})},
		"reset fails": {WithGoHeap(), WithReset(func(*heapNode) { panic(errBroken) })},
	} {
		t.Run(name, func(t *testing.T) {
			p := New[heapNode](opts...)
			p.core.stopClock() // so that the page stays
			gone := make(chan int, 1)
			func() {
				x := p.Get()
				x.next = new(heapNode)
				runtime.AddCleanup(x.next, func(int) { gone <- 1 }, 0)
				_ = caught(func() error { p.Put(x); return nil })
			}()
			gcUntil(t, func() bool { return len(gone) == 1 })
			runtime.KeepAlive(p)
		})
	}
}

func TestGoHeapMisuse(t *testing.T) {
	for name, opts := range map[string][]Option{
		"cleared": {WithGoHeap()},
		"kept":    {WithGoHeap(), WithInit(func(*heapNode) {})},
		"reset":   {WithGoHeap(), WithInit(func(*heapNode) {}), WithReset(func(*heapNode) {})},
	} {
		t.Run(name, func(t *testing.T) {
			p := New[heapNode](opts...)
			q := New[heapNode](opts...)
			x, y := p.Get(), p.Get()
			x.id, y.id = 1, 2
			requirePanic(t, ErrForeignPut, func() { q.Put(x) })
			requirePanic(t, ErrForeignPut, func() { p.Put(new(heapNode)) })
			requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(address(x) + 8)) })
			requirePanic(t, ErrForeignPut, func() { q.PutBatch([]*heapNode{nil, x}) })
			assert.Equal(t, 1, x.id, "not touched")
			p.Put(x)
			requirePanic(t, ErrDoublePut, func() { p.Put(x) })
			assert.ErrorContains(t, caught(func() error { p.PutBatch([]*heapNode{x}); return nil }), "PutBatch(")
			requirePanic(t, ErrDoublePut, func() { p.PutBatch([]*heapNode{x}) })
			requirePanic(t, ErrDoublePut, func() { p.Ref(x) })
			assert.Equal(t, 2, y.id, "not touched")
			p.Put(y)
			assert.Zero(t, p.Stats().Live)
			assert.NoError(t, p.core.checkInvariants())

			// A page that was released.
			p.Trim()
			requirePanic(t, ErrDoublePut, func() { p.Put(x) })
			requirePanic(t, ErrForeignPut, func() { p.Put(x) })
			assert.Zero(t, p.Stats().Pages)
			require.NoError(t, p.Close())
			requirePanic(t, ErrClosed, func() { p.Put(y) })
		})
	}
}

// Slots that the program forgets are collected with their page, and counted.
func TestGoHeapLost(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	p := New[heapNode](WithGoHeap(), WithProfile(1), WithLimit(1<<20))
	per := p.Stats().SlotsPerPage
	xs := make([]*heapNode, 20*per+per/2)
	p.GetBatch(xs)
	kept := xs[len(xs)-1]
	if debugging {
		return // the debug build keeps stacks by address, and Gets go on
	}
	assert.Equal(t, 20*per+per/2, p.Stats().Live)
	runtime.KeepAlive(xs)
	gcUntil(t, func() bool { return p.Stats().Pages <= 1 })
	st := p.Stats()
	assert.EqualValues(t, 20*per, st.Lost)
	assert.Equal(t, per/2, st.Live)
	p.Put(kept)
	assert.Equal(t, per/2-1, p.Stats().Live)
	p.core.watches.mu.Lock()
	assert.LessOrEqual(t, len(p.core.watches.samples), per/2)
	p.core.watches.mu.Unlock()

	// The limit counts lost slots until they are collected.
	var last *heapNode
	var err error
	ys := make([]*heapNode, 0, 200*per) // so that nothing is collected before
	for last, err = p.TryGet(); err == nil; last, err = p.TryGet() {
		ys = append(ys, last)
	}
	require.ErrorIs(t, err, ErrLimit)
	require.Greater(t, len(ys), 100*per)
	runtime.KeepAlive(ys)
	gcUntil(t, func() bool {
		_, err := p.TryGet()
		return err == nil
	})
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close(), "whatever is out")
	assert.Zero(t, p.Stats().Live)
	assert.Equal(t, p.Stats().Gets-p.Stats().FailedGets-1, p.Stats().Lost)
}

// One slot that the program has keeps its page, and can be put.
func TestGoHeapWeakPageComesBack(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	p := New[heapNode](WithGoHeap())
	per := p.Stats().SlotsPerPage
	var kept []*heapNode
	for i := range 10 * per {
		if x := p.Get(); i%per == 7 {
			kept = append(kept, x)
			x.id = i
		}
	}
	for range 5 {
		runtime.GC()
	}
	assert.Equal(t, 10*per, p.Stats().Live)
	for k, x := range kept {
		require.Equal(t, k*per+7, x.id)
		p.Put(x)
		requirePanic(t, ErrDoublePut, func() { p.Put(x) })
	}
	assert.Equal(t, 10*per-10, p.Stats().Live)
	assert.NoError(t, p.core.checkInvariants())
	for range 10 {
		kept = append(kept, p.Get())
	}
	assert.Equal(t, 10*per, p.Stats().Live)
	runtime.KeepAlive(kept)
}

// A Ref keeps its page as long as its slot is in use. What All says keeps nothing.
func TestGoHeapRefs(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	p := New[heapNode](WithGoHeap())
	per := p.Stats().SlotsPerPage
	var refs []Ref[heapNode]
	for i := range 10 * per {
		if x := p.Get(); i%per == 3 {
			x.id = i
			refs = append(refs, p.Ref(x))
		}
	}
	for range 3 {
		runtime.GC()
	}
	for k, r := range refs {
		require.Equal(t, k*per+3, p.Deref(r).id)
	}
	n := 0
	for r, x := range p.All() {
		require.Same(t, x, p.Deref(r))
		n++
	}
	assert.Equal(t, 10*per, n)
	for k, r := range refs {
		require.True(t, p.PutRef(r))
		require.False(t, p.PutRef(r))
		require.Nil(t, p.Deref(r), k)
	}
	if debugging {
		return
	}
	for range 20 {
		p.Get() // so that the pages are full again
	}
	gcUntil(t, func() bool { return p.Stats().Lost >= uint64(9*per) })
	assert.NoError(t, p.core.checkInvariants())
	runtime.KeepAlive(p)
}

// A pool that nothing refers to goes, with its pages, whatever is out.
func TestGoHeapForgottenPool(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	var kept *heapNode
	var pages *heapPages
	units := unitsInUse()
	func() {
		p := New[heapNode](WithGoHeap(), WithInit(func(x *heapNode) { x.buf = make([]byte, 100) }))
		for range 1000 {
			kept = p.Get()
		}
		assert.GreaterOrEqual(t, ReadMemory().GoHeap, p.Stats().MappedBytes)
		p.Ref(kept)
		assert.Greater(t, unitsInUse(), units)
		pages = p.core.depot.onHeap
	}()
	gcUntil(t, func() bool {
		pages.mu.Lock()
		defer pages.mu.Unlock()
		return len(pages.pages) == 0
	})
	assert.Len(t, kept.buf, 100)
	assert.LessOrEqual(t, unitsInUse(), units) // less, if pools of other tests have gone meanwhile
}

// A pool off the Go heap is there as long as it has pages, also when no tick concerns it any more.
func TestOffHeapForgottenPool(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	noQuarantine(t)
	var x *[64]byte
	func() {
		p, empty := New[[64]byte](WithName("forgotten")), New[[64]byte](WithName("empty"))
		x = p.Get()
		empty.Put(empty.Get())
		require.Eventually(t, func() bool {
			return !p.core.alarm.armed.Load() && empty.Stats().Pages == 0
		}, 10*time.Second, 10*time.Millisecond)
	}()
	gcUntil(t, func() bool { return !slices.Contains(names(ReadStats()), "empty") })
	for _, c := range openPools() {
		if c.name == "forgotten" {
			c.put(pointerAt(address(x)))
			require.NoError(t, c.close())
			return
		}
	}
	t.Error("the pool is gone, and its slot is in use")
}

// A program that puts only some of its slots gets the memory of the others back. Pages with free slots
// go too, when they have been spare for a while.
func TestGoHeapMostAreLost(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	noQuarantine(t)
	p := New[heapNode](WithGoHeap())
	per := p.Stats().SlotsPerPage
	for range 5 {
		xs := make([]*heapNode, 100*per)
		for i := range xs {
			xs[i] = p.Get()
		}
		for i := 0; i < len(xs); i += 10 {
			p.Put(xs[i])
		}
	}
	if debugging {
		return
	}
	gcUntil(t, func() bool { return p.Stats().Pages <= 1 })
	st := p.Stats()
	assert.LessOrEqual(t, st.Live, per)
	assert.Equal(t, 500*per-50*per, int(st.Lost)+st.Live)
	assert.NoError(t, p.core.checkInvariants())
}

// A cleanup that a program adds to a slot runs when the page goes.
func TestGoHeapAddCleanup(t *testing.T) {
	p := New[heapNode](WithGoHeap())
	gone := make(chan bool, 1)
	func() {
		x := p.Get()
		runtime.AddCleanup(x, func(int) { gone <- true }, 0)
		p.Put(x)
	}()
	p.Trim()
	gcUntil(t, func() bool { return len(gone) == 1 })
	runtime.KeepAlive(p)
}

// simPointers is simFill, and keeps the slots from the collector.
func simPointers(t testing.TB, c *core, s *shard, n int) []unsafe.Pointer {
	xs := make([]unsafe.Pointer, n)
	for k := range xs {
		xs[k] = pointerAt(simGet(t, c, s))
	}
	return xs
}

// A page that a Put has made strong may be empty, and in the depot, when the time of that ends.
func TestGoHeapStrongPageIsEmptied(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 128, 2, options{goHeap: true})
	a, b := shards[0], shards[1]
	per := int(c.geo.slots)
	xs := simPointers(t, c, b, per+1) // a full page, and b has another one
	pg := pageOf(uintptr(xs[0]))
	require.False(t, pg.isStrong())
	require.True(t, simPut(c, a, uintptr(xs[0])))
	require.Len(t, a.strong, 1)
	require.True(t, pg.isStrong())
	a.flush(0) // a claims it
	a.collectQueue(true)
	c.settle(a.takeOutbox()) // and gives it up
	for _, x := range xs[1:per] {
		require.True(t, simPut(c, b, uintptr(x)))
	}
	b.flush(0)
	b.giveUpAll()
	c.settle(b.takeOutbox())
	require.Zero(t, pg.used)
	require.NoError(t, c.checkInvariants())
	a.weakenAgain()
	c.settle(a.takeOutbox())
	require.NoError(t, c.checkInvariants())
	c.trim("Trim")
	assert.False(t, c.depot.has(pg), "Trim leaves an empty page")
	simDrain(t, c, b, []uintptr{uintptr(xs[per])})
	runtime.KeepAlive(xs)
}

// A Put makes a weak page strong until the next tick, strongMost pages at a time. It claims others.
func TestGoHeapStrongUntilTick(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 4000, 2, options{goHeap: true})
	a, b := shards[0], shards[1]
	per := int(c.geo.slots)
	xs := simPointers(t, c, b, (strongMost+2)*per+1)
	strong := func() (n int) {
		for k := 0; k < len(xs)-1; k += per {
			if pageOf(uintptr(xs[k])).isStrong() {
				n++
			}
		}
		return n
	}
	require.Zero(t, strong())
	for k := 0; k < len(xs)-1; k += per {
		require.True(t, simPut(c, a, uintptr(xs[k])))
		y := simGet(t, c, a) // the same one, from the lot
		require.Equal(t, uintptr(xs[k]), y)
	}
	assert.Equal(t, strongMost+1, strong(), "these, and the current page")
	simTick(c, a, false)
	assert.Equal(t, 1, strong())
	require.NoError(t, c.checkInvariants())
	for _, x := range xs {
		require.True(t, simPut(c, b, uintptr(x)))
	}
	runtime.KeepAlive(xs)
}

// A page that is given up and made strong over and over takes one place of the strongMost.
func TestGoHeapStrongOnce(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 4000, 2, options{goHeap: true})
	a, b := shards[0], shards[1]
	xs := simPointers(t, c, b, int(c.geo.slots)+1)
	pg := pageOf(uintptr(xs[0]))
	for range 3 {
		require.False(t, pg.isStrong())
		require.True(t, simPut(c, a, uintptr(xs[0])))
		require.True(t, pg.isStrong())
		require.Equal(t, uintptr(xs[0]), simGet(t, c, a))
		require.True(t, pg.claim())
		require.True(t, pg.disown())
	}
	assert.Len(t, a.strong, 1)
	simDrain(t, c, b, []uintptr{uintptr(xs[0])})
	runtime.KeepAlive(xs)
}

// A page that was released is the collector's, whatever is near its Refs' records.
func TestGoHeapReleasedPageWithRef(t *testing.T) {
	noQuarantine(t)
	p := New[heapNode](WithGoHeap(), WithInit(func(x *heapNode) { x.buf = make([]byte, 1000) }))
	pg := func() *page {
		x := p.Get()
		r := p.Ref(x)
		p.Put(x)
		require.Nil(t, p.Deref(r))
		return pageOf(address(x))
	}()
	p.Trim()
	require.Zero(t, p.Stats().Pages)
	gcUntil(t, pg.isDead)
	runtime.KeepAlive(p)
}

// A pool that only its own objects refer to goes.
func TestGoHeapObjectKnowsItsPool(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	type node struct {
		p *Pool[node]
		_ [10]int
	}
	for name, use := range map[string]func() (id uint64){
		"free": func() uint64 {
			var p *Pool[node]
			p = New[node](WithGoHeap(), WithInit(func(x *node) { x.p = p }))
			p.Put(p.Get())
			return p.core.id
		},
		"in use": func() uint64 {
			p := New[node](WithGoHeap())
			p.Get().p = p
			return p.core.id
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := use()
			gcUntil(t, func() bool {
				return !slices.ContainsFunc(openPools(), func(c *core) bool { return c.id == id })
			})
		})
	}
}

// A new page may be where one was whose cleanup has not run yet. When that runs, the pool does not
// forget what it knows of the new page's slots.
func TestGoHeapSuccessor(t *testing.T) {
	p := New[heapNode](WithGoHeap(), WithProfile(1))
	x := p.Get()
	pg := pageOf(address(x))
	d := &p.core.depot
	dead := new(page) // at the same address
	_, err := newPage(p.core.spec, dead, nil, p.core.geo.slots)
	require.NoError(t, err)
	dead.heap = &heapPage{addr: pg.heap.addr, all: d.onHeap}
	dead.capacity, dead.used = dead.reserved, dead.reserved
	dead.remote.Store(uint64(remoteEmpty))
	func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.onHeap.mu.Lock()
		defer d.onHeap.mu.Unlock()
		d.onHeap.pages[dead] = struct{}{}
		heapBytes.Add(int64(p.core.geo.pageSize))
		dead.index = uint32(len(d.pages))
		d.pages = append(d.pages, dead)
	}()
	for addr := pg.heap.addr &^ (tableStep - 1); addr < pg.end(); addr += tableStep {
		*leafOf(addr).entry(addr) = address(dead)
	}
	require.True(t, dead.isDead())
	require.False(t, p.Owns(x), "its page is dead")
	require.True(t, pg.enterAlone()) // as newPage does
	y := p.Get()
	require.Same(t, pg, pageOf(address(y)))
	require.Contains(t, p.core.watches.samples, address(y))
	dead.collected() // the cleanup
	assert.Contains(t, p.core.watches.samples, address(y), "the profile has lost a slot in use")
	require.Same(t, pg, pageOf(address(y)), "the table has lost a page")
	p.Put(y)
	assert.EqualValues(t, dead.reserved, p.Stats().Lost)
	require.NoError(t, p.core.checkInvariants())
	runtime.KeepAlive(dead)
	runtime.KeepAlive(x)
}

// A search that has found nothing leaves shards without pages, but with pages that they have made
// strong.
func TestGoHeapSearchWithStrongPages(t *testing.T) {
	oneP(t)
	p := New[heapNode](WithGoHeap(), WithLimit(64<<10))
	p.core.stopClock()
	xs := fillUp(t, p)
	p.Put(xs[0])
	xs[0] = p.Get()
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrLimit)
	require.NoError(t, p.core.checkInvariants())
	p.PutBatch(xs)
	assert.Zero(t, p.Stats().Live)
}

// A lost slot keeps nothing alive, even if others of its page are free and the pool is idle.
func TestGoHeapLostAmongFreeSlots(t *testing.T) {
	noQuarantine(t)
	p := New[heapNode](WithGoHeap())
	p.core.stopClock()
	gone := make(chan int, 1)
	func() {
		xs := make([]*heapNode, p.Stats().SlotsPerPage)
		p.GetBatch(xs)
		xs[1].next = new(heapNode)
		runtime.AddCleanup(xs[1].next, func(int) { gone <- 1 }, 0)
		p.Put(xs[0])
	}()
	if debugging {
		return
	}
	for range windowSole + 2*windowSeveral {
		p.core.tick()
	}
	gcUntil(t, func() bool { return len(gone) == 1 && p.Stats().Live == 0 })
	assert.EqualValues(t, p.Stats().SlotsPerPage-1, p.Stats().Lost)
}

// Pages count in the Go heap, for GOMEMLIMIT, and in heap profiles.
func TestGoHeapIsCounted(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	profiled := func() (bytes int64) {
		runtime.GC()
		runtime.GC() // the profile is as of the last collection but one
		records := make([]runtime.MemProfileRecord, 10000)
		n, ok := runtime.MemProfile(records, false)
		require.True(t, ok)
		for _, r := range records[:n] {
			frames := runtime.CallersFrames(r.Stack())
			for {
				frame, more := frames.Next()
				if strings.HasSuffix(frame.Function, "(*spec).newArray") {
					bytes += r.InUseBytes()
					break
				}
				if !more {
					break
				}
			}
		}
		return bytes
	}
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p := New[[4000]byte](WithGoHeap())
	p.core.stopClock()
	xs := make([]*[4000]byte, 2000)
	before, profiledBefore := inUse(), profiled()
	p.GetBatch(xs)
	size := p.Stats().MappedBytes
	require.GreaterOrEqual(t, size, int64(len(xs)*4000))
	assert.GreaterOrEqual(t, inUse()+1<<20, before+uint64(size))
	if profiledAfter := profiled(); assert.GreaterOrEqual(t, profiledAfter, profiledBefore+size) {
		assert.Less(t, profiledAfter, profiledBefore+2*size)
	}

	// With a limit below what is there, Go collects on its own: what is forgotten goes.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 20))
	kept, garbage := xs[0], []byte(nil)
	clear(xs)
	runtime.KeepAlive(xs)
	for deadline := time.Now().Add(20 * time.Second); p.Stats().Lost == 0; {
		require.True(t, time.Now().Before(deadline), "GOMEMLIMIT has not taken lost slots")
		p.core.tick()
		garbage = append(garbage[:0:0], make([]byte, 1<<16)...)
		runtime.Gosched() // with one thread, nothing else would run the cleanups
	}
	p.Put(kept)
	require.NoError(t, p.Close())
}

// A spare page with slots in use is weak after windowSeveral ticks, and then the collector may take it.
// The depot claims no page that is taken.
func TestGoHeapSparePage(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 128, 1, options{goHeap: true})
	s := shards[0]
	xs := simPointers(t, c, s, 3)
	pg := pageOf(uintptr(xs[0]))
	require.True(t, simPut(c, s, uintptr(xs[0])))
	s.flush(0)
	s.giveUpAll()
	c.settle(s.takeOutbox())
	for range windowSeveral - 1 {
		require.True(t, c.depot.tick(), "something will expire")
		require.True(t, pg.isStrong())
	}
	c.depot.tick()
	require.False(t, pg.isStrong())
	require.NoError(t, c.checkInvariants())

	require.Same(t, pg, c.depot.adopt())
	require.True(t, pg.isStrong())
	c.depot.receive(pg)
	require.NoError(t, c.checkInvariants())
	for range windowSeveral {
		c.depot.tick()
	}
	require.False(t, pg.isStrong())

	before := pg.heap.weak
	pg.heap.weak = weak.Pointer[byte]{} // as if the collector had taken the page
	require.True(t, pg.isDead())
	require.Nil(t, c.depot.adopt())
	require.False(t, pg.isStrong())
	c.depot.lost(pg)
	require.NoError(t, c.checkInvariants())
	st := c.stats()
	assert.EqualValues(t, 2, st.Lost)
	assert.Zero(t, st.Live)
	assert.Zero(t, st.Pages)
	pg.heap.weak = before // for the cleanup
	runtime.KeepAlive(xs)
}

// A page that is lost while the depot has it is not spare any more.
func TestGoHeapSparePageIsLost(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 128, 1, options{goHeap: true})
	s := shards[0]
	per := int(c.geo.slots)
	xs := simPointers(t, c, s, 2*per)
	for _, k := range []int{0, per} {
		require.True(t, simPut(c, s, uintptr(xs[k])))
	}
	s.flush(0)
	s.giveUpAll()
	c.settle(s.takeOutbox())
	require.Len(t, c.depot.spare, 2)
	c.depot.lost(pageOf(uintptr(xs[0])))
	require.NoError(t, c.checkInvariants())
	require.Len(t, c.depot.spare, 1)
	assert.EqualValues(t, per-1, c.stats().Lost)
	for _, x := range xs[per+1:] {
		require.True(t, simPut(c, s, uintptr(x)))
	}
	runtime.KeepAlive(xs)
}

// However many pages there are, Go has memory for another one that no other page is near. Those that
// were refused are collected, and allocated again.
func TestGoHeapManyPages(t *testing.T) {
	p := New[heapNode](WithGoHeap())
	per := p.Stats().SlotsPerPage
	var all [][]*heapNode
	for range 10 {
		xs := make([]*heapNode, 50*per)
		p.GetBatch(xs)
		all = append(all, xs)
		runtime.GC()
	}
	for _, xs := range all {
		p.PutBatch(xs)
	}
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

// A program may lose slots at any rate, for as long as it likes: the pool holds a few pages. (A page
// goes when the last of its slots is lost. If losses are random, that takes some five times as long as
// the loss of one: 1 + 1/2 + 1/3 ... for the slots of a page.)
func TestGoHeapLossesAreBounded(t *testing.T) {
	if debugging {
		t.Skip("the debug build keeps stacks by address")
	}
	const live, round = 20, 100 // slots; and losses between two collections
	for share, losses := range map[float64]int{0.001: 600, 0.1: 5_000, 0.9: 10_000} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			oneP(t)
			p := newStill[heapNode](t, WithGoHeap())
			per := p.Stats().SlotsPerPage
			most := 2 + (6*live+round)/per // the current page, and a spare one
			rng := rand.New(rand.NewPCG(1, 2))
			var xs [live]*heapNode
			p.GetBatch(xs[:])
			for _, x := range xs {
				x.name = "live"
			}
			lost := 0
			for n := times(losses); lost < n; {
				for next := min(lost+round, n); lost < next; {
					x := &xs[rng.IntN(live)]
					if rng.Float64() < share {
						lost++
					} else {
						p.Put(*x)
					}
					*x = p.Get()
					(*x).name = "live"
				}
				p.core.tick()
				gcUntil(t, func() bool { return p.Stats().Pages <= most })
			}
			st := p.Stats()
			assert.Equal(t, live+lost, st.Live+int(st.Lost))
			assert.LessOrEqual(t, st.Live, most*per)
			for _, x := range xs {
				assert.Equal(t, "live", x.name)
			}
		})
	}
}

// A Ref keeps its page only until its slot is put, also where more pages are weak than a shard makes
// strong again between two ticks.
func TestGoHeapRefsOfManyPages(t *testing.T) {
	if watchAll {
		t.Skip("watched slots are not parked")
	}
	oneP(t)
	const n = 3 * strongMost
	p := New[heapNode](WithGoHeap())
	p.core.stopClock()
	per := p.Stats().SlotsPerPage
	func() {
		xs := make([]*heapNode, n*per+1)
		p.GetBatch(xs)
		for k := range n {
			p.Ref(xs[k*per])
		}
		for k := range n {
			p.Put(xs[k*per]) // its page is weak
			p.Get()
		}
		for range 2 * per {
			p.Get() // so that all pages are full again
		}
	}()
	for range 5 {
		p.core.tick()
	}
	gcUntil(t, func() bool { return p.Stats().Pages <= 4 })
	assert.NoError(t, p.core.checkInvariants())
}

// Slots are aligned as WithAlign says, and to 8 bytes without it.
func TestGoHeapAlign(t *testing.T) {
	for _, align := range []int{1, 8, 16, 64, 512, 4096} {
		for _, p := range []*Pool[heapNode]{
			New[heapNode](WithGoHeap(), WithAlign(align)),
			New[heapNode](WithGoHeap(), WithAlign(align), WithInit(func(*heapNode) {})),
		} {
			for range 500 {
				require.Zero(t, address(p.Get())%uintptr(max(align, 8)), align)
			}
			assert.NoError(t, p.core.checkInvariants())
		}
		p := New[[100]byte](WithGoHeap(), WithAlign(align))
		for range 500 {
			require.Zero(t, address(p.Get())%uintptr(align), align)
		}
	}
	p := New[[64]byte](WithGoHeap()) // its size says 64
	for range 500 {
		require.Zero(t, address(p.Get())%64)
	}
}

// A page is the smallest of 8 to 64 KiB that has 64 slots. Otherwise it is 64 KiB, or
// has eight, or one above 64 KiB.
func TestGoHeapPages(t *testing.T) {
	for _, scanned := range []bool{false, true} {
		for size := uintptr(8); size <= MaxSlotSize; size += max(8, size/4096*8) {
			g := geometryOnHeap(size, 1, scanned)
			header := uint32(0)
			if scanned {
				header = 8
			}
			if g.pageSize <= 32<<10 {
				require.LessOrEqual(t, g.slots*g.stride+header, g.pageSize, "the array is of a larger class")
			}
			switch {
			case g.slots >= 64 && g.pageSize == 8<<10:
			case g.slots >= 64:
				require.Contains(t, []uint32{16 << 10, 32 << 10, 64 << 10}, g.pageSize)
				require.Less(t, (g.pageSize/2-header)/g.stride, uint32(64), "half a page would do")
			case g.slots == 8 || g.slots == 1 && size > 64<<10:
				require.Less(t, g.pageSize-g.slots*g.stride, uint32(8<<10))
			default:
				require.EqualValues(t, 64<<10, g.pageSize)
				require.Greater(t, g.slots, uint32(8))
			}
		}
	}
	assert.NotPanics(t, func() { New[heapNode](WithGoHeap(), WithLimit(8<<10)) })
	assert.Panics(t, func() { New[heapNode](WithGoHeap(), WithLimit(8<<10-1)) })
	assert.Panics(t, func() { New[[MaxSlotSize + 1]byte](WithGoHeap()) })
	assert.Error(t, CheckType[heapNode](), "it is about pools off the Go heap")
}

// SetProcessLimit does not count pages of the Go heap, and no field of Memory but GoHeap does.
func TestGoHeapIsNotInTheProcessLimit(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // so that nothing that is forgotten goes meanwhile
	runtime.GC()
	p := New[heapNode](WithGoHeap())
	defer SetProcessLimit(SetProcessLimit(1))
	before := ReadMemory()
	xs := make([]*heapNode, 10*p.Stats().SlotsPerPage)
	p.GetBatch(xs)
	after := ReadMemory()
	assert.Equal(t, p.Stats().MappedBytes, after.GoHeap-before.GoHeap)
	assert.LessOrEqual(t, after.InUse, before.InUse)
	assert.LessOrEqual(t, after.Committed, before.Committed)
	p.PutBatch(xs)
	p.Trim()
	assert.Equal(t, before.GoHeap, ReadMemory().GoHeap)
}

func TestGoHeapHasNoGuards(t *testing.T) {
	p := New[heapNode](WithGoHeap(), WithGuardSampling(1))
	for range 10 {
		_, err := p.TryGet()
		require.NoError(t, err)
	}
	assert.Zero(t, p.Stats().GuardedGets)
}

// All finds slots that the program has forgotten, and they can be put.
func TestGoHeapAllFindsForgottenSlots(t *testing.T) {
	p := New[heapNode](WithGoHeap())
	n := 10 * p.Stats().SlotsPerPage
	xs := make([]*heapNode, n)
	p.GetBatch(xs)
	for i := range xs {
		xs[i].id = i
	}
	clear(xs)
	sum := uint64(0)
	for _, x := range p.All() {
		sum++
		p.Put(x)
	}
	st := p.Stats()
	assert.Zero(t, st.Live)
	assert.EqualValues(t, n, sum+st.Lost)

	x := p.Get()
	p.Ref(x)
	u := pageOf(address(x)).firstUnit()
	assert.Len(t, u.given(), len(u.gens), "8 bytes for each slot")
}

// A slot in use keeps what is in 127 others at most.
func TestGoHeapPagesOfKeptObjects(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	type small [1]*int
	p := New[small](WithGoHeap(), WithInit(func(*small) {}))
	assert.Equal(t, 64, p.Stats().SlotsPerPage)
	for range 500 {
		p.Get()
	}
	assert.NoError(t, p.core.checkInvariants())
	assert.Equal(t, 8, p.Stats().Pages)
	type medium [8]*int
	assert.LessOrEqual(t, New[medium](WithGoHeap(), WithInit(func(*medium) {})).Stats().SlotsPerPage, 128)
	assert.Greater(t, New[small](WithGoHeap()).Stats().SlotsPerPage, 128)
}

// The pool forgets a page that is lost before another one can have its addresses.
func TestGoHeapLostBeforeSuccessor(t *testing.T) {
	p := New[heapNode](WithGoHeap())
	var dropped, inTable atomic.Int32
	p.core.depot.dropping = func(pg *page) {
		dropped.Add(1)
		if at[page](leafOf(pg.heap.addr).entry(pg.heap.addr)) == pg {
			inTable.Add(1)
		}
		p.core.dropping(pg)
	}
	p.GetBatch(make([]*heapNode, 10*p.Stats().SlotsPerPage))
	if debugging {
		return
	}
	gcUntil(t, func() bool { return dropped.Load() >= 5 })
	assert.Equal(t, dropped.Load(), inTable.Load())
	runtime.KeepAlive(p)
}

// If Go allocates no array that will do, a Get gets an error, and a later one tries again.
func TestGoHeapRefusesArrays(t *testing.T) {
	a := newArena(t)
	p := newStill[heapNode](t, WithGoHeap())
	align := p.core.align
	p.core.align = 1 << 30 // as if arrays began in the middle of a step of the table
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrOutOfMemory)
	assert.ErrorContains(t, err, "Go allocates no array of")
	assert.Zero(t, p.Stats().Pages)
	assert.Zero(t, a.wordsInUse())
	require.NoError(t, p.core.checkInvariants())
	p.core.align = align
	p.Put(p.Get())
	require.NoError(t, p.core.checkInvariants())
	assert.NotZero(t, a.wordsInUse())
	p.Trim()
	assert.Zero(t, a.wordsInUse())
}

// A page that was strong for the time of a tick, and is spare and empty at its end, stays with the
// depot.
func TestGoHeapStrongPageBecomesSpare(t *testing.T) {
	c, shards := sim(t, 700_000, 2, options{goHeap: true})
	a, b := shards[0], shards[1]
	x := simGet(t, c, a)
	y := simGet(t, c, a) // gives up the page of x, which is weak then
	require.True(t, simPut(c, b, x))
	require.Len(t, b.strong, 1)
	b.flush(0)
	b.giveUpAll()
	c.settle(b.takeOutbox())
	require.EqualValues(t, 1, c.depot.spares.Load())
	simTick(c, b, false)
	assert.EqualValues(t, noOwner, pageOf(x).ownerID())
	assert.EqualValues(t, 1, c.depot.spares.Load())
	assert.Zero(t, b.retired.len)
	require.NoError(t, c.checkInvariants())
	require.True(t, simPut(c, a, y))
}

// No page enters the table where another one is.
func TestGoHeapPagesShareNoStep(t *testing.T) {
	p := newStill[heapNode](t, WithGoHeap())
	x := p.Get()
	pg := pageOf(uintptr(unsafe.Pointer(x)))
	other := &page{heap: pg.heap}
	other.stride, other.reserved = pg.stride, pg.reserved
	require.False(t, other.enterAlone())
	require.Same(t, pg, pageOf(uintptr(unsafe.Pointer(x))))
	p.Put(x)
}
