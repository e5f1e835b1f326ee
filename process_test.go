package pool

import (
	"cmp"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// names returns the names of the pools that have one.
func names(all []Stats) (names []string) {
	for _, st := range all {
		if st.Name != "" {
			names = append(names, st.Name)
		}
	}
	return names
}

func TestReadStats(t *testing.T) {
	before := len(names(ReadStats()))
	p := newStill[[64]byte](t, WithName("first"))
	q := New[[8]byte](WithName("second"))
	x := p.Get()
	all := ReadStats()
	assert.Equal(t, []string{"first", "second"}, names(all)[before:], "in the order in which they were made")
	k := slices.IndexFunc(all, func(st Stats) bool { return st.Name == "first" })
	assert.Equal(t, p.Stats(), all[k])
	assert.Equal(t, 1, all[k].Live)
	assert.Equal(t, "[64]uint8", all[k].Type)
	assert.Less(t, all[k].ID, q.Stats().ID)
	p.Put(x)
	require.NoError(t, q.Close())
	assert.Equal(t, []string{"first"}, names(ReadStats())[before:])
}

// The garbage collector takes a pool that has no pages and that nothing refers to. In a process
// with other timers, the pool's own timer can keep it for a while.
func TestForgottenPool(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	func() { New[[8]byte](WithName("forgotten")) }()
	for range 100 {
		runtime.GC()
		if !slices.Contains(names(ReadStats()), "forgotten") {
			return
		}
	}
	t.Fatal("the pool is still there")
}

func TestLeaks(t *testing.T) {
	p := newStill[[64]byte](t, WithName("leaky"))
	x := p.Get()
	leaks := slices.DeleteFunc(Leaks(), func(l Leak) bool { return l.Pool != "leaky" })
	if debugging {
		require.Len(t, leaks, 1)
		assert.Equal(t, address(x), leaks[0].Addr)
		assert.Equal(t, "[64]uint8", leaks[0].Type)
		assert.Contains(t, leaks[0].String(), "process_test.go:")
	} else {
		assert.Empty(t, leaks)
	}
	p.Put(x)
	assert.Contains(t, Leak{Pool: "p", Type: "T", Addr: 16, stack: callers()}.String(), "pool \"p\" (T): slot 0x10, got at:\n\tgithub.com/warmpage/pool.TestLeaks\n")
}

func TestReadMemory(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	oneP(t) // a goroutine that moves to another P takes another page
	a := newArena(t)
	goHeap := ReadMemory().GoHeap // of Buffers in other tests
	assert.Equal(t, Memory{WorldStops: worldStops(), GoHeap: goHeap}, ReadMemory())
	p := newStill[[64]byte](t)
	xs := simBatch(p, 3*p.Stats().SlotsPerPage)
	m := ReadMemory()
	assert.Positive(t, m.Reserved)
	assert.EqualValues(t, 3<<16, m.InUse)
	assert.Equal(t, m.InUse, m.Committed)
	assert.GreaterOrEqual(t, m.SystemCalls, uint64(2), "one to reserve and one to commit")
	calls := m.SystemCalls
	p.PutBatch(xs)
	assert.Equal(t, m, ReadMemory(), "the pages are kept")
	for range 3 * windowSole {
		p.core.tick()
	}
	m = ReadMemory()
	assert.EqualValues(t, 3<<16, m.Warm)
	assert.Equal(t, m.Warm, m.Committed)
	a.purge(func(released) bool { return true })
	m = ReadMemory()
	assert.Zero(t, m.Committed)
	assert.EqualValues(t, 3<<16, m.Purged)
	assert.Equal(t, calls+1, m.SystemCalls, "one more, for three pages that lie together")
	assert.Zero(t, a.resident())
}

func TestProcessLimit(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	oneP(t) // a goroutine that moves to another P takes another page
	newArena(t)
	assert.Zero(t, SetProcessLimit(10<<16))
	assert.EqualValues(t, 10<<16, SetProcessLimit(-1))
	assert.EqualValues(t, 10<<16, SetProcessLimit(-1), "a negative limit only asks")

	p, q := newStill[[64]byte](t), newStill[[1024]byte](t)
	xs := simBatch(p, 6*p.Stats().SlotsPerPage)
	ys := fillUp(t, q)
	assert.Len(t, ys, 4*q.Stats().SlotsPerPage)
	assert.EqualValues(t, 10<<16, ReadMemory().Committed)
	_, err := p.TryGet()
	assert.ErrorIs(t, err, ErrLimit)

	p.PutBatch(xs)
	for range 3 * windowSole {
		p.core.tick()
	}
	require.Zero(t, p.Stats().Pages)
	assert.EqualValues(t, 6<<16, ReadMemory().Warm)
	large := newStill[[9000]byte](t)
	_, err = large.TryGet()
	assert.ErrorIs(t, err, ErrLimit, "there is no room for eight granules beside the four in use")
	assert.Zero(t, ReadMemory().Warm, "the Get has purged the warm memory first")
	ys = append(ys, fillUp(t, q)...)
	assert.Len(t, ys, 10*q.Stats().SlotsPerPage, "another pool gets that memory")

	assert.EqualValues(t, 10<<16, SetProcessLimit(1<<16), "less than what is in use")
	_, err = q.TryGet()
	assert.ErrorIs(t, err, ErrLimit)
	q.PutBatch(ys[:1])
	ys[0] = q.Get()
	assert.EqualValues(t, 1<<16, SetProcessLimit(0))
	ys = append(ys, q.Get())
	q.PutBatch(ys)
}

// At the process limit, pools use memory that the system did not take back.
func TestProcessLimitWithHeldMemory(t *testing.T) {
	newArena(t)
	SetProcessLimit(8 << 16)
	defer SetProcessLimit(0)
	p := newStill[[64]byte](t)
	failing(t, func(call string) bool { return call == "purge" })
	xs := fillUp(t, p)
	p.PutBatch(xs)
	assert.Zero(t, p.Trim())
	ys := fillUp(t, p)
	assert.Len(t, ys, len(xs))
	p.PutBatch(ys)
	assert.Zero(t, p.Trim())
	large := newStill[[9000]byte](t)
	zs := fillUp(t, large)
	assert.Len(t, zs, large.Stats().SlotsPerPage, "eight small pages make a medium one")
	assert.EqualValues(t, 8<<16, ReadMemory().Committed)
	large.PutBatch(zs)
}

// A Get at the process limit waits for memory that is being purged.
func TestProcessLimitDuringPurge(t *testing.T) {
	newArena(t)
	SetProcessLimit(4 << 16)
	defer SetProcessLimit(0)
	p, q := newStill[[64]byte](t), newStill[[1024]byte](t)
	p.PutBatch(fillUp(t, p))
	before := system.Load()
	defer system.Store(before)
	slow := *before
	purging, goOn := make(chan bool, 100), make(chan bool)
	slow.purge = func(mem []byte) (gone, zeroed, lost bool) {
		purging <- true
		<-goOn
		return before.purge(mem)
	}
	system.Store(&slow)
	var wg group
	wg.Go(func() { p.Trim() })
	<-purging
	wg.Go(func() {
		x, err := q.TryGet()
		if assert.NoError(t, err) {
			q.Put(x)
		}
	})
	for range 1000 {
		runtime.Gosched() // until the Get waits, or soon will
	}
	close(goOn)
	wg.Wait()
}

// Before a Get fails at the process limit, it takes what other pools keep without using it.
func TestProcessLimitTakesFromOthers(t *testing.T) {
	noQuarantine(t)
	newArena(t)
	SetProcessLimit(30 << 16)
	defer SetProcessLimit(0)
	a, b, c := newStill[[64]byte](t), newStill[[72]byte](t), newStill[[1000]byte](t)
	for range 3 {
		xs := fillUp(t, a)
		assert.Zero(t, 30*a.Stats().SlotsPerPage-len(xs))
		_, err := b.TryGet()
		require.ErrorIs(t, err, ErrLimit, "all is in use")
		a.PutBatch(xs)
		ys := fillUp(t, b)
		assert.Zero(t, 30*b.Stats().SlotsPerPage-len(ys))
		b.PutBatch(ys[:len(ys)/2])
		zs := fillUp(t, c)
		assert.GreaterOrEqual(t, len(zs), 14*c.Stats().SlotsPerPage)
		b.PutBatch(ys[len(ys)/2:])
		c.PutBatch(zs)
	}
	assert.LessOrEqual(t, ReadMemory().Committed, int64(30<<16))
}

// Pages of WithWarmPages are taken last.
func TestProcessLimitTakesWarmPagesLast(t *testing.T) {
	noQuarantine(t)
	newArena(t)
	SetProcessLimit(20 << 16)
	defer SetProcessLimit(0)
	warm := newStill[[64]byte](t, WithWarmPages(10))
	other, p := newStill[[72]byte](t), newStill[[80]byte](t)
	warm.PutBatch(simBatch(warm, 10*warm.Stats().SlotsPerPage))
	other.PutBatch(simBatch(other, 10*other.Stats().SlotsPerPage))
	require.Equal(t, 10, warm.Stats().Pages)
	xs := simBatch(p, 10*p.Stats().SlotsPerPage)
	assert.Equal(t, 10, warm.Stats().Pages)
	assert.Zero(t, other.Stats().Pages)
	xs = append(xs, simBatch(p, 10*p.Stats().SlotsPerPage)...)
	assert.Zero(t, warm.Stats().Pages)
	p.PutBatch(xs)
}

// Pools that take from each other at the process limit do not wait for each other for good.
func TestProcessLimitTakenInTurn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	newArena(t)
	SetProcessLimit(12 << 16)
	defer SetProcessLimit(0)
	var pools []*Pool[[1000]byte]
	for range 4 {
		pools = append(pools, New[[1000]byte]())
	}
	var workers group
	var got atomic.Int64
	for k := range 16 {
		workers.Go(func() {
			p := pools[k%len(pools)]
			for range times(300) {
				var xs []*[1000]byte
				for range 100 {
					x, err := p.TryGet()
					if err != nil {
						assert.ErrorIs(t, err, ErrLimit)
						break
					}
					xs = append(xs, x)
				}
				got.Add(int64(len(xs)))
				p.PutBatch(xs)
			}
		})
	}
	workers.Wait()
	assert.Positive(t, got.Load())
	assert.Positive(t, TrimAll()+1)
	for _, p := range pools {
		if !debugging {
			assert.Zero(t, p.Stats().Pages)
		}
		require.NoError(t, p.core.checkInvariants())
		require.NoError(t, p.Close())
	}
}

// TrimAll trims every pool, and leaves those alone that are closed.
func TestTrimAll(t *testing.T) {
	noQuarantine(t)
	needsOSMemory(t)
	a, b := newStill[[64]byte](t), newStill[[1000]byte](t)
	closed := New[[64]byte]()
	require.NoError(t, closed.Close())
	a.PutBatch(simBatch(a, 5000))
	b.PutBatch(simBatch(b, 500))
	pages := int64(a.Stats().Pages + b.Stats().Pages)
	assert.GreaterOrEqual(t, TrimAll(), pages<<16)
	assert.Zero(t, a.Stats().Pages+b.Stats().Pages)
}

// Memory that pools on the Go heap keep would not help a Get at the limit.
func TestProcessLimitLeavesTheGoHeapAlone(t *testing.T) {
	noQuarantine(t)
	newArena(t)
	onHeap := newStill[heapNode](t, WithGoHeap())
	onHeap.Put(onHeap.Get())
	require.Equal(t, 1, onHeap.Stats().Pages)
	SetProcessLimit(1 << 16)
	defer SetProcessLimit(0)
	p := newStill[[64]byte](t)
	p.PutBatch(fillUp(t, p))
	assert.Equal(t, 1, onHeap.Stats().Pages)
}

// A Get at the limit takes the memory of guards that another pool does not use.
func TestProcessLimitTakesGuards(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	newArena(t)
	other := newStill[[64]byte](t, WithGuardSampling(1))
	other.Put(guarded(t, other))
	require.Equal(t, 1, other.Stats().Pages)
	SetProcessLimit(ReadMemory().Committed)
	defer SetProcessLimit(0)
	p := newStill[[64]byte](t)
	x, err := p.TryGet()
	require.NoError(t, err)
	p.Put(x)
	assert.Zero(t, other.Stats().Pages)
}

// A limit below what released pages still have takes that back at once.
func TestProcessLimitPurges(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	newArena(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	p.core.releaseEmpty(0)
	require.Positive(t, ReadMemory().Warm)
	SetProcessLimit(1)
	defer SetProcessLimit(0)
	assert.Zero(t, ReadMemory().Warm)
}

func TestLeaksComeByAddress(t *testing.T) {
	p := newStill[[64]byte](t, WithProfile(1))
	xs := simBatch(p, 50)
	leaks := slices.DeleteFunc(Leaks(), func(l Leak) bool { return l.ID != p.Stats().ID })
	require.Len(t, leaks, 50)
	assert.True(t, slices.IsSortedFunc(leaks, func(a, b Leak) int { return cmp.Compare(a.Addr, b.Addr) }))
	p.PutBatch(xs)
}
