package pool

import (
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultOf returns the address at which f faults, or 0 if it does not.
func faultOf(f func()) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			addr = e.Addr()
		}
	}()
	f()
	return 0
}

// told returns the address that a processor reports for a fault at addr. An s390x reports only the
// OS page.
func told(addr uintptr) uintptr {
	if runtime.GOARCH == "s390x" {
		return addr &^ 4095
	}
	return addr
}

// guarded returns a guarded slot of p, with WithGuardSampling(1).
func guarded[T any](t *testing.T, p *Pool[T]) *T {
	for range 10 {
		x, err := p.TryGet() // always a slow Get
		require.NoError(t, err)
		if pageOf(uintptr(unsafe.Pointer(x))).guard != nil {
			return x
		}
		defer p.Put(x)
	}
	t.Fatal("no slot was guarded")
	return nil
}

// firstNonZero returns the place of the first byte of b that is not zero, or -1.
func firstNonZero(b []byte) int {
	return slices.IndexFunc(b, func(x byte) bool { return x != 0 })
}

func testGuard[T any](t *testing.T) { testAlignedGuard[T](t, 1) }

func testAlignedGuard[T any](t *testing.T, align int) {
	needsOSMemory(t)
	p := newStill[T](t, WithName("guarded"), WithGuardSampling(1), WithAlign(align))
	x := guarded(t, p)
	assert.Zero(t, address(x)%alignFor(unsafe.Sizeof(*x), align))
	assert.Equal(t, -1, firstNonZero(view(x)))
	bytes := view(x)
	fill(bytes, 1, 2)
	assert.Positive(t, p.Stats().GuardedGets)
	assert.Equal(t, 1, p.Stats().Live)
	require.NoError(t, p.core.checkInvariants())

	stride := p.Stats().SlotSize
	end := unsafe.Add(unsafe.Pointer(x), stride)
	assert.Equal(t, told(uintptr(end)), faultOf(func() { *(*byte)(end) = 1 }), "beyond the slot")
	assert.Contains(t, DescribeFault(uintptr(end)), "behind the end of a slot of pool \"guarded\"")
	assert.Zero(t, faultOf(func() { bytes[len(bytes)-1]++ }))
	bytes[len(bytes)-1]--
	assert.True(t, intact(bytes, 1, 2))

	requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(uintptr(unsafe.Pointer(x)) + 1)) })
	assert.ErrorContains(t, p.core.errForeignPut("Put", uintptr(unsafe.Pointer(x))+1), ": it is 1 bytes into a slot;")
	assert.ErrorContains(t, p.core.errForeignPut("Put", uintptr(end)), ": it is beside the slots of a page;")
	r := p.Ref(x)
	assert.True(t, x == p.Deref(r))
	n := 0
	for _, y := range p.All() {
		assert.True(t, x == y)
		n++
	}
	assert.Equal(t, 1, n)
	assert.ErrorIs(t, p.Close(), ErrInUse)

	p.Put(x)
	assert.False(t, slices.ContainsFunc(Leaks(), func(l Leak) bool { return l.Pool == "guarded" && l.Addr == uintptr(unsafe.Pointer(x)) }))
	assert.True(t, p.Deref(r) == nil)
	assert.Zero(t, p.Stats().Live)
	first := uintptr(unsafe.Pointer(x))
	assert.Equal(t, told(first), faultOf(func() { bytes[0] = 1 }), "a write after Put")
	assert.Equal(t, told(first+uintptr(len(bytes))-1), faultOf(func() { n = int(bytes[len(bytes)-1]) }), "a read after Put")
	text := DescribeFault(first)
	assert.Contains(t, text, `0 bytes into a slot of pool "guarded" (`)
	assert.Contains(t, text, "which was Put\ngot at:\n")
	assert.Contains(t, text, "put at:\n\tgithub.com/warmpage/pool.testAlignedGuard")
	assert.Contains(t, text, "guard_test.go:")
	requirePanic(t, ErrDoublePut, func() { p.Put(x) })
	requirePanic(t, ErrDoublePut, func() { p.Ref(x) })

	// It is handed out again after all other guards, and zeroed.
	before := p.Stats().GuardedGets
	y := guarded(t, p)
	assert.False(t, x == y)
	p.Put(y)
	for x != y {
		y = guarded(t, p)
		assert.Equal(t, -1, firstNonZero(view(y)))
		p.Put(y)
	}
	assert.EqualValues(t, p.core.guards.most(guardGranules(uint32(stride))), p.Stats().GuardedGets-before, "all others come before it")
	p.Trim()
	assert.Zero(t, p.Stats().Pages)
	assert.Contains(t, DescribeFault(first), "has been released since")
	assert.Zero(t, faultOf(func() { n = int(*(*byte)(unsafe.Pointer(x))) }), "memory of the arena is accessible")
	require.NoError(t, p.core.checkInvariants())
}

func TestGuard(t *testing.T) {
	t.Run("1", testGuard[[1]byte])
	t.Run("64", testGuard[[64]byte])
	t.Run("8192", testGuard[[8192]byte])
	t.Run("20000", testGuard[[20000]byte])
	t.Run("4096", testGuard[[4096]byte])
	t.Run("24 aligned", func(t *testing.T) { testAlignedGuard[[24]byte](t, 256) })
	t.Run("5000 aligned", func(t *testing.T) { testAlignedGuard[[5000]byte](t, 4096) })
	t.Run("512K", testGuard[[512<<10 - redZone]byte])
	t.Run("2M", testGuard[[2 << 20]byte])
}

// Guarded slots count for the limit, and make room if no other slot is free.
func TestGuardLimit(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	p := newStill[[1024]byte](t, WithLimit(16<<16), WithGuardSampling(1))
	for range 20 {
		p.Put(guarded(t, p))
	}
	assert.Equal(t, 2, p.Stats().Pages, "an eighth of the limit")
	n := p.Stats().SlotsPerPage
	var xs []*[1024]byte
	for {
		x, err := p.TryGet()
		if err != nil {
			assert.ErrorIs(t, err, ErrLimit)
			break
		}
		xs = append(xs, x)
	}
	assert.Equal(t, 16, p.Stats().Pages)
	assert.Len(t, xs, 14*n+2, "two are guarded")
	p.PutBatch(xs)
	p.Trim()
	ys := make([]*[1024]byte, 16*n)
	p.GetBatch(ys[:14*n])
	p.Put(guarded(t, p))
	p.GetBatch(ys[14*n:]) // releases the guards, which are not in use
	p.PutBatch(ys)
	xs = xs[:0]
	p.PutBatch(xs)
	assert.Zero(t, p.Stats().Live)
}

// If the system refuses to guard slots, Gets get other slots.
func TestGuardRefused(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	before := system.Load()
	defer system.Store(before)
	refuse := *before
	calls := 0
	refuse.protect = func(mem []byte, accessible bool) error {
		if calls++; calls%3 != 0 {
			return errors.New("injected fault")
		}
		return before.protect(mem, accessible)
	}
	system.Store(&refuse)
	p := New[[64]byte](WithGuardSampling(1))
	for range 200 {
		x, err := p.TryGet()
		require.NoError(t, err)
		p.Put(x)
		require.NoError(t, p.core.checkInvariants())
	}
	assert.Greater(t, calls, 100)
	assert.Zero(t, p.Stats().Live)
	system.Store(before)
	p.Trim()
	require.NoError(t, p.Close())
}

// A guard that the system refuses makes room for whoever has begun to wait because of it.
func TestRefusedGuardEndsWait(t *testing.T) {
	needsOSMemory(t)
	for name, isMade := range map[string]bool{"a new one": false, "one that was put": true} {
		t.Run(name, func(t *testing.T) {
			oneP(t)
			p := newStill[[1024]byte](t, WithLimit(8<<16), WithGuardSampling(1))
			if isMade {
				p.Put(guarded(t, p))
			}
			xs := simBatch(p, 7*p.Stats().SlotsPerPage) // the guard has the last page
			var got <-chan *[1024]byte
			refuseProtect(t, func() {
				if got == nil {
					got = aWait(t, p, 1)
					for !p.core.isExhausted() {
						runtime.Gosched()
					}
				}
			})
			x, err := p.TryGet()
			require.NoError(t, err, "the room of the guard is a page")
			require.NotNil(t, got)
			p.PutBatch(append(xs, x, <-got))
		})
	}
}

// refuseProtect has the system refuse to change what memory is accessible, until the test ends. meanwhile
// is called first.
func refuseProtect(t *testing.T, meanwhile func()) {
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	refusing := *before
	refusing.protect = func([]byte, bool) error {
		meanwhile()
		return errFault
	}
	system.Store(&refusing)
}

// A guarded slot that the system refuses does not count as one that is out, for CloseWhenEmpty.
func TestRefusedGuardAndCloseWhenEmpty(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	p := New[[1024]byte](WithGuardSampling(1), WithLimit(8<<16))
	p.core.stopClock()
	p.Put(guarded(t, p))
	xs := simBatch(p, 7*p.Stats().SlotsPerPage)
	defer SetProcessLimit(0)
	refuseProtect(t, func() {
		if SetProcessLimit(1) == 0 { // so that the Get fails
			require.NoError(t, p.CloseWhenEmpty())
		}
	})
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrLimit)
	p.PutBatch(xs)
	require.ErrorIs(t, p.Close(), ErrClosed)
}

// A guard whose memory may be somebody else's after its purge is not used again, nor is its page.
func TestGuardLost(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	a := newArena(t)
	p := newStill[[64]byte](t, WithGuardSampling(1))
	guards := guardsOfAll.Load()
	x := guarded(t, p)
	lose := true
	lost := losing(t, &lose)
	p.Put(x)
	lose = false
	require.Len(t, *lost, 1)
	requireTotals(t, a)
	assert.Equal(t, guards, guardsOfAll.Load())
	assert.Zero(t, p.Stats().Live)
	assert.EqualValues(t, guardGranules(64)*granuleSize, ReadMemory().Warm)
	assert.Error(t, caught(func() error { p.Put(x); return nil }))
	for range 3 * guardMax {
		p.Put(guarded(t, p))
	}
	p.Trim()
	requireTotals(t, a)
	assert.EqualValues(t, guardGranules(64)*granuleSize, ReadMemory().Committed)
}

// While guards that were put cannot be made accessible for other uses, no others are made: their
// memory would wait, too. Trim gives it back when the system allows it again.
func TestGuardsSealed(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	a := newArena(t)
	before := system.Load()
	defer system.Store(before)
	refuse := *before
	refused := 0
	refuse.protect = func([]byte, bool) error { refused++; return errors.New("injected fault") }
	p := newStill[[64]byte](t, WithGuardSampling(1))
	x := guarded(t, p)
	p.Put(guarded(t, p))
	system.Store(&refuse)
	churn := func() {
		for range 200 {
			y, err := p.TryGet()
			require.NoError(t, err)
			p.Put(y)
		}
	}
	churn()
	p.Put(x)
	assert.Same(t, noPage, pageOf(address(x)), "a guard that stays accessible is none")
	churn()
	p.Trim()
	churn()
	assert.Greater(t, refused, 100)
	requireTotals(t, a)
	waiting := 3 // the two, and the one whose making was refused first
	assert.LessOrEqual(t, len(a.sealed), waiting)
	assert.NotEmpty(t, a.sealed)
	system.Store(before)
	p.Trim()
	assert.Empty(t, a.sealed)
	assert.Zero(t, ReadMemory().Committed)
	served := p.Stats().GuardedGets
	p.Put(guarded(t, p))
	assert.Greater(t, p.Stats().GuardedGets, served)
}

// A guard that the system could make inaccessible in part only leaves no inaccessible memory to
// others.
func TestGuardHalfMade(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	newArena(t)
	before := system.Load()
	defer system.Store(before)
	half := *before
	failed := 0
	half.protect = func(mem []byte, accessible bool) error {
		if accessible {
			return before.protect(mem, true)
		}
		failed++
		require.NoError(t, before.protect(mem[:osPageSize], false))
		return errors.New("injected fault")
	}
	system.Store(&half)
	p := newStill[[64]byte](t, WithGuardSampling(1))
	for range 3 {
		xs := make([]*[64]byte, 3000)
		for k := range xs {
			xs[k], _ = p.TryGet()
			*xs[k] = [64]byte{1}
		}
		p.PutBatch(xs)
	}
	assert.Positive(t, failed)
}

// Several goroutines can get guarded slots at the same time.
func TestGuardConcurrent(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[[64]byte](WithGuardSampling(2), WithProfile(640))
	rounds := times(300)
	var wg group
	for i := range 16 {
		wg.Go(func() {
			for round := range rounds {
				var xs [20]*[64]byte
				for k := range xs {
					xs[k] = p.Get()
					assert.Zero(t, *xs[k])
					fill(xs[k][:], round, i)
				}
				for _, x := range xs {
					assert.True(t, intact(x[:], round, i))
					p.Put(x)
				}
			}
		})
	}
	wg.Wait()
	st := p.Stats()
	assert.Zero(t, st.Live)
	assert.EqualValues(t, 16*rounds*20, st.Gets)
	if offHeap {
		assert.Positive(t, st.GuardedGets)
	}
	assert.Empty(t, p.core.watches.live())
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

func TestDescribeFault(t *testing.T) {
	p := newStill[[72]byte](t, WithName("plain"))
	x := p.Get()
	defer p.Put(x)
	assert.Empty(t, DescribeFault(8))
	assert.Contains(t, DescribeFault(address(x)+3), `3 bytes into slot 0 of a page of pool "plain" ([72]uint8)`)
	assert.Contains(t, DescribeFault(address(x)+granuleSize-1), "behind the last slot")
}

// A guarded slot ends the program where it is used after its Put.
var lateUse = mistake{name: "use of a guarded slot after Put", do: func() {
	p := quotePool(WithGuardSampling(1))
	for range 2 { // one of the two is guarded, at random
		x, _ := p.TryGet()
		p.Put(x)
		useLate(x)
	}
}}

func TestGuardCrash(t *testing.T) {
	if !offHeap || watchAll {
		t.Skip("in this build, memory comes from the Go heap, or something else finds the mistake first")
	}
	_, stderr, code := runSelf(t, crashEnv+"="+lateUse.name)
	assert.Regexp(t, `^unexpected fault address 0x[0-9a-f]+\nfatal error: fault\n(.*\n)+.*useLate`, stderr)
	assert.Equal(t, 2, code)
}

// Of several Puts of one guarded slot that race, one frees it and the others panic.
func TestRacingPutsOfGuardedSlot(t *testing.T) {
	needsOSMemory(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := newStill[[64]byte](t, WithGuardSampling(1), WithLimit(8*64<<10)) // one guard
	for range times(2000) {
		x := guarded(t, p)
		var freed, refused atomic.Int32
		var putters group
		for range 4 {
			putters.Go(func() {
				defer func() {
					if err, _ := recover().(error); err == nil {
						freed.Add(1)
					} else if assert.ErrorIs(t, err, ErrDoublePut) {
						refused.Add(1)
					}
				}()
				p.Put(x)
			})
		}
		putters.Wait()
		require.EqualValues(t, 1, freed.Load())
		require.EqualValues(t, 3, refused.Load())
	}
}

// Guards count with their address space, also where a guard takes more of it than a page of the
// pool.
func TestGuardsCountInBytes(t *testing.T) {
	needsOSMemory(t)
	defer func(size int) { osPageSize = size }(osPageSize)
	osPageSize = 64 << 10
	for _, limit := range []int64{1 << 20, 5 << 20} {
		p := newStill[[64]byte](t, WithLimit(limit), WithGuardSampling(1))
		var xs []*[64]byte
		for {
			x, err := p.TryGet()
			if err != nil {
				break
			}
			xs = append(xs, x)
		}
		st := p.Stats()
		assert.LessOrEqual(t, st.MappedBytes, limit)
		assert.Greater(t, st.MappedBytes, limit-16*64<<10)
		assert.EqualValues(t, limit/8/(512<<10), st.GuardedGets, "an eighth, at 512 KiB each")
		for _, x := range xs {
			p.Put(x)
		}
	}
}

// All pools together have guardMaxProcess guards at most, however many want some. When pools are
// closed, others can have theirs.
func TestGuardsOfAllPools(t *testing.T) {
	needsOSMemory(t)
	before := guardsOfAll.Load()
	var pools []*Pool[[64]byte]
	for range guardMaxProcess/guardMax + 4 {
		p := newStill[[64]byte](t, WithGuardSampling(1))
		pools = append(pools, p)
		for range 2 * guardMax {
			x, err := p.TryGet()
			require.NoError(t, err)
			p.Put(x)
		}
	}
	assert.EqualValues(t, guardMaxProcess, guardsOfAll.Load())
	for _, p := range pools {
		p.Trim()
	}
	assert.Equal(t, before, guardsOfAll.Load())
}

// A guard that the system does not make accessible is not in use.
func TestGuardStaysInaccessible(t *testing.T) {
	needsOSMemory(t)
	p := newStill[[64]byte](t, WithGuardSampling(1))
	before := system.Load()
	defer system.Store(before)
	refusing := *before
	refusing.protect = func(mem []byte, accessible bool) error {
		if accessible && len(mem) == osPageSize {
			return ErrOutOfMemory
		}
		return before.protect(mem, accessible)
	}
	system.Store(&refusing)
	x, err := p.TryGet()
	require.NoError(t, err)
	assert.Zero(t, p.Stats().GuardedGets)
	assert.Equal(t, 1, p.Stats().Live)
	p.Put(x)
	assert.Len(t, p.core.guards.idle, 1)
}

// At a bound of slots, guards take an eighth of them.
func TestGuardsOfFewSlots(t *testing.T) {
	needsOSMemory(t)
	p := newStill[[64]byte](t, WithMaxSlots(16), WithGuardSampling(1))
	xs := fillUp(t, p)
	assert.Len(t, xs, 16)
	assert.EqualValues(t, 2, p.Stats().GuardedGets)
	p.PutBatch(xs)
}

// All does not see a guarded slot whose object is being made.
func TestAllWhileGuardedObjectIsMade(t *testing.T) {
	needsOSMemory(t)
	var p *Pool[quote]
	seen, made := 0, 0
	p = newStill[quote](t, WithGuardSampling(1), WithInit(func(*quote) {
		made++
		for range p.All() {
			seen++
		}
	}))
	x := p.Get()
	assert.Positive(t, p.Stats().GuardedGets)
	assert.Positive(t, made)
	assert.Zero(t, seen)
	p.Put(x)
}
