package pool

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestArenaRuns(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	owner := make(map[uintptr]int) // granule by address
	type held struct {
		run
		id int
	}
	var runs []held
	var purged atomic.Int64
	id := 0
	most := chunkGranules
	if bits.UintSize == 32 { // later tests need addresses, too
		most = 100
	}
	for step := range 3000 {
		if step%500 < 300 {
			n := []int{1, 1, 1, 1, 1, 1, 8, 8, 8, 8, 64, 64, 9, 16, 100, 1 + rand.IntN(most)}[rand.IntN(16)]
			r, err := a.alloc(n)
			require.NoError(t, err)
			id++
			mem := r.mem(n)
			for g := range n {
				at := addressOf(mem) + uintptr(g*granuleSize)
				require.Zero(t, owner[at], "granule in two runs")
				owner[at] = id
				if r.zeroed {
					require.Zero(t, mem[g*granuleSize])
				}
				mem[g*granuleSize] = 1
			}
			runs = append(runs, held{r, id})
		} else if len(runs) > 0 {
			k := rand.IntN(len(runs))
			r := runs[k]
			runs = append(runs[:k], runs[k+1:]...)
			for g := range int(r.n) {
				delete(owner, addressOf(r.mem(int(r.n)))+uintptr(g*granuleSize))
			}
			a.free(r.run, &purged)
		}
		if step%100 == 99 {
			before := purged.Load()
			assert.Equal(t, a.purgeFrom(&purged), purged.Load()-before)
		}
	}
	assert.Positive(t, purged.Load())
	for _, r := range runs {
		a.free(r.run, &purged)
	}
	a.purgeFrom(&purged)
	for _, ch := range a.open {
		assert.Equal(t, purgeZeroes, ch.dirty == [len(ch.dirty)]uint64{})
		r, err := a.alloc(64)
		require.NoError(t, err)
		assert.Equal(t, purgeZeroes, r.zeroed)
	}
}

// A run is found where the system refuses regions of the usual size: in one that is as large as the
// run.
func TestRunInSmallRegion(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	small := *before
	small.reserve = func(size uintptr) ([]byte, error) {
		if size > 40<<20 {
			return nil, errors.New("injected fault")
		}
		return before.reserve(size)
	}
	system.Store(&small)
	const n = 600 // 37.5 MiB
	r, err := a.alloc(n)
	require.NoError(t, err)
	assert.Len(t, r.mem(n), n*granuleSize)
	assert.Len(t, a.regions, 1)
	_, err = a.alloc(chunkGranules)
	require.ErrorIs(t, err, ErrOutOfMemory)
}

// A run that was freed is reused at first. It is purged after purgeDelay, without any call.
func TestArenaDelay(t *testing.T) {
	needsOSMemory(t)
	t.Parallel() // it mostly waits
	if !inChild(t) {
		return
	}
	a := newArena(t)
	var purged atomic.Int64
	r, err := a.alloc(1)
	require.NoError(t, err)
	assert.True(t, r.zeroed)
	a.free(r, &purged)
	again, err := a.alloc(1)
	require.NoError(t, err)
	assert.Equal(t, r.first, again.first)
	assert.False(t, again.zeroed)
	a.free(again, &purged)
	assert.Eventually(t, func() bool { return purged.Load() == granuleSize }, 5*time.Second, 10*time.Millisecond)
	again, err = a.alloc(1)
	require.NoError(t, err)
	assert.Equal(t, purgeZeroes, again.zeroed)
}

// A tick purges the runs that have waited long enough, and no others.
func TestArenaPurgesTheOld(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	t.Cleanup(stopClock())
	var purged atomic.Int64
	one, err := a.alloc(1)
	require.NoError(t, err)
	other, err := a.alloc(1)
	require.NoError(t, err)
	a.free(one, &purged)
	a.free(other, &purged)
	a.released[1][0].at -= purgeDelay
	for range purgeEvery {
		a.tick()
	}
	assert.EqualValues(t, granuleSize, purged.Load())
	require.Len(t, a.released[1], 1)
	assert.Equal(t, other.first, a.released[1][0].first)
}

// A pool works the same in whatever region its pages are, and the regions grow.
func TestPoolInLaterRegion(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	p := newStill[[64]byte](t)
	for range 4 {
		require.NoError(t, a.grow(1)) // the rest of the last region
		x := p.Get()
		p.Put(x)
		assert.Panics(t, func() { p.Put(x) })
		churnCorrectIn(t, p)
		p.Trim()
	}
	var sizes []int
	for _, r := range a.regions {
		sizes = append(sizes, len(r.mem)>>20)
	}
	assert.Equal(t, []int{firstRegion >> 20, firstRegion >> 19, firstRegion >> 18}, sizes[:3])
}

// A pool that is not closed while slots are in use stays, because somebody may put them.
func TestDroppedPool(t *testing.T) {
	p := New[[64]byte](WithName("dropped"))
	p.core.stopClock() // which would keep it for some ticks
	x := p.Get()
	*x = [64]byte{1, 2, 3}
	q := newStill[[64]byte](t)
	for range 3 {
		runtime.GC()
		runtime.KeepAlive(make([]page, 1000)) // what was free is used again
		require.Equal(t, [64]byte{1, 2, 3}, *x)
		err := caught(func() error { q.Put(x); return nil })
		require.ErrorIs(t, err, ErrForeignPut)
		require.ErrorContains(t, err, `belongs to pool "dropped"`)
	}
}

// A page is found by each address in it, and by no other.
func TestTable(t *testing.T) {
	a := newArena(t)
	for _, n := range []int{1, 8, 64, 9, 200, chunkGranules} {
		r, err := a.alloc(n)
		require.NoError(t, err)
		before, after := pageOf(addressOf(r.mem(n))-1), pageOf(addressOf(r.mem(n))+uintptr(r.size()))
		pg := &page{pageShared: pageShared{base: startOf(r.mem(n))}}
		r.publish(pg)
		for off := range r.size() {
			if off%tableStep == 0 || off%tableStep == tableStep-1 {
				require.Same(t, pg, pageOf(addressOf(r.mem(n))+uintptr(off)))
			}
		}
		assert.Same(t, before, pageOf(addressOf(r.mem(n))-1))
		assert.Same(t, after, pageOf(addressOf(r.mem(n))+uintptr(r.size())))
		if bits.UintSize > addressBits {
			assert.Same(t, noPage, pageOf(addressOf(r.mem(n))|1<<(bits.UintSize-1)))
		}
		r.withdraw()
		assert.Same(t, noPage, pageOf(addressOf(r.mem(n))))
		assert.Nil(t, r.chunk.pages[r.first])
	}
	assert.Same(t, noPage, pageOf(0))
	assert.Same(t, noPage, pageOf(^uintptr(0)))
	assert.Same(t, noPage, pageOf(address(a)))
}

func churnCorrectIn(t *testing.T, p *Pool[[64]byte]) {
	xs := make([]*[64]byte, 3000)
	for round := range 5 {
		p.GetBatch(xs)
		for i, x := range xs {
			require.Equal(t, [64]byte{}, *x)
			fill(x[:], round, i)
		}
		for i, x := range xs {
			require.True(t, intact(x[:], round, i))
		}
		p.PutBatch(xs[:1000])
		for _, x := range xs[1000:] {
			p.Put(x)
		}
	}
}

// The last chunk of a region may be smaller than others. Nothing behind it is handed out.
func TestPartialChunk(t *testing.T) {
	a := new(arena)
	ch := a.newChunk(make([]byte, 5*granuleSize))
	for i := range 5 {
		require.Equal(t, i, ch.busy.find(1))
		ch.busy.add(i, 1)
	}
	for _, n := range []int{1, 8, 9, 64, chunkGranules} {
		assert.Equal(t, -1, ch.busy.find(n))
	}
}

// Memory that the system did not take back is used again, is not taken for zero, and goes back with
// a later Trim.
func TestFailedPurge(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	a := newArena(t)
	p := newStill[[64]byte](t)
	churn := func(n int) {
		xs := make([]*[64]byte, n)
		for k := range xs {
			x, err := p.TryGet()
			require.NoError(t, err)
			require.Equal(t, [64]byte{}, *x)
			*x = [64]byte{1, 2, 3}
			xs[k] = x
		}
		p.PutBatch(xs)
	}
	churn(5000)
	fail := true
	failing(t, func(call string) bool { return call == "purge" && fail })
	assert.Zero(t, p.Trim())
	m := ReadMemory()
	assert.Positive(t, m.Warm)
	assert.Zero(t, m.Purged)
	churn(5000)
	assert.Zero(t, ReadMemory().Warm, "the pool uses the same memory")
	assert.Equal(t, m.Warm, ReadMemory().InUse)
	assert.Zero(t, p.Trim())

	fail = false
	assert.Equal(t, m.Warm, p.Trim(), "Trim gives back what an earlier one could not")
	assert.Zero(t, ReadMemory().Committed)
	assert.Zero(t, a.resident())
	assert.Zero(t, p.Trim())
	churn(5000)
}

// losing makes purges report that the memory may be somebody else's now, as long as lose is true. It
// returns the memory that is lost, which is inaccessible, so that a use of it faults.
func losing(t *testing.T, lose *bool) (lost *[][]byte) {
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	lost = new([][]byte)
	sys := *before
	sys.purge = func(mem []byte) (gone, zeroed, _ bool) {
		for _, m := range *lost {
			assert.False(t, overlap(m, mem), "a purge of lost memory")
		}
		if !*lose {
			return before.purge(mem)
		}
		*lost = append(*lost, mem)
		require.NoError(t, before.protect(mem, false))
		return false, false, true
	}
	sys.protect = func(mem []byte, accessible bool) error {
		for _, m := range *lost {
			assert.False(t, overlap(m, mem), "lost memory is touched")
		}
		return before.protect(mem, accessible)
	}
	system.Store(&sys)
	return lost
}

func overlap(x, y []byte) bool {
	return addressOf(x) < addressOf(y)+uintptr(len(y)) && addressOf(y) < addressOf(x)+uintptr(len(x))
}

// Memory that may be somebody else's after a purge that failed is not used again, and not purged
// again. It stays in the count, and everything else works.
func TestLostMemory(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	a := newArena(t)
	p := newStill[[64]byte](t)
	kept := p.Get()
	fill(kept[:], 1, 2)
	xs := simBatch(p, 5000)
	stale := address(xs[4000])
	p.PutBatch(xs)
	lose := true
	lost := losing(t, &lose)
	assert.Zero(t, p.Trim())
	lose = false
	n := 0
	for _, m := range *lost {
		if wasPage(addressOf(m)) { // and not words
			n += len(m)
		}
	}
	require.GreaterOrEqual(t, n, 4*granuleSize)
	requireTotals(t, a)
	m := ReadMemory()
	assert.EqualValues(t, n, m.Warm)
	assert.Zero(t, m.Purged)
	requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(stale)) })
	for range 3 {
		xs := simBatch(p, 20_000)
		for _, x := range xs {
			for _, m := range *lost {
				require.False(t, overlap(m, x[:]), "a Get of lost memory")
			}
			*x = [64]byte{1}
		}
		p.PutBatch(xs)
		assert.Positive(t, p.Trim())
		requireTotals(t, a)
	}
	assert.EqualValues(t, n, ReadMemory().Warm)
	assert.True(t, intact(kept[:], 1, 2))
	p.Put(kept)
	p.Trim()
	assert.EqualValues(t, n, ReadMemory().Committed)

	// A limit counts it.
	defer SetProcessLimit(SetProcessLimit(int64(n) + 2*granuleSize))
	ys := fillUp(t, p)
	assert.Zero(t, 2*p.Stats().SlotsPerPage-len(ys))
	p.PutBatch(ys)
}

// requireTotals counts again what the arena counts.
func requireTotals(t *testing.T, a *arena) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var busy, held, waiting int
	for _, ch := range a.open {
		busy -= chunkGranules - len(ch.mem)/granuleSize // these are past the end
		for w := range ch.busy {
			busy += bits.OnesCount64(ch.busy[w])
			held += bits.OnesCount64(ch.held[w])
			require.Zero(t, ch.busy[w]&ch.held[w], "held memory is free")
		}
	}
	for n, rs := range a.released {
		waiting += n * len(rs)
	}
	require.Equal(t, waiting, a.total.waiting)
	require.Equal(t, held, a.total.held)
	require.Equal(t, busy, a.total.inUse+a.total.waiting+a.total.lost)
}

// If a system call fails, a Get fails with an error, and nothing else happens.
func TestFailedCalls(t *testing.T) {
	for _, call := range []string{"reserve", "commit"} {
		newArena(t)
		fail := true
		failing(t, func(c string) bool { return c == call && fail })
		p := newStill[[64]byte](t, WithName("orders"))
		for range 3 {
			_, err := p.TryGet()
			require.ErrorIs(t, err, ErrOutOfMemory)
			require.ErrorContains(t, err, `pool "orders"`)
			requirePanic(t, ErrOutOfMemory, func() { p.Get() })
			xs := make([]*[64]byte, 100)
			requirePanic(t, ErrOutOfMemory, func() { p.GetBatch(xs) })
			require.NoError(t, p.core.checkInvariants())
		}
		assert.Zero(t, ReadMemory().Committed)
		fail = false
		xs := simBatch(p, 3000)
		fail = true
		xs = append(xs, p.Get()) // from memory that is committed already
		p.PutBatch(xs)
		p.Trim()
		assert.Zero(t, p.Stats().Live)
	}
}

// Pools that come and go leave no memory and no address space behind.
func TestManyPools(t *testing.T) {
	newArena(t)
	var early Memory
	for i := range times(2000) {
		p := New[[64]byte]()
		xs := simBatch(p, 3000)
		p.PutBatch(xs)
		require.NoError(t, p.Close())
		if i == 10 {
			early = ReadMemory()
		}
	}
	late := ReadMemory()
	assert.Positive(t, early.Reserved)
	assert.Equal(t, early.Reserved, late.Reserved)
	assert.LessOrEqual(t, late.Committed, early.Committed+4<<16)
	assert.Zero(t, late.InUse)
}

// A kernel that can name memory shows the library's name.
func TestMemoryName(t *testing.T) {
	newArena(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("needs Linux: ", err)
	}
	if !strings.Contains(string(smaps), "[anon:") {
		t.Skip("this kernel does not name memory (CONFIG_ANON_VMA_NAME)")
	}
	assert.Contains(t, string(smaps), "[anon:warmpage pool]")
}

// Memory that was purged is used again before a chunk behind it.
func TestPurgedMemoryIsUsed(t *testing.T) {
	a := newArena(t)
	t.Cleanup(stopClock())
	var purged atomic.Int64
	first, err := a.alloc(1)
	require.NoError(t, err)
	runs := []run{first}
	for runs[len(runs)-1].chunk == first.chunk {
		r, err := a.alloc(1)
		require.NoError(t, err)
		runs = append(runs, r)
	}
	a.free(first, &purged)
	a.purgeFrom(&purged)
	again, err := a.alloc(1)
	require.NoError(t, err)
	assert.Same(t, first.chunk, again.chunk)
	for _, r := range append(runs[1:], again) {
		a.free(r, &purged)
	}
	a.purgeFrom(&purged)
}

// Regions begin at a step of the table, wherever the system reserves memory.
func TestRegionsBeginAtAStep(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	before := system.Load()
	defer system.Store(before)
	odd := *before
	odd.reserve = func(size uintptr) ([]byte, error) {
		mem, err := before.reserve(size + tableStep)
		if err != nil {
			return nil, err
		}
		skip := (tableStep/2 - addressOf(mem)) % tableStep
		return mem[skip:][:size], nil
	}
	system.Store(&odd)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	assert.Zero(t, addressOf(a.regions[0].mem)%tableStep)
}
