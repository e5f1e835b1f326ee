package pool

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// What the test programs of hardened_malloc do wrong (test/ of GrapheneOS/hardened_malloc), done with
// pools of 16 bytes and of 256 KiB, or with a Bytes. SECURITY.md says which build finds what. Where none
// does, or not this one, the tests here hold what happens instead.
//
//	                             every build      also pooldebug    also -asan     a guarded slot
//	double_free_...              ErrDoublePut
//	unaligned_free_...           ErrForeignPut
//	invalid_free_small_region    ErrDoublePut: a slot that nobody has got
//	invalid_free_..., others     ErrForeignPut
//	uninitialized_free           ErrForeignPut
//	delete_type_size_mismatch    ErrForeignPut
//	..._usable_size_...,
//	..._object_size_...          object_size: Owns, Ref, and the capacity of slices
//	write_after_free_...         no: Get zeroes   ErrCorrupt        a report       a fault
//	write_after_free_..._reuse   no               ErrCorrupt        no             no: another slot
//	read_after_free_...          no               no: filled        a report       a fault
//	overflow_..._byte            no: the next     ErrCorrupt        no             a fault beyond the slot
//	                             slot in use
//	a leak                       Live             Leaks                            with WithProfile(1): Leaks
//	calloc_..., uninitialized_read_...            TestLikeMimalloc/zeroinit, calloc-overflow
//	impossibly_large_malloc                       TestLikeMimalloc/calloc-overflow
//	uninitialized_realloc, realloc_init           realloc_init
//	large_array_growth, malloc_zero_different,
//	malloc_noreuse, ..._zero_size                 the same, of a Bytes
//	free_sized_..., aligned_sized_delete_...      none: slots have the size of their type; TestAlign
//	mallinfo..., malloc_info, offset              none: they print figures
//	string_overflow                               none: slices have lengths
//
// With the race detector, what nothing orders is found as well: TestMistakes.
func TestLikeHardenedMalloc(t *testing.T) {
	type small = [16]byte
	type large = [256 << 10]byte
	t.Run("double_free_small", likeDoubleFree[small])
	t.Run("double_free_large", likeDoubleFree[large])
	t.Run("unaligned_free_small", likeUnalignedFree[small])
	t.Run("unaligned_free_large", likeUnalignedFree[large])
	t.Run("invalid_free_small_region", likeFreeInRegion)
	t.Run("invalid_free_protected", likeFreeElsewhere)
	t.Run("delete_type_size_mismatch", likeSizeMismatch)
	t.Run("object_size", likeObjectSize)
	t.Run("write_after_free_small", likeWriteAfterFree[small])
	t.Run("write_after_free_large", likeWriteAfterFree[large])
	t.Run("write_after_free_small_reuse", likeWriteAfterReuse[small])
	t.Run("write_after_free_large_reuse", likeWriteAfterReuse[large])
	t.Run("read_after_free_small", likeReadAfterFree[small])
	t.Run("read_after_free_large", likeReadAfterFree[large])
	t.Run("read_after_free_pointers", likeReadPointersAfterFree)
	t.Run("overflow_small_1_byte", func(t *testing.T) { likeOverflow[small](t, 0) })
	t.Run("overflow_small_8_byte", func(t *testing.T) { likeOverflow[small](t, 7) })
	t.Run("overflow_large_1_byte", func(t *testing.T) { likeOverflow[large](t, 0) })
	t.Run("overflow_large_8_byte", func(t *testing.T) { likeOverflow[large](t, 7) })
	t.Run("leak", likeLeak)
	for kind, opts := range map[string][]Option{"Go heap": nil, "off the heap": {WithOffHeap()}} {
		run := func(name string, f func(t *testing.T, b *Bytes)) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := NewBytes(opts...)
				f(t, b)
				require.Zero(t, b.Stats().Live)
				require.NoError(t, b.Close())
			})
		}
		run("malloc_zero_different", likeZeroSizes)
		run("realloc_init", likeReallocInit)
		run("large_array_growth", likeArrayGrowth)
	}
}

// refuses wants both Puts to refuse x, and the pool to remain usable.
func refuses[T any](t *testing.T, p *Pool[T], want error, x *T) {
	t.Helper()
	live := p.Live()
	require.ErrorIs(t, p.TryPut(x), want)
	requirePanic(t, want, func() { p.Put(x) })
	requirePanic(t, want, func() { p.PutBatch([]*T{x}) })
	require.Equal(t, live, p.Live())
	require.NoError(t, p.core.checkInvariants())
}

// A second Put is found at once, and when others have come in between.
func likeDoubleFree[T any](t *testing.T) {
	for _, opts := range [][]Option{nil, {WithGoHeap()}, {WithGuardSampling(1)}} {
		p := newStill[T](t, opts...)
		x, err := p.TryGet()
		require.NoError(t, err)
		y, err := p.TryGet()
		require.NoError(t, err)
		p.Put(x)
		refuses(t, p, ErrDoublePut, x)
		p.Put(y)
		refuses(t, p, ErrDoublePut, x)
		refuses(t, p, ErrDoublePut, y)
		if p.Stats().GuardedGets == 0 {
			x, y = p.Get(), p.Get()
			require.False(t, x == y)
			p.PutBatch([]*T{x, y})
		}
	}
}

// A place within a slot is no slot.
func likeUnalignedFree[T any](t *testing.T) {
	for _, opts := range [][]Option{nil, {WithGoHeap()}, {WithGuardSampling(1)}} {
		p := newStill[T](t, opts...)
		x, err := p.TryGet()
		require.NoError(t, err)
		requirePanic(t, ErrForeignPut, func() { p.core.put(unsafe.Add(unsafe.Pointer(x), 1)) })
		requirePanic(t, ErrForeignPut, func() { p.core.put(unsafe.Add(unsafe.Pointer(x), unsafe.Sizeof(*x)-1)) })
		require.Equal(t, 1, p.Live())
		p.Put(x)
	}
}

// Memory of the pool that nobody has got yet, and addresses far away from all of it.
func likeFreeInRegion(t *testing.T) {
	oneP(t)
	p := newStill[[16]byte](t)
	x := p.Get()
	stride := p.Stats().SlotSize
	refuses(t, p, ErrDoublePut, (*[16]byte)(unsafe.Add(unsafe.Pointer(x), 4*4096/stride*stride)))
	p.Put(x)
	// Go allows no pointers below 4096.
	requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(4096 + 1)) })
	needsOSMemory(t)
	if unsafe.Sizeof(stride) == 8 {
		requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(uintptr(unsafe.Pointer(x)) + 1<<30)) })
	}
}

// Put of memory of the system reads and writes nothing there: neither where nobody may, nor where
// everybody may.
func likeFreeElsewhere(t *testing.T) {
	needsOSMemory(t)
	p := newStill[[16]byte](t)
	p.Put(p.Get())
	mem, err := osReserve(1 << 16)
	require.NoError(t, err)
	x := (*[16]byte)(startOf(mem[8*4096:]))
	require.NotZero(t, faultOf(func() { x[0] = 1 }))
	refuses(t, p, ErrForeignPut, x)
	require.False(t, p.Owns(x))
	require.NoError(t, osCommit(mem))
	require.Zero(t, faultOf(func() { fill(x[:], 1, 2) }))
	refuses(t, p, ErrForeignPut, x)
	require.True(t, intact(x[:], 1, 2))
	_, _, _ = osPurge(mem)
}

// A slot goes back to the pool that it came from, whatever type it is taken for.
func likeSizeMismatch(t *testing.T) {
	p, other := newStill[[1]byte](t), newStill[[32]byte](t)
	x, y := other.Get(), p.Get()
	requirePanic(t, ErrForeignPut, func() { p.Put((*[1]byte)(x[:])) })
	requirePanic(t, ErrForeignPut, func() { other.core.put(unsafe.Pointer(y)) })
	other.Put(x)
	p.Put(y)
}

// What can be asked of a slot that is in use, that was put, that was never got, and of a part of one.
func likeObjectSize(t *testing.T) {
	oneP(t)
	p := newStill[[16]byte](t)
	x := p.Get()
	stride := p.Stats().SlotSize
	never := (*[16]byte)(unsafe.Add(unsafe.Pointer(x), 4*4096/stride*stride))
	part := (*[16]byte)(unsafe.Add(unsafe.Pointer(x), 1))
	require.True(t, p.Owns(x))
	require.True(t, p.Owns(never), "in use or not")
	require.False(t, p.Owns(part))
	require.False(t, p.Ref(x).IsZero())
	requirePanic(t, ErrDoublePut, func() { p.Ref(never) })
	requirePanic(t, ErrForeignPut, func() { p.Ref(part) })
	p.Put(x)
	require.True(t, p.Owns(x))
	requirePanic(t, ErrDoublePut, func() { p.Ref(x) })

	b := NewBytes()
	s := b.Get(16)
	require.Equal(t, 16, cap(s))
	require.Equal(t, 16-5, cap(s[5:]))
	require.True(t, b.Owns(s[5:]))
	b.Put(s[5:])
	require.True(t, b.Owns(s))
	requirePanic(t, ErrDoublePut, func() { b.Put(s) })
	require.NoError(t, b.Close())
}

// reported runs f in a process of its own, which the address sanitizer is to end with a report.
func reported(t *testing.T, want string, f func()) {
	if os.Getenv(childEnv) == t.Name() {
		f()
		return
	}
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	_, stderr, code := runSelf(t, childEnv+"="+t.Name(), "-test.run="+run)
	require.NotZero(t, code)
	require.Regexp(t, want, stderr)
}

// faultsLate wants f to fault for a guarded slot of T that was put.
func faultsLate[T any](t *testing.T, f func(b []byte)) {
	if !offHeap || raceEnabled {
		return // no slot is guarded
	}
	p := newStill[T](t, WithGuardSampling(1))
	x := guarded(t, p)
	fill(view(x), 1, 2)
	p.Put(x)
	require.NotZero(t, faultOf(func() { f(view(x)) }))
	require.NoError(t, p.core.checkInvariants())
}

// A write after Put is found, or does no harm to what Get returns next.
func likeWriteAfterFree[T any](t *testing.T) {
	late := func(b []byte) { b[len(b)/2+1] = 'a' }
	use := func(p *Pool[T]) *T {
		x := p.Get()
		fill(view(x), 1, 2)
		p.Put(x)
		late(view(x))
		return x
	}
	faultsLate[T](t, late)
	if asanEnabled {
		reported(t, `use-after-poison on address .*\nWRITE of size 1 `, func() { use(New[T]()) })
		return
	}
	if debugging {
		p := New[T]()
		if use(p); p.core.watches.quarantined() == 1 {
			requirePanic(t, ErrCorrupt, func() { p.Trim() })
		} else { // it is too large
			requirePanic(t, ErrCorrupt, func() { p.Get() })
		}
		return
	}
	oneP(t)
	p := newStill[T](t)
	x := use(p)
	y := p.Get()
	require.True(t, x == y)
	require.Equal(t, -1, firstNonZero(view(y)))
	p.Put(y)
	require.NoError(t, p.core.checkInvariants())
}

// A write to a slot that somebody else has got since changes this object and no other. In the debug
// build, nobody has got it yet.
func likeWriteAfterReuse[T any](t *testing.T) {
	if debugging {
		p := New[T]()
		x := p.Get()
		p.Put(x)
		y := p.Get()
		if x == y { // too large for quarantine
			p.Put(y)
			return
		}
		view(x)[1] = 'a'
		require.Equal(t, -1, firstNonZero(view(y)))
		p.Put(y)
		requirePanic(t, ErrCorrupt, func() { p.Trim() })
		return
	}
	oneP(t)
	p := newStill[T](t)
	xs := simBatch(p, 3)
	p.Put(xs[1])
	y := p.Get()
	require.True(t, y == xs[1])
	view(xs[1])[1] = 'a'
	require.Equal(t, byte('a'), view(y)[1])
	view(y)[1] = 0
	for _, x := range xs {
		require.Equal(t, -1, firstNonZero(view(x)))
		p.Put(x)
	}
}

// A read after Put is found, or finds what was there, or zeroes, or in the debug build what that fills
// slots with.
func likeReadAfterFree[T any](t *testing.T) {
	var read byte
	late := func(b []byte) { read = b[len(b)/2+1] }
	use := func(p *Pool[T]) {
		x := p.Get()
		view(x)[len(view(x))/2+1] = 'a'
		p.Put(x)
		late(view(x))
	}
	faultsLate[T](t, late)
	if asanEnabled {
		reported(t, `use-after-poison on address .*\nREAD of size 1 `, func() { use(New[T]()) })
		return
	}
	p := newStill[T](t)
	use(p)
	if debugging {
		require.NotEqual(t, byte('a'), read)
		return
	}
	require.Contains(t, []byte{0, 'a'}, read)
	p.Trim()
	require.Zero(t, faultOf(func() { use(p) }), "addresses stay, even if their memory is gone")
}

// Where T has pointers, Put clears the slot, so that a late read finds nothing.
func likeReadPointersAfterFree(t *testing.T) {
	if asanEnabled {
		t.Skip("likeReadAfterFree has it")
	}
	p := newStill[holder](t, WithGoHeap())
	x := p.Get()
	x.resource = new(string)
	p.Put(x)
	require.True(t, x.resource == nil)
}

// A write beyond the end of a slot is found, or reaches the next slot and no records.
func likeOverflow[T any](t *testing.T, by int) {
	oneP(t)
	beyond := func(x *T) { *(*byte)(unsafe.Add(unsafe.Pointer(x), int(unsafe.Sizeof(*x))+by)) ^= 1 }
	if offHeap && !raceEnabled && !debugging { // where it has, see TestRedZoneOfGuardedSlot
		p := newStill[T](t, WithGuardSampling(1))
		x := guarded(t, p)
		require.NotZero(t, faultOf(func() { beyond(x) }))
		p.Put(x)
	}
	p := newStill[T](t)
	x, y := p.Get(), p.Get()
	if address(y) < address(x) {
		x, y = y, x
	}
	require.Equal(t, address(x)+uintptr(p.Stats().SlotSize), address(y), "neighbours")
	beyond(x)
	if debugging {
		requirePanic(t, ErrCorrupt, func() { p.Put(x) })
	} else {
		require.Equal(t, by, firstNonZero(view(y)))
		view(y)[by] = 0
		p.Put(x)
	}
	require.Equal(t, -1, firstNonZero(view(y)))
	require.Equal(t, 1, p.Live(), "x was put")
	p.Put(y)
	require.NoError(t, p.core.checkInvariants())
}

// A slot that is never put is counted, and those that know who got it name it.
func likeLeak(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithProfile(1)}} {
		p := newStill[[16]byte](t, opts...)
		x := p.Get()
		require.Equal(t, 1, p.Live())
		var stack string
		for _, l := range Leaks() {
			if l.ID == p.Stats().ID {
				require.Equal(t, address(x), l.Addr)
				stack = l.Stack()
			}
		}
		if debugging || opts != nil {
			require.Contains(t, stack, "likeLeak")
		}
		require.ErrorIs(t, p.Close(), ErrInUse)
		p.Put(x)
	}
}

// Slices without length have slots of their own, and nobody reads or writes there.
func likeZeroSizes(t *testing.T, b *Bytes) {
	x, y := b.Get(0), b.Get(0)
	require.NotEqual(t, address(&x[:1][0]), address(&y[:1][0]))
	isBounded := func(f func()) {
		defer func() {
			_, ok := recover().(runtime.Error)
			require.True(t, ok)
		}()
		f()
	}
	isBounded(func() { sink = int64(x[0]) })
	isBounded(func() { x[0] = 5 })
	for range times(512) {
		z := b.Get(64)
		require.NotEqual(t, address(&x[:1][0]), address(&z[0]))
		b.Put(z)
	}
	b.Put(x)
	b.Put(y)
}

// What grows may come from elsewhere, and may grow on another goroutine, as the first thing that
// this does.
func likeReallocInit(t *testing.T, b *Bytes) {
	s := append(b.Grow(nil, 12)[:0], "a slice"...)
	done := make(chan []byte)
	go func() { done <- b.Grow(s, 1024) }()
	s = <-done
	require.Equal(t, "a slice", string(s))
	b.Put(s)

	other := append(make([]byte, 0, 16), "of Go"...)
	s = b.Grow(other, 1024)
	require.Equal(t, "of Go", string(s))
	require.Equal(t, "of Go", string(other))
	b.Put(s)
}

// An array that grows by half, again and again, keeps its contents.
func likeArrayGrowth(t *testing.T, b *Bytes) {
	most := 4 << 20
	if testing.Short() {
		most = 512 << 10
	}
	ends := func(s []byte) [2][]byte { return [2][]byte{s[:1000], s[len(s)-1000:]} }
	var s []byte
	for size := 256 << 10; size <= most; size = size * 3 / 2 {
		before := len(s)
		s = b.Grow(s, size-before)[:size]
		if before > 0 {
			for i, end := range ends(s[:before]) {
				require.True(t, intact(end, before, i))
			}
		}
		for i, end := range ends(s) {
			fill(end, size, i)
		}
		require.Equal(t, 1, b.Stats().Live)
	}
	b.Put(s)
}
