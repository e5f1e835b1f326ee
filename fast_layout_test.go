//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && !poolyield && !go1.28 && !poolunknown && ((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The layout that this build expects is the one that the runtime has, and the fast paths are on. With
// POOL_FASTPATH=off they are not.
func TestLayout(t *testing.T) {
	assert.True(t, checkLayout())
	for _, test := range []struct{ env, access string }{
		{"", accessNosplit}, {"on", accessNosplit}, {"off", accessPinned},
	} {
		t.Run("POOL_FASTPATH="+test.env, func(t *testing.T) {
			if os.Getenv(childEnv) != t.Name() {
				t.Setenv("POOL_FASTPATH", test.env)
			}
			if inChild(t) {
				useWith(t, test.access)
			}
		})
	}
}

// useWith uses a pool, and expects that all pools have this access.
func useWith(t *testing.T, access string) {
	p := New[[64]byte]()
	assert.Equal(t, access, p.Stats().Access, "before the first Get")
	for range 3 {
		xs := simBatch(p, 3*p.Stats().SlotsPerPage)
		for _, x := range xs {
			p.Put(x)
		}
		for range 100 {
			p.Put(p.Get())
		}
		p.Trim()
	}
	for _, st := range ReadStats() {
		assert.Equal(t, access, st.Access)
	}
	assert.Equal(t, access == accessNosplit, usesFastPaths(p))
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

// usesFastPaths reports whether a Get or Put of p may take the fast path.
func usesFastPaths[T any](p *Pool[T]) bool {
	p.Put(p.Get()) // so that the P has its shard
	return p.core.fast.rest != nil
}

// fakes are what the words have that a fake m has, in the place of pointers. They are no local variables, so
// that their addresses do not change.
var fakes struct {
	curg, p uintptr
	zero    [256]byte // more than what is read of a g or a p
	g       gLayout
	pp      struct {
		pLayout
		_ [pBackToM - unsafe.Sizeof(pLayout{})]byte
		m uintptr
	}
}

// atFakes returns the places of fakes in the caller's m, which is to be the same until the test ends.
func atFakes() offsets {
	m := address(getm())
	return offsets{address(&fakes.curg) - m, address(&fakes.p) - m}
}

// still keeps the caller on one thread and one P, with a stack that stays where it is, until the process
// ends.
func still() {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
}

// Whatever the places of the pointers are taken for, and wherever what is there leads to, the check finds
// that, and survives.
func TestLayoutWrong(t *testing.T) {
	if !inChild(t) {
		return
	}
	still()
	right := layout
	require.True(t, checkLayoutHere())
	for round := range 4 { // what the words of an m contain changes
		for off := uintptr(0); off < 1024; off += 4 {
			if layout = (offsets{off, right.p}); off != right.curg && !sameWord(off, right.curg) {
				assert.False(t, checkLayoutHere(), "curg at %d", off)
			}
			if layout = (offsets{right.curg, off}); off != right.p && !sameWord(off, right.p) {
				assert.False(t, checkLayoutHere(), "p at %d", off)
			}
			layout = offsets{off, off}
			assert.False(t, checkLayoutHere(), "both at %d", off)
		}
		layout = offsets{right.p, right.curg}
		assert.False(t, checkLayoutHere(), "swapped")
		if round == 2 {
			runtime.GC()
		}
	}
	for _, far := range []uintptr{1 << 16, 1 << 32, 1 << 40, 1 << 46, 1 << 47, 1 << 62, 1 << 63, ^uintptr(0), ^uintptr(7), -address(getm())} {
		layout = offsets{far, right.p}
		assert.False(t, checkLayoutHere(), "curg at %#x", far)
		layout = offsets{right.curg, far}
		assert.False(t, checkLayoutHere(), "p at %#x", far)
	}

	reserved, err := system.Load().reserve(1 << 16)
	require.NoError(t, err)
	values := map[string]uintptr{
		"nil":               0,
		"small":             8,
		"the last page":     ^uintptr(7),
		"not an address":    1<<63 | 1<<50,
		"the system's":      ^uintptr(1<<47 - 1),
		"inaccessible":      addressOf(reserved),
		"the edge of it":    addressOf(reserved) - 8, // what follows is mapped, as a rule
		"unaligned":         address(&fakes.zero) + 1,
		"zeroes":            address(&fakes.zero),
		"code":              codeAddress(),
		"a string":          address(unsafe.StringData("12345678901234567890123456789012345678901234567890123456789012345678901234")) &^ 7,
		"the m":             address(getm()),
		"the word before m": address(getm()) - 8,
	}
	for what, value := range values {
		fakes.p, fakes.curg = value, value
		layout = offsets{right.curg, atFakes().p}
		assert.False(t, checkLayoutHere(), "p is %s", what)
		layout = offsets{atFakes().curg, right.p}
		assert.False(t, checkLayoutHere(), "curg is %s", what)
		layout = atFakes()
		assert.False(t, checkLayoutHere(), "both are %s", what)
	}
	layout = right
	assert.True(t, checkLayoutHere(), "the check fails after it has failed")
	for _, setting := range []bool{true, false} {
		debug.SetPanicOnFault(setting)
		checkLayoutHere()
		assert.Equal(t, setting, debug.SetPanicOnFault(setting), "the check has changed SetPanicOnFault")
	}
}

// The check asks for all that it can know of a p and a g.
func TestLayoutChecksAll(t *testing.T) {
	if !inChild(t) {
		return
	}
	still()
	right := readLayout(layout)
	layout = atFakes()
	for _, test := range []struct {
		what  string
		spoil func()
		ok    bool
	}{
		{what: "nothing", spoil: func() {}, ok: true},
		{what: "preemption is wanted", spoil: func() { fakes.g.stackguard0 = stackPreempt }, ok: true},
		{what: "deep in the stack", spoil: func() { fakes.g.stackguard0 = right.stackHi - 8 }, ok: true},
		{what: "p.id", spoil: func() { fakes.pp.id++ }},
		{what: "p.status idle", spoil: func() { fakes.pp.status = 0 }},
		{what: "p.status stopped", spoil: func() { fakes.pp.status = 3 }},
		{what: "p.m is nil", spoil: func() { fakes.pp.m = 0 }},
		{what: "p.m", spoil: func() { fakes.pp.m += 8 }},
		{what: "stack above", spoil: func() { fakes.g.stackLo = right.stackHi - 8 }},
		{what: "stack below", spoil: func() { fakes.g.stackHi = right.stackLo + 1000 }},
		{what: "stackguard0 is nil", spoil: func() { fakes.g.stackguard0 = 0 }},
		{what: "stackguard0 below", spoil: func() { fakes.g.stackguard0 = right.stackLo }},
		{what: "stackguard0 above", spoil: func() { fakes.g.stackguard0 = right.stackHi }},
	} {
		fakes.pp.id, fakes.pp.status, fakes.pp.m = right.id, right.status, right.m
		fakes.g = gLayout{right.stackLo, right.stackHi, right.stackLo + 928}
		fakes.p, fakes.curg = address(&fakes.pp), address(&fakes.g)
		test.spoil()
		assert.Equal(t, test.ok, checkLayoutHere(), test.what)
	}
}

// sameWord reports whether the m that the caller runs on has the same word at both offsets.
//
//go:nosplit
//go:noinline
func sameWord(a, b uintptr) bool {
	m := unsafe.Pointer(getm())
	return *(*uintptr)(unsafe.Add(m, a)) == *(*uintptr)(unsafe.Add(m, b))
}

// codeAddress returns the address of an instruction.
func codeAddress() uintptr {
	pc, _, _, _ := runtime.Caller(0)
	return pc &^ 7
}

// A table that is stored while the fast paths are being turned off does not turn them on again.
func TestTableStoredWhileFastGoesOff(t *testing.T) {
	t.Parallel()
	if !inChild(t) {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := New[[64]byte]()
	p.core.stopClock()
	table := &shardTable{core: &p.core, shards: slices.Repeat([]*shard{&p.core.absent}, fewPs)}
	var round, done atomic.Int64
	rounds := int64(times(100_000))
	meet := func(at *atomic.Int64, n int64) {
		for spins := 0; at.Load() < n; spins++ {
			if spins > 1000 { // the other one has lost its processor
				runtime.Gosched()
			}
		}
	}
	var work group
	work.Go(func() {
		for n := range rounds {
			meet(&round, n+1)
			p.core.fast.store(table)
			done.Store(n + 1)
		}
	})
	on := 0
	for n := range rounds {
		fastOff.Store(false)
		round.Store(n + 1)
		for range n % 64 { // so that it comes to any point of the store
			round.Load()
		}
		fastOff.Store(true) // what turnFastOff does, without a search for pools in between
		p.core.fast.clear()
		meet(&done, n+1)
		if p.core.fast != (fastTable{}) {
			on++
		}
		p.core.fast.clear()
	}
	work.Wait()
	assert.Zero(t, on, "stores that left the fast paths on")
}

// If the layout is wrong at the first New, pools work without the fast paths.
func TestLayoutWrongFromTheStart(t *testing.T) {
	for _, test := range []struct {
		name   string
		layout offsets
	}{
		{"both elsewhere", offsets{mCurg + 8, mP + 8}},
		{"curg elsewhere", offsets{mCurg + 8, mP}},
		{"p elsewhere", offsets{mCurg, mP + 8}},
		{"swapped", offsets{mP, mCurg}},
		{"at the start", offsets{0, 0}},
		{"not in memory", offsets{1 << 62, 1 << 62}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if inChild(t) {
				layout = test.layout
				useWith(t, accessPinned)
			}
		})
	}
}

// If the layout turns out to be wrong when a P gets its shard, all pools give the fast paths up, and go on.
func TestLayoutWrongLater(t *testing.T) {
	if !inChild(t) {
		return
	}
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	old, other := New[[64]byte](), New[[32]byte]()
	assert.True(t, usesFastPaths(old))
	assert.True(t, usesFastPaths(other))
	late := New[[16]byte]()
	assert.Equal(t, accessNosplit, late.Stats().Access)
	layout = offsets{mCurg, mP + 8}
	late.Put(late.Get()) // its first shard
	assert.False(t, usesFastPaths(late))
	assert.False(t, usesFastPaths(old))
	assert.False(t, usesFastPaths(other))
	assert.Equal(t, accessPinned, old.Stats().Access)
	assert.True(t, old.core.fast == fastTable{}, "nor for Ps beyond the first ones")
	useWith(t, accessPinned)
}

// The fast paths are turned off while goroutines use pools, make pools, and come to Ps that have no shard.
func TestLayoutTurnFastOff(t *testing.T) {
	t.Parallel()
	if !inChild(t) {
		return
	}
	type object struct {
		user atomic.Uint64
		_    [56]byte
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	pools := []*Pool[object]{New[object](), New[object]()}
	const users = 8
	var end atomic.Bool
	var counts [users]atomic.Int64
	var work group
	for g := range users {
		work.Go(func() {
			p, me := pools[g%len(pools)], uint64(g)+1
			for !end.Load() {
				xs := [3]*object{p.Get(), p.GetNoZero(), p.Get()}
				for _, x := range xs {
					x.user.Store(me)
				}
				for _, x := range xs {
					assert.True(t, x.user.CompareAndSwap(me, 0), "a slot was handed out twice")
					p.Put(x)
				}
				counts[g].Add(1)
			}
		})
	}
	// wait returns when each goroutine has done some more.
	wait := func() {
		for g := range counts {
			for from := counts[g].Load(); counts[g].Load() < from+int64(times(1000)); {
				runtime.Gosched()
			}
		}
	}
	wait()
	assert.Equal(t, accessNosplit, pools[0].Stats().Access)
	assert.True(t, usesFastPaths(pools[0]))
	var making group
	var some [100]*Pool[object]
	making.Go(func() {
		for i := range some {
			some[i] = New[object]()
			some[i].Put(some[i].Get())
		}
	})
	turnFastOff()
	for _, p := range pools {
		assert.False(t, usesFastPaths(p))
	}
	wait()
	runtime.GOMAXPROCS(8)
	wait()
	for _, p := range pools {
		assert.Equal(t, accessPinned, p.Stats().Access)
		assert.False(t, usesFastPaths(p))
		p.core.grow()
		assert.False(t, usesFastPaths(p), "a new table turns them on again")
	}
	making.Wait()
	for _, p := range some {
		assert.False(t, usesFastPaths(p))
		require.NoError(t, p.Close())
	}
	end.Store(true)
	work.Wait()
	for _, p := range pools {
		require.NoError(t, p.core.checkInvariants())
		st := p.Stats()
		assert.Zero(t, st.Live)
		assert.Positive(t, st.Gets)
		require.NoError(t, p.Close())
	}
	useWith(t, accessPinned)
}
