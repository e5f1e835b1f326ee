package pool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// What the tests of mimalloc try (test/test-api.c, test-api-fill.c and test-stress.c of
// microsoft/mimalloc), tried with pools and Bytes.
//
//	malloc-zero, calloc0                malloc-zero
//	malloc-nomem1, calloc-overflow      calloc-overflow
//	malloc-null                         malloc-null
//	malloc-large                        malloc-large
//	posix_memalign...                   posix_memalign
//	malloc-aligned..., memalign1,
//	zalloc-aligned-small1               malloc-aligned
//	malloc-aligned-at...                none: what is aligned is the start of a slot
//	malloc-aligned7, 8, 9 beyond 4096   posix_memalign: WithAlign refuses them
//	realloc-..., reallocarray-...       realloc
//	rezalloc..., zeroinit-re...         realloc: Grow keeps contents, and what it adds is not zeroed
//	umalloc1                            umalloc1
//	heap_destroy, heap_delete           heap_destroy, heap_delete
//	malloc_aligned11                    heap_contains_block
//	realpath, stl_allocator...          none: matters of C and C++
//	zeroinit-zalloc..., calloc...       zeroinit
//	uninit-...                          none: GetNoZero and Bytes.Get promise nothing
//	fill-freed-...                      TestLikeHardenedMalloc/read_after_free: what is left of a slot
//	test-stress.c                       stress
//	test-wrong.c                        TestLikeHardenedMalloc
func TestLikeMimalloc(t *testing.T) {
	for kind, opts := range map[string][]pool.Option{"Go heap": nil, "off the heap": {pool.WithOffHeap()}} {
		run := func(name string, f func(t *testing.T, b *pool.Bytes)) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := pool.NewBytes(opts...)
				f(t, b)
				assert.Zero(t, b.Stats().Live)
				assert.NoError(t, b.Close())
			})
		}
		run("malloc-zero", likeMallocZero)
		run("malloc-null", likeMallocNull)
		run("malloc-large", likeMallocLarge)
		run("calloc-overflow", likeCallocOverflow)
		run("realloc", likeRealloc)
		run("umalloc1", likeUmalloc)
		run("stress", func(t *testing.T, b *pool.Bytes) { likeStress(t, bytesSource(b)) })
	}
	t.Run("posix_memalign", likePosixMemalign)
	t.Run("malloc-aligned", likeMallocAligned)
	t.Run("zeroinit", likeZeroinit)
	t.Run("heap_destroy", likeHeapDestroy)
	t.Run("heap_delete", likeHeapDelete)
	t.Run("heap_contains_block", likeHeapContains)
	t.Run("stress/pools", func(t *testing.T) { likeStress(t, poolsSource()) })
}

// panicOf returns the error that f panics with, or nil.
func panicOf(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	f()
	return nil
}

// likeMallocZero: a slice without length has a slot of its own, of the smallest class.
func likeMallocZero(t *testing.T, b *pool.Bytes) {
	s := b.Get(0)
	assert.Empty(t, s)
	assert.Equal(t, 16, cap(s))
	assert.True(t, b.Owns(s))
	assert.Equal(t, 1, b.Stats().Live)
	b.Put(s)
}

func likeMallocNull(t *testing.T, b *pool.Bytes) {
	b.Put(nil)
	assert.True(t, b.TryPut(nil))
	assert.False(t, b.Owns(nil))
	p := pool.New[int64]()
	p.Put(nil)
	p.PutBatch([]*int64{nil, nil})
	assert.NoError(t, p.TryPut(nil))
	assert.False(t, p.Owns(nil))
	assert.NoError(t, p.Close())
}

// likeMallocLarge: beyond the largest class, slices are the garbage collector's.
func likeMallocLarge(t *testing.T, b *pool.Bytes) {
	if testing.Short() {
		t.Skip("the slice has 64 MiB")
	}
	const n = pool.MaxSlotSize + 8
	s := b.Get(n)
	require.Len(t, s, n)
	s[0], s[n-1] = 1, 1
	assert.False(t, b.Owns(s))
	assert.EqualValues(t, 1, b.Stats().LargeGets)
	b.Put(s)
}

// likeCallocOverflow: lengths that no memory has, or that wrap around, are refused, and nothing is
// lost.
func likeCallocOverflow(t *testing.T, b *pool.Bytes) {
	for _, n := range []int{-1, -8, math.MinInt} {
		assert.ErrorContains(t, panicOf(func() { b.Get(n) }), "the length of a slice is not negative")
		assert.ErrorContains(t, panicOf(func() { b.Grow(nil, n) }), "the number is not negative")
	}
	s := append(b.Get(100)[:0], "contents"...)
	assert.ErrorContains(t, panicOf(func() { b.Grow(s, math.MaxInt) }), "has no room for")
	if math.MaxInt > math.MaxInt32 { // otherwise there may be so much
		assert.ErrorAs(t, panicOf(func() { b.Get(math.MaxInt) }), new(runtime.Error), "as make does")
		assert.ErrorAs(t, panicOf(func() { b.Grow(s, math.MaxInt-100) }), new(runtime.Error))
	}
	assert.Equal(t, "contents", string(s))
	assert.Equal(t, 1, b.Stats().Live)
	b.Put(s)

	assert.ErrorAs(t, panicOf(func() { pool.New[[pool.MaxSlotSize + 1]byte]() }), new(*pool.TypeError))
	assert.ErrorAs(t, panicOf(func() { pool.New[[math.MaxInt32 / 16][16]byte]() }), new(*pool.TypeError))
	assert.ErrorAs(t, panicOf(func() { pool.New[[0]int64]() }), new(*pool.TypeError))
}

// likeRealloc: what is grown keeps its contents, and the old slot is free.
func likeRealloc(t *testing.T, b *pool.Bytes) {
	assert.Empty(t, b.Grow(nil, 0), "no memory")
	s := b.Grow(nil, 4)
	assert.GreaterOrEqual(t, cap(s), 4)
	s = b.Grow(s[:0], 0)
	assert.True(t, b.Owns(s), "it keeps its slot")
	for size := 1; size < 20_000; size = size*3 + 1 {
		for len(s) < size {
			s = append(b.Grow(s, 1), byte(len(s)))
		}
		s = b.Grow(s, 2*size)
		require.GreaterOrEqual(t, cap(s), 3*size)
		for i, x := range s {
			if x != byte(i) {
				t.Fatalf("byte %d of %d is %d", i, size, x)
			}
		}
		require.Equal(t, 1, b.Stats().Live)
	}
	b.Put(s)
}

// likeUmalloc: the sizes that the Bytes counts are those of its slices, from one byte on.
func likeUmalloc(t *testing.T, b *pool.Bytes) {
	most := 2 << 20
	if testing.Short() {
		most = 256 << 10
	}
	for size := 1; size <= most; size *= 2 {
		s := b.Get(size)
		require.GreaterOrEqual(t, cap(s), size)
		require.EqualValues(t, cap(s), b.Stats().LiveBytes)
		s[size-1] = 1
		s = b.Grow(s, 1024)
		require.GreaterOrEqual(t, cap(s), size+1024)
		require.EqualValues(t, cap(s), b.Stats().LiveBytes)
		require.EqualValues(t, 1, s[size-1])
		b.Put(s)
		require.Zero(t, b.Stats().LiveBytes)
		b.Trim()
	}
}

// likePosixMemalign: an alignment that cannot be is refused, and so is a pool that has no room for a
// slot.
func likePosixMemalign(t *testing.T) {
	for _, n := range []int{-8, 0, 3, 3 * 8, 4096 + 8, 8192, math.MinInt} {
		assert.ErrorContains(t, panicOf(func() { pool.New[[32]byte](pool.WithAlign(n)) }), "give a power of two from 1 to 4096")
	}
	assert.Error(t, panicOf(func() { pool.New[[1 << 20]byte](pool.WithAlign(64), pool.WithLimit(1<<20-1)) }))
	p := pool.New[[32]byte](pool.WithAlign(8))
	x := p.Get()
	assert.Zero(t, uintptr(unsafe.Pointer(x))%8)
	p.Put(x)
	assert.NoError(t, p.Close())
}

// alignedSlots gets some slots of a pool, and wants them to be aligned, zeroed, and not to overlap.
func alignedSlots[T any](t *testing.T) {
	var size T
	n := 10
	if unsafe.Sizeof(size) > 1<<16 {
		n = 2
	}
	for align := 1; align <= 4096; align *= 2 {
		for _, opts := range [][]pool.Option{nil, {pool.WithGoHeap()}} {
			p := pool.New[T](append(opts, pool.WithAlign(align))...)
			xs := make([]*T, n)
			for k := range xs {
				xs[k] = p.Get()
				require.Zero(t, uintptr(unsafe.Pointer(xs[k]))%uintptr(align), "%d bytes at a multiple of %d", unsafe.Sizeof(size), align)
				require.True(t, isZero(bytesOf(xs[k])))
				fillBytes(bytesOf(xs[k]), byte(k+1))
			}
			for k, x := range xs {
				require.True(t, holdsOnly(bytesOf(x), byte(k+1)))
				p.Put(x)
			}
			require.NoError(t, p.Close())
		}
	}
}

// bytesOf returns the bytes of a slot.
func bytesOf[T any](x *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafe.Sizeof(*x))
}

func fillBytes(b []byte, with byte) { copy(b, bytes.Repeat([]byte{with}, len(b))) }

func holdsOnly(b []byte, want byte) bool { return bytes.Count(b, []byte{want}) == len(b) }

func isZero(b []byte) bool { return holdsOnly(b, 0) }

func likeMallocAligned(t *testing.T) {
	alignedSlots[[1]byte](t)
	alignedSlots[[8]byte](t)
	alignedSlots[[43]byte](t)
	alignedSlots[[48]byte](t)
	alignedSlots[[256]byte](t)
	alignedSlots[[1024]byte](t)
	alignedSlots[[4097]byte](t)
	if !testing.Short() {
		alignedSlots[[256 << 10]byte](t)
	}
}

// zeroedSlots fills slots and puts them, and wants the next ones to be zero: by Get, TryGet and
// GetBatch, from memory that is warm, and from memory that went back to the system.
func zeroedSlots[T any](t *testing.T, opts ...pool.Option) {
	p := pool.New[T](opts...)
	dirty := func(xs ...*T) {
		for _, x := range xs {
			require.True(t, isZero(bytesOf(x)))
			fillBytes(bytesOf(x), 0xd0)
		}
		p.PutBatch(xs)
	}
	for range 4 {
		xs := make([]*T, 3)
		p.GetBatch(xs)
		dirty(xs...)
		dirty(p.Get(), p.Get())
		x, err := p.TryGet()
		require.NoError(t, err)
		dirty(x)
		p.Trim()
	}
	require.NoError(t, p.Close())
}

func likeZeroinit(t *testing.T) {
	for _, opts := range [][]pool.Option{nil, {pool.WithAlign(32)}, {pool.WithGoHeap()}} {
		zeroedSlots[[64]byte](t, opts...)
		zeroedSlots[[2048]byte](t, opts...)
		zeroedSlots[[10_000]byte](t, opts...)
		zeroedSlots[[100_000]byte](t, opts...)
	}
}

// likeHeapDestroy: a pool takes all slots back at once.
func likeHeapDestroy(t *testing.T) {
	p := pool.New[int64]()
	x, y := p.Get(), p.Get()
	*x, *y = 43, 43
	p.Clear()
	assert.Zero(t, p.Live())
	assert.NoError(t, p.Close())
}

// likeHeapDelete: slots outlive their pool on the Go heap, and a pool that is to close waits for the
// last of them.
func likeHeapDelete(t *testing.T) {
	p := pool.New[int64](pool.WithGoHeap())
	x, y := p.Get(), p.Get()
	*x, *y = 42, 43
	require.NoError(t, p.Close())
	runtime.GC()
	assert.EqualValues(t, 42, *x)
	assert.EqualValues(t, 43, *y)
	assert.ErrorIs(t, p.TryPut(x), pool.ErrClosed)

	p = pool.New[int64]()
	x, y = p.Get(), p.Get()
	require.ErrorIs(t, p.Close(), pool.ErrInUse)
	require.NoError(t, p.CloseWhenEmpty())
	*x = 42
	p.Put(x)
	p.Put(y)
	assert.ErrorIs(t, p.Close(), pool.ErrClosed)
}

// likeHeapContains: a pool knows its slots.
func likeHeapContains(t *testing.T) {
	p, other := pool.New[[4_194_298]byte](), pool.New[[4_194_298]byte]()
	x := p.GetNoZero()
	assert.True(t, p.Owns(x))
	assert.False(t, other.Owns(x))
	p.Put(x)
	p.Trim()
	assert.False(t, p.Owns(x))
	assert.NoError(t, p.Close())
	assert.NoError(t, other.Close())
}

// A source is what likeStress gets memory from.
type source struct {
	get     func(n int) []byte // n is a multiple of 8
	put     func([]byte)
	zeroed  bool // by get
	trim    func()
	visit   func() error // looks at all that is in use
	isEmpty func() error
}

func bytesSource(b *pool.Bytes) source {
	visit := func() error {
		if st := b.Stats(); st.Live < 0 || st.LiveBytes < 16*int64(st.Live) {
			return fmt.Errorf("%d slots of %d bytes", st.Live, st.LiveBytes)
		}
		return nil
	}
	isEmpty := func() error {
		if n := b.Stats().Live; n != 0 {
			return fmt.Errorf("%d slots are out", n)
		}
		return nil
	}
	return source{get: b.Get, put: b.Put, trim: func() { b.Trim() }, visit: visit, isEmpty: isEmpty}
}

// slotSource returns a source of slots of one pool.
func slotSource[T any](opts ...pool.Option) source {
	p := pool.New[T](opts...)
	get := func(n int) []byte { return bytesOf(p.Get())[:n] }
	put := func(b []byte) { p.Put((*T)(unsafe.Pointer(unsafe.SliceData(b)))) }
	visit := func() error {
		for r, x := range p.All() {
			if !p.Owns(x) || r.IsZero() {
				return errors.New("All found what is no slot")
			}
		}
		return nil
	}
	return source{get, put, true, func() { p.Trim() }, visit, p.Close}
}

// poolsSource returns a source with a pool for each of a few sizes.
func poolsSource() source {
	sizes := []int{64, 1024, 8192, 102_400}
	pools := []source{slotSource[[64]byte](), slotSource[[1024]byte](pool.WithGoHeap()), slotSource[[8192]byte](), slotSource[[102_400]byte]()}
	of := func(n int) source { return pools[slices.IndexFunc(sizes, func(size int) bool { return n <= size })] }
	each := func(f func(source) error) error {
		for _, p := range pools {
			if err := f(p); err != nil {
				return err
			}
		}
		return nil
	}
	return source{
		get:    func(n int) []byte { return of(n).get(n) },
		put:    func(b []byte) { of(cap(b)).put(b) },
		zeroed: true,
		trim: func() {
			for _, p := range pools {
				p.trim()
			}
		},
		visit:   func() error { return each(func(p source) error { return p.visit() }) },
		isEmpty: func() error { return each(func(p source) error { return p.isEmpty() }) },
	}
}

// likeStress starts and ends threads that allocate blocks of many sizes, keep some to the end, and
// swap others through an array that all share. What lies in the array survives the threads. Each
// block says what it holds, and is read when it is put.
func likeStress(t *testing.T, src source) {
	threads, scale, rounds := 8, 50, 4
	if testing.Short() {
		threads, scale, rounds = 4, 10, 3
	}
	s := &transfers{t: t, source: src, places: make([]atomic.Pointer[[]byte], 200)}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		var wg sync.WaitGroup
		for id := range threads {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if runtime.GOARCH != "wasm" { // it has one thread
					runtime.LockOSThread() // so that the thread ends with the goroutine
				}
				s.work(rand.New(rand.NewPCG(uint64(round), uint64(id))), scale*(id%8+1))
			}()
		}
		wg.Wait()
		for k := range s.places {
			if round == rounds-1 || rng.IntN(2) == 0 {
				s.free(s.places[k].Swap(nil))
			}
		}
		if round%2 == 0 {
			src.trim()
		}
	}
	assert.NoError(t, src.isEmpty())
}

// transfers are blocks that go from thread to thread.
type transfers struct {
	source
	t      *testing.T
	places []atomic.Pointer[[]byte]
}

const cookie = 0x5bd1_e995_1b87_3593

// alloc allocates a block of some words, now and then of a hundred times as many.
func (s *transfers) alloc(rng *rand.Rand, words int) *[]byte {
	if rng.IntN(100) == 0 {
		words *= 100
	}
	b := s.get(8 * words)
	if s.zeroed && !isZero(b) {
		s.t.Errorf("a block of %d bytes is not zero", len(b))
	}
	for k := range words {
		binary.NativeEndian.PutUint64(b[8*k:], uint64(words-k)^cookie)
	}
	return &b
}

// free reads a block and puts it.
func (s *transfers) free(b *[]byte) {
	if b == nil {
		return
	}
	words := len(*b) / 8
	for k := range words {
		if binary.NativeEndian.Uint64((*b)[8*k:])^cookie != uint64(words-k) {
			s.t.Errorf("word %d of a block of %d is overwritten", k, words)
			break
		}
	}
	s.put(*b)
}

// work is what one thread does.
func (s *transfers) work(rng *rand.Rand, blocks int) {
	var held, retained []*[]byte
	for retain := blocks / 2; blocks > 0 || retain > 0; {
		if retain == 0 || blocks > 0 && rng.IntN(2) == 0 {
			blocks--
			held = append(held, s.alloc(rng, 1<<rng.IntN(5)))
		} else {
			retain--
			retained = append(retained, s.alloc(rng, 1<<rng.IntN(7)))
		}
		if len(held) > 0 && rng.IntN(3) > 0 {
			k := rng.IntN(len(held))
			s.free(held[k])
			held[k] = nil
		}
		if len(held) > 0 && rng.IntN(4) == 0 {
			k := rng.IntN(len(held))
			held[k] = s.places[rng.IntN(len(s.places))].Swap(held[k])
		}
	}
	if err := s.visit(); err != nil {
		s.t.Error(err)
	}
	for _, b := range append(retained, held...) {
		s.free(b)
	}
}
