package pool

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every length has the class that is the smallest one with room for it.
func TestClasses(t *testing.T) {
	class, size := classOf(MaxSlotSize)
	assert.EqualValues(t, classCount-1, class)
	assert.Equal(t, MaxSlotSize, size)
	class, size = classOf(0)
	assert.Zero(t, class)
	assert.Equal(t, 16, size)
	for class := range classCount {
		below := 0
		if class > 0 {
			below = sizeOfClass(class - 1)
		}
		most := sizeOfClass(class)
		if class < 8 {
			assert.Equal(t, below+16, most)
		} else {
			assert.LessOrEqual(t, most-(below+1), (below+1)/8, "an eighth of the length")
		}
		for _, n := range []int{below + 1, (below + 1 + most) / 2, most - 1, most} {
			got, size := classOf(uint(n))
			require.EqualValues(t, class, got, n)
			require.Equal(t, most, size, n)
		}
	}
	for _, n := range []int{MaxSlotSize + 1, 2 * MaxSlotSize, 1 << 30, math.MaxInt, -1, -math.MaxInt, math.MinInt} {
		class, _ := classOf(uint(n))
		assert.GreaterOrEqual(t, class, uint(classCount), n)
	}
}

// Every length up to a few doublings, one by one.
func TestClassesOfAllSizes(t *testing.T) {
	for n := range 8 << 10 {
		class, size := classOf(uint(n))
		require.Equal(t, sizeOfClass(int(class)), size)
		require.GreaterOrEqual(t, size, n)
		if n > 128 {
			require.LessOrEqual(t, (size-n)*8, n)
		}
		if class > 0 {
			require.Less(t, sizeOfClass(int(class)-1), n)
		}
	}
}

// bothBytes are the options for the two kinds of memory.
var bothBytes = map[string][]Option{"heap": nil, "off-heap": {WithOffHeap()}}

// eachBytes runs a test with a Bytes of each kind of memory, named bodies. The test has to leave it
// open, with no slot out.
func eachBytes(t *testing.T, test func(t *testing.T, b *Bytes), opts ...Option) {
	for name, more := range bothBytes {
		t.Run(name, func(t *testing.T) {
			b := NewBytes(slices.Concat(opts, more, []Option{WithName("bodies")})...)
			test(t, b)
			requireSound(t, b)
			assert.Zero(t, b.Stats().Live)
			require.NoError(t, b.Close())
			assert.Zero(t, b.family.used.Load())
		})
	}
}

// requireSound requires the invariants of all classes, and what they count together.
func requireSound(t testing.TB, b *Bytes) {
	t.Helper()
	for _, c := range b.cores() {
		require.NoError(t, c.checkInvariants())
	}
	pages := func() (bytes int64) {
		for _, c := range b.cores() {
			bytes += c.depot.bytes(c.depot.size())
		}
		return bytes
	}
	agree := func() bool { // if no tick releases some meanwhile
		used := b.family.used.Load()
		return pages() == used && b.family.used.Load() == used
	}
	if !agree() {
		gcUntil(t, agree)
	}
	if limit := b.family.limit; limit != 0 {
		require.LessOrEqual(t, b.family.used.Load(), limit)
	}
}

// stamp writes to all of a slice, up to its capacity, and stamped reports whether that is there.
func stamp(s []byte, n int)        { fill(s[:cap(s)], n, 0) }
func stamped(s []byte, n int) bool { return intact(s[:cap(s)], n, 0) }

func TestBytes(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		var held [][]byte
		total := 0
		for round := range 3 {
			for n := 0; n <= 40_000; n += n/7 + 1 {
				s := b.Get(n)
				require.Len(t, s, n)
				_, size := classOf(uint(n))
				require.Equal(t, size, cap(s))
				stamp(s, len(held))
				held = append(held, s)
				total += cap(s)
			}
			st := b.Stats()
			assert.Equal(t, len(held), st.Live)
			assert.EqualValues(t, total, st.LiveBytes)
			for k, s := range held {
				require.True(t, stamped(s, k))
				require.True(t, b.Owns(s))
				if k%2 == round%2 {
					b.Put(s)
				} else {
					require.True(t, b.TryPut(s))
				}
			}
			held, total = nil, 0
		}
	})
}

// Any part of a slot stands for it, as long as it has capacity.
func TestBytesPutPart(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		for _, n := range []int{16, 100, 144, 1000, 20_000} {
			for name, part := range map[string]func(s []byte) []byte{
				"the rest":            func(s []byte) []byte { return s[n/2:] },
				"the last byte":       func(s []byte) []byte { return s[:cap(s)][cap(s)-1:] },
				"the first byte":      func(s []byte) []byte { return s[:1] },
				"none of it":          func(s []byte) []byte { return s[:0] },
				"a byte alone":        func(s []byte) []byte { return s[3:4:4] },
				"as much as a class":  func(s []byte) []byte { return s[:5:16] },
				"a class, from later": func(s []byte) []byte { return s[len(s)-16 : len(s) : len(s)] },
			} {
				s := b.Get(n)
				other := b.Get(n)
				stamp(other, n)
				p := part(s)
				require.True(t, b.Owns(p), name)
				b.Put(p)
				require.Equal(t, 1, b.Stats().Live, "%s of %d bytes", name, n)
				requirePanic(t, ErrDoublePut, func() { b.Put(p) })
				requirePanic(t, ErrDoublePut, func() { b.TryPut(p) })
				requirePanic(t, ErrDoublePut, func() { b.Put(s) })
				require.True(t, stamped(other, n))
				b.Put(other)
			}
			s := b.Get(n)
			require.True(t, b.TryPut(s[1:2]))
		}
		s := b.Get(16)
		b.Put(s[16:]) // no capacity: there is nothing to find it by
		assert.True(t, b.TryPut(s[16:]))
		assert.Equal(t, 1, b.Stats().Live)
		b.Put(s)
	})
}

func TestBytesMisuse(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		others := NewBytes(append(bothBytes[name(b)], WithName("others"))...)
		pool := New[[100]byte](WithName("hundreds"))
		s, theirs, slot := b.Get(1000), others.Get(1000), pool.Get()
		kept := b.Get(1000)
		stamp(kept, 1)
		// bytesBehind returns n bytes that begin some bytes behind the slot's beginning.
		bytesBehind := func(off, n int) []byte {
			return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), off)), n)
		}
		stride := b.Stats().Classes[0].SlotSize
		for _, c := range []struct {
			name, text string
			s          []byte
			isForeign  bool // to TryPut too
		}{
			{"moved by append", "no pool has had memory there: append moved it: use Grow, or TryPut", append(kept[:1024:1024], 1), true},
			{"from make, of a class's capacity", "append moved it", make([]byte, 1024), true},
			{"of others", `the memory belongs to bytes "others" (class of 1024 bytes) now`, theirs, true},
			{"a part of others", `belongs to bytes "others"`, theirs[7:], true},
			{"a pool's", `the memory belongs to pool "hundreds" ([100]uint8) now`, slot[:], true},
			{"more than a slot", "with a capacity of 1025 bytes, it reaches beyond its slot", bytesBehind(0, 1025), true},
			{"from a slot into the next", "with a capacity of 1024 bytes, it reaches beyond its slot", bytesBehind(stride-1, 1024), true},
		} {
			err := caught(func() error { b.Put(c.s); return nil })
			require.ErrorIs(t, err, ErrForeignPut, c.name)
			assert.NotErrorIs(t, err, ErrDoublePut, c.name)
			assert.ErrorContains(t, err, `bytes "bodies": Put(0x`, c.name)
			assert.ErrorContains(t, err, c.text, c.name)
			if c.isForeign {
				assert.False(t, b.TryPut(c.s), c.name)
				assert.False(t, b.Owns(c.s), c.name)
			}
		}
		assert.ErrorContains(t, caught(func() error { pool.core.put(unsafe.Pointer(unsafe.SliceData(s))); return nil }),
			`the memory belongs to bytes "bodies" (class of 1024 bytes) now`)

		// Behind the last slot of a page, where 1152 bytes leave a rest.
		rest := b.Get(1152)
		pg := pageOf(addressOf(rest))
		if end := int(pg.end() - addressOf(rest)); name(b) == "off-heap" && offHeap { // nobody can have a pointer to that on the Go heap
			require.LessOrEqual(t, pg.end()-pg.begin(), uintptr(pg.spec.geo.pageSize)-16)
			tail := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(rest)), end)), 16)
			assert.ErrorContains(t, caught(func() error { b.Put(tail); return nil }), "beside the slots of a page")
			assert.False(t, b.TryPut(tail))
			assert.False(t, b.Owns(tail))
		}
		b.Put(rest)

		b.Put(s)
		for range 2 {
			done := make(chan error)
			go func() { done <- caught(func() error { b.Put(s); return nil }) }()
			err := <-done
			require.ErrorIs(t, err, ErrDoublePut)
			assert.NotErrorIs(t, err, ErrForeignPut)
			assert.ErrorContains(t, err, `bytes "bodies" (class of 1024 bytes): Put(0x`)
		}
		assert.True(t, b.Owns(s), "a slot, in use or not")
		assert.True(t, stamped(kept, 1), "not touched")
		b.Put(kept)
		assert.Zero(t, b.Stats().Live)

		// Its page has been released since.
		b.Trim()
		assert.Zero(t, b.Stats().MappedBytes)
		for _, part := range [][]byte{s, s[3:]} {
			for _, put := range []func(){func() { b.Put(part) }, func() { b.TryPut(part) }} {
				requirePanic(t, ErrDoublePut, put)
				requirePanic(t, ErrForeignPut, put)
			}
			assert.False(t, b.Owns(part))
		}
		others.Put(theirs)
		pool.Put(slot)
		require.NoError(t, others.Close())
		require.NoError(t, pool.Close())
	})
}

// name returns which of bothBytes b is.
func name(b *Bytes) string {
	if b.options.offHeap {
		return "off-heap"
	}
	return "heap"
}

// A slot in a page that the Go heap would take if nobody had the slice is found from any part.
func TestBytesPutPartOfWeakPage(t *testing.T) {
	oneP(t) // so that pages are filled one after the other
	b := NewBytes()
	var kept [][]byte
	per := 0
	for i := range 1000 {
		s := b.Get(1000)
		if per == 0 {
			per = b.Stats().Classes[0].SlotsPerPage
		}
		if i%per == 7 {
			stamp(s, i)
			kept = append(kept, s)
		}
	}
	require.Greater(t, len(kept), 5)
	isWeak := 0
	for k, s := range kept {
		if pageOf(addressOf(s)).first() == nil {
			isWeak++
		}
		require.True(t, stamped(s, k*per+7))
		require.True(t, b.Owns(s[5:]))
		live := b.Stats().Live
		switch k % 4 {
		case 0:
			b.Put(s)
		case 1:
			b.Put(s[5:])
		case 2:
			b.Put(s[:1:1])
		case 3:
			require.True(t, b.TryPut(s[10:20]))
		}
		require.Equal(t, live-1, b.Stats().Live)
		requirePanic(t, ErrDoublePut, func() { b.Put(s[5:]) })
	}
	assert.Positive(t, isWeak)
	requireSound(t, b)
}

func TestBytesBeyondTheLargestClass(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		s := b.Get(MaxSlotSize + 1)
		assert.Len(t, s, MaxSlotSize+1)
		assert.False(t, b.Owns(s))
		b.Put(s)
		b.Put(s) // it is the collector's
		assert.True(t, b.TryPut(s))
		assert.Empty(t, b.Stats().Classes)
		s, err := b.TryGet(2 * MaxSlotSize)
		require.NoError(t, err)
		assert.Len(t, s, 2*MaxSlotSize)
		assert.EqualValues(t, 2, b.Stats().LargeGets)
		b.Put(nil)
		assert.True(t, b.TryPut(nil))
		assert.True(t, b.TryPut([]byte{}))
		assert.False(t, b.Owns(nil))
		for _, get := range []func(){func() { b.Get(-1) }, func() { _, _ = b.TryGet(-1) }} {
			err := caught(func() error { get(); return nil })
			assert.ErrorContains(t, err, `bytes "bodies": Get(-1): the length of a slice is not negative`)
		}
		assert.ErrorContains(t, caught(func() error { b.Get(math.MinInt); return nil }), "not negative")
	})
}

func TestBytesGrow(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		var s []byte
		moves := 0
		for i := range 100_000 {
			before := cap(s)
			s = append(b.Grow(s, 1), canary(0, 0, i))
			if cap(s) != before {
				moves++
				require.GreaterOrEqual(t, cap(s), 2*before)
				require.Equal(t, 1, b.Stats().Live, "no slot is left behind")
			}
		}
		assert.True(t, intact(s, 0, 0))
		assert.LessOrEqual(t, moves, 14)
		assert.True(t, addressOf(b.Grow(s, 0)) == addressOf(s))
		assert.True(t, addressOf(b.Grow(s, cap(s)-len(s))) == addressOf(s), "there is room")
		b.Put(s)

		// What is no slot of b is copied, and let go. A part of a slot stands for it.
		mine := []byte("mine")
		s = b.Grow(mine[:4:4], 10)
		assert.Equal(t, "mine", string(s))
		assert.True(t, b.Owns(s))
		part := append(s, ", and more"...)[5:]
		s = b.Grow(part, 100)
		assert.Equal(t, "and more", string(s[1:]))
		assert.Equal(t, 1, b.Stats().Live)
		s = b.Grow(s, 5000)
		assert.Equal(t, "and more", string(s[1:]))
		assert.GreaterOrEqual(t, cap(s)-len(s), 5000)

		for _, c := range []struct {
			n    int
			text string
		}{
			{-1, `bytes "bodies": Grow by -1 bytes: the number is not negative`},
			{math.MinInt, "not negative"},
			{math.MaxInt, `bytes "bodies": Grow: a slice of 9 bytes has no room for`},
		} {
			assert.ErrorContains(t, caught(func() error { b.Grow(s, c.n); return nil }), c.text)
		}
		b.Put(s)

		// A slot that was put is no slot to grow, and the new one does not stay.
		s = b.Get(10)[:0]
		b.Put(s)
		requirePanic(t, ErrDoublePut, func() { b.Grow(s, 1000) })
		assert.Zero(t, b.Stats().Live)
	})
}

// From the largest class on, memory is the collector's, and still at least doubles at first.
func TestBytesGrowBeyondTheLargestClass(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		s := b.Get(MaxSlotSize/2 + 1)
		s[0], s[len(s)-1] = 1, 2
		s = b.Grow(s, MaxSlotSize/4)
		assert.Equal(t, MaxSlotSize, cap(s), "the largest, where none has twice the capacity")
		s = s[:MaxSlotSize]
		s[MaxSlotSize-1] = 3
		s = b.Grow(s, 1)
		assert.Greater(t, cap(s), MaxSlotSize+MaxSlotSize/8, "room for more")
		assert.Len(t, s, MaxSlotSize)
		assert.Equal(t, []byte{1, 2, 3}, []byte{s[0], s[MaxSlotSize/2], s[MaxSlotSize-1]})
		assert.Zero(t, b.Stats().Live, "the slot was put")
		assert.EqualValues(t, 1, b.Stats().LargeGets)
		assert.True(t, b.TryPut(s))
	})
}

// At a limit, Grow leaves everything as it is.
func TestBytesGrowAtLimit(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		s := append(b.Get(0), "hello"...)
		requirePanic(t, ErrLimit, func() { b.Grow(s, 200<<10) })
		assert.Equal(t, "hello", string(s))
		assert.Equal(t, 1, b.Stats().Live)
		b.Put(s)
	}, WithLimit(128<<10))
}

func TestBytesOptions(t *testing.T) {
	for _, c := range []struct {
		text string
		opts []Option
	}{
		{"bytes: WithInit is for pools", []Option{WithInit(func(*int) {})}},
		{"bytes: WithInit is for pools", []Option{WithInit[int](nil)}},
		{"bytes: WithReset is for pools", []Option{WithReset(func(*int) {})}},
		{"bytes: WithAlign is for pools: make a pool of arrays with it", []Option{WithAlign(64)}},
		{`bytes "b": WithGoHeap and WithOffHeap exclude each other`, []Option{WithGoHeap(), WithOffHeap(), WithName("b")}},
		{`bytes "b": WithLimit(-1): a page takes 8192 bytes; allow at least that`, []Option{WithLimit(-1), WithName("b")}},
		{"bytes: WithLimit(8191): a page takes 8192 bytes", []Option{WithLimit(8191), WithGoHeap()}},
		{"bytes: WithLimit(65535): a page takes 65536 bytes", []Option{WithLimit(65535), WithOffHeap()}},
		{"bytes: WithWarmPages(-1)", []Option{WithWarmPages(-1)}},
		{"bytes: WithProfile(-1)", []Option{WithProfile(-1)}},
		{"bytes: WithGuardSampling(-1)", []Option{WithGuardSampling(-1)}},
	} {
		err := caught(func() error { NewBytes(c.opts...); return nil })
		assert.ErrorContains(t, err, c.text)
	}
	err := caught(func() error { New[int](WithOffHeap()); return nil })
	assert.ErrorContains(t, err, "pool (int): WithOffHeap is for NewBytes")
	assert.NotPanics(t, func() { NewBytes(WithGoHeap()) })
	st := NewBytes(WithLimit(1<<20), WithName("b")).Stats()
	assert.Equal(t, BytesStats{Name: "b", LimitBytes: 1 << 20}, st)
}

// Each class keeps its own warm pages.
func TestBytesWarmPages(t *testing.T) {
	oneP(t)
	eachBytes(t, func(t *testing.T, b *Bytes) {
		for _, n := range []int{100, 1000} {
			var held [][]byte
			for range 3000 {
				held = append(held, b.Get(n))
			}
			for _, s := range held {
				b.Put(s)
			}
		}
		for _, c := range b.cores() {
			require.Greater(t, c.depot.size(), 2)
			c.releaseEmpty(c.warmPages)
		}
		for _, class := range b.Stats().Classes {
			assert.Equal(t, 2, class.Pages, class.Size)
		}
		b.Trim()
		assert.Zero(t, b.Stats().MappedBytes)
	}, WithWarmPages(2))
}

func TestBytesNotMade(t *testing.T) {
	copied := new(Bytes)
	reflect.ValueOf(copied).Elem().Set(reflect.ValueOf(NewBytes()).Elem())
	for _, c := range []struct {
		text string
		b    *Bytes
	}{
		{"pool: use of a Bytes that NewBytes did not make", nil},
		{"pool: use of a Bytes that NewBytes did not make", new(Bytes)},
		{"pool: use of a copy of a Bytes", copied},
	} {
		s := make([]byte, 16)
		for name, call := range map[string]func(){
			"Get":         func() { c.b.Get(1) },
			"Get a lot":   func() { c.b.Get(MaxSlotSize + 1) },
			"TryGet":      func() { _, _ = c.b.TryGet(1) },
			"Put":         func() { c.b.Put(s) },
			"Put a part":  func() { c.b.Put(s[1:]) },
			"TryPut":      func() { c.b.TryPut(s) },
			"Owns":        func() { c.b.Owns(s) },
			"Grow":        func() { c.b.Grow(s, 1) },
			"Stats":       func() { c.b.Stats() },
			"Trim":        func() { c.b.Trim() },
			"Close":       func() { _ = c.b.Close() },
			"put a slot":  func() { c.b.Put((*New[[100]byte]().Get())[:]) },
			"own a slot":  func() { c.b.Owns((*New[[100]byte]().Get())[:]) },
			"a Buffer of": func() { _, _ = (&Buffer{from: c.b}).Write(s) },
		} {
			if c.b == nil && name == "a Buffer of" {
				continue // that is the zero Buffer
			}
			assert.ErrorContains(t, caught(func() error { call(); return nil }), c.text, name)
		}
	}
}

func TestBytesClose(t *testing.T) {
	requireClosed := func(t *testing.T, b *Bytes, s []byte) {
		for name, call := range map[string]func(){
			"Get":              func() { b.Get(len(s)) },
			"Get, other class": func() { b.Get(3000) },
			"Get a lot":        func() { b.Get(MaxSlotSize + 1) },
			"Put":              func() { b.Put(s) },
			"Put a part":       func() { b.Put(s[1:]) },
			"Put, other class": func() { b.Put(make([]byte, 3072)) },
			"TryPut":           func() { b.TryPut(s) },
			"TryPut foreign":   func() { b.TryPut(make([]byte, 10)) },
			"Grow":             func() { b.Grow(s, 5000) },
			"Grow a lot":       func() { b.Grow(s, MaxSlotSize) },
			"Grow from none":   func() { b.Grow(nil, MaxSlotSize+1) },
			"Trim":             func() { b.Trim() },
		} {
			err := caught(func() error { call(); return nil })
			require.ErrorIs(t, err, ErrClosed, name)
			assert.ErrorContains(t, err, `bytes "bodies"`, name)
		}
		for _, n := range []int{10, len(s), 3000, MaxSlotSize + 1} {
			_, err := b.TryGet(n)
			assert.ErrorIs(t, err, ErrClosed)
		}
		assert.ErrorIs(t, b.Close(), ErrClosed)
		assert.False(t, b.Owns(s))
		b.Put(nil)
		b.Put(make([]byte, MaxSlotSize+1))
	}
	t.Run("heap", func(t *testing.T) {
		b := NewBytes(WithName("bodies"))
		s, s2 := b.Get(1000), b.Get(2000)
		b.Put(b.Get(500))
		stamp(s, 1)
		require.NoError(t, b.Close())
		assert.True(t, stamped(s, 1), "it stays as long as the program refers to it")
		st := b.Stats()
		assert.EqualValues(t, 2, st.Lost)
		assert.Zero(t, st.Live)
		assert.EqualValues(t, 3, st.Gets)
		assert.Zero(t, st.MappedBytes)
		assert.Zero(t, b.family.used.Load())
		requireClosed(t, b, s)
		requirePanic(t, ErrClosed, func() { b.Put(s2) })
	})
	t.Run("off-heap", func(t *testing.T) {
		b := NewBytes(WithName("bodies"), WithOffHeap())
		s, s2, s3 := b.Get(1000), b.Get(1000), b.Get(100)
		b.Put(b.Get(500))
		for range 2 {
			err := b.Close()
			require.ErrorIs(t, err, ErrInUse)
			assert.ErrorContains(t, err, `bytes "bodies": Close: slots are in use: 3 of its slots have not been Put:`)
			assert.ErrorContains(t, err, "\n1 of 112 bytes")
			assert.ErrorContains(t, err, "\n2 of 1024 bytes")
			b.Put(b.Get(500)) // nothing is closed
			b.Put(b.Get(9000))
		}
		b.Put(s)
		b.Put(s2)
		require.ErrorIs(t, b.Close(), ErrInUse)
		b.Put(s3)
		require.NoError(t, b.Close())
		assert.EqualValues(t, 8, b.Stats().Gets)
		requireClosed(t, b, s)
	})
	t.Run("never used", func(t *testing.T) {
		b := NewBytes(WithName("bodies"), WithOffHeap())
		require.NoError(t, b.Close())
		requireClosed(t, b, make([]byte, 1000))
	})
}

// A Get can come between the look at a class and its end. Then the class stays, and another Close
// ends it.
func TestBytesCloseWhileGet(t *testing.T) {
	b := NewBytes(WithName("bodies"), WithOffHeap())
	b.Put(b.Get(100))
	s := b.Get(1000)
	b.closed.Store(true) // as if the Get had come after checkUnused
	require.NoError(t, b.classes[6].Load().close())
	err := b.Close()
	require.ErrorIs(t, err, ErrInUse)
	requirePanic(t, ErrClosed, func() { b.Get(100) })
	requirePanic(t, ErrClosed, func() { b.Get(10) })
	b.Put(s)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), ErrClosed)
}

// Closes and Gets at the same time: each slice that a Get has returned can be put, or was lost.
func TestBytesCloseRaces(t *testing.T) {
	needsPreemption(t)
	for name, opts := range bothBytes {
		t.Run(name, func(t *testing.T) {
			for range times(20) {
				b := NewBytes(opts...)
				var wg group
				begin := make(chan struct{})
				var enough atomic.Bool
				for i := range 4 {
					wg.Go(func() {
						<-begin
						for n := i; !enough.Load(); n += 37 {
							s, err := b.TryGet(n % 3000)
							if err != nil {
								assert.ErrorIs(t, err, ErrClosed)
								return
							}
							if err := caught(func() error { b.Put(s); return nil }); err != nil {
								assert.ErrorIs(t, err, ErrClosed)
								assert.False(t, b.options.offHeap, "a slot that is out keeps its class open")
								return
							}
						}
					})
				}
				close(begin)
				for b.Stats().Gets < 100 {
					runtime.Gosched()
				}
				err := b.Close()
				for k := 0; err != nil; k++ {
					require.ErrorIs(t, err, ErrInUse)
					enough.Store(k > 20)
					runtime.Gosched()
					err = b.Close()
				}
				wg.Wait()
				assert.Zero(t, b.Stats().Live)
				assert.Zero(t, b.family.used.Load())
			}
		})
	}
}

func TestBytesStats(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		var held [][]byte
		for _, n := range []int{5000, 10, 10, 300} {
			held = append(held, b.Get(n))
		}
		b.Get(MaxSlotSize + 1)
		st := b.Stats()
		assert.Equal(t, "bodies", st.Name)
		assert.Equal(t, 4, st.Live)
		assert.EqualValues(t, 5120+16+16+320, st.LiveBytes)
		assert.EqualValues(t, 4, st.Gets)
		assert.EqualValues(t, 1, st.LargeGets)
		require.Len(t, st.Classes, 3)
		var sum BytesStats
		for i, class := range st.Classes {
			assert.Equal(t, []int{16, 320, 5120}[i], class.Size)
			assert.Equal(t, fmt.Sprintf("[%d]byte", class.Size), class.Type)
			assert.Equal(t, "bodies", class.Name)
			assert.Equal(t, name(b) == "off-heap" && offHeap, class.OffHeap)
			sum.MappedBytes += class.MappedBytes
			sum.CommittedBytes += class.CommittedBytes
			sum.SlowGets += class.SlowGets
		}
		assert.Equal(t, sum.MappedBytes, st.MappedBytes)
		assert.Equal(t, sum.CommittedBytes, st.CommittedBytes)
		assert.Equal(t, sum.SlowGets, st.SlowGets)
		assert.Positive(t, st.MappedBytes)
		assert.Positive(t, st.SlowGets)

		// The classes are among the pools of the process.
		found := 0
		for _, st := range ReadStats() {
			if st.Name == "bodies" && st.Type == "[320]byte" && st.Live == 1 {
				found++
			}
		}
		assert.Equal(t, 1, found)
		text := DescribeFault(addressOf(held[0]) + 7)
		assert.Contains(t, text, `bytes "bodies" (class of 5120 bytes)`)
		assert.Contains(t, text, "7 bytes into slot")
		for _, s := range held {
			b.Put(s)
		}
	})
}

func TestBytesProfile(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		var held [][]byte
		for range 3 {
			held = append(held, b.Get(1000))
		}
		held = append(held, b.Grow(nil, 1000))
		buf := NewBuffer(b)
		buf.WriteString("hello")
		var text strings.Builder
		require.NoError(t, WriteProfile(&text, 1))
		stride := b.Stats().Classes[1].SlotSize
		assert.Contains(t, text.String(), fmt.Sprintf("3 slots, %d bytes of bodies\n#", 3*stride))
		for _, block := range strings.Split(text.String(), "\n\n") {
			if _, lines, ok := strings.Cut(block, "of bodies\n"); ok {
				assert.Regexp(t, `^#\t0x[0-9a-f]+\tgithub.com/warmpage/pool\.TestBytesProfile`, lines, "the caller comes first")
			}
		}
		buf.Free()
		for _, s := range held {
			b.Put(s[:2][1:])
		}
		text.Reset()
		require.NoError(t, WriteProfile(&text, 1))
		assert.NotContains(t, text.String(), "bodies")
	}, WithProfile(1))
}

func TestBytesLeaks(t *testing.T) {
	if !debugging {
		t.Skip("only the debug build knows")
	}
	b := NewBytes(WithName("bodies"))
	s := b.Get(1000)
	found := 0
	for _, leak := range Leaks() {
		if leak.Addr == addressOf(s) {
			found++
			assert.Contains(t, leak.String(), `pool "bodies" ([1024]byte): slot 0x`)
			assert.Contains(t, leak.String(), "TestBytesLeaks")
		}
	}
	assert.Equal(t, 1, found)
	b.Put(s)
}

// The debug build finds what was written beyond a slice's capacity, and after its Put.
func TestBytesDebug(t *testing.T) {
	if !debugging {
		t.Skip("only the debug build looks")
	}
	for name, opts := range bothBytes {
		t.Run(name, func(t *testing.T) {
			b := NewBytes(opts...)
			s := b.Get(1000)
			behind := unsafe.Slice(unsafe.SliceData(s), 1025)
			behind[1024]++
			requirePanic(t, ErrCorrupt, func() { b.Put(s[5:]) })
			s = b.Get(1000)
			if asanEnabled {
				return
			}
			b.Put(s)
			s[10]++
			requirePanic(t, ErrCorrupt, func() { b.Trim() })
			require.NoError(t, b.Close())
		})
	}
}

// Guarded slots are slots like others, and count for the limit.
func TestBytesGuards(t *testing.T) {
	needsOSMemory(t)
	b := NewBytes(WithOffHeap(), WithName("bodies"), WithGuardSampling(1), WithLimit(16<<20))
	guardedGets := func() (n uint64) {
		for _, class := range b.Stats().Classes {
			n += class.GuardedGets
		}
		return n
	}
	for k, n := range []int{100, 1000, 20_000, 100, 1000, 20_000, 100} {
		var held [][]byte
		for range 5 {
			s, err := b.TryGet(n)
			require.NoError(t, err)
			stamp(s, k)
			held = append(held, s)
		}
		for i, s := range held {
			require.True(t, stamped(s, k))
			b.Put(s[i:])
			requirePanic(t, ErrDoublePut, func() { b.Put(s[i:]) })
		}
		requireSound(t, b)
	}
	assert.GreaterOrEqual(t, guardedGets(), uint64(20))
	assert.Zero(t, specOfClass(0, NewBytes(WithGuardSampling(1)).options).guardEvery, "not on the Go heap")
	b.Trim()
	assert.Zero(t, b.family.used.Load())
	require.NoError(t, b.Close())
}

// The guards of all classes take an eighth of the limit each at most, and all together no more than
// the limit.
func TestBytesGuardsAtLimit(t *testing.T) {
	needsOSMemory(t)
	b := NewBytes(WithOffHeap(), WithGuardSampling(1), WithLimit(1<<20))
	var held [][]byte
	for n := 100; ; n = n%1000 + 100 {
		s, err := b.TryGet(n)
		if err != nil {
			require.ErrorIs(t, err, ErrLimit)
			break
		}
		held = append(held, s)
		if len(held)%500 == 0 {
			requireSound(t, b)
		}
	}
	for _, class := range b.Stats().Classes {
		assert.LessOrEqual(t, class.GuardedGets, uint64(2), class.Size)
	}
	assert.LessOrEqual(t, b.Stats().MappedBytes, int64(1<<20))
	requireSound(t, b)
	for _, s := range held {
		b.Put(s)
	}
	require.NoError(t, b.Close())
	assert.Zero(t, b.family.used.Load())
}

// fillBytes gets slices of n bytes until the limit.
func fillBytes(t testing.TB, b *Bytes, n int) (held [][]byte) {
	for {
		s, err := b.TryGet(n)
		if err != nil {
			require.ErrorIs(t, err, ErrLimit)
			return held
		}
		held = append(held, s)
	}
}

// All of the limit is there for each class, one after the other.
func TestBytesLimitMovesMemory(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		for range 3 {
			for _, n := range []int{1000, 60_000, 100, 4000} {
				held := fillBytes(t, b, n)
				st := b.Stats()
				class, size := classOf(uint(n))
				pageSize := int64(specOfClass(int(class), b.options).geo.pageSize)
				perPage := int64(specOfClass(int(class), b.options).geo.slots)
				assert.Equal(t, (st.LimitBytes/pageSize)*perPage, int64(len(held)), size)
				assert.Equal(t, len(held), st.Live)
				assert.LessOrEqual(t, st.MappedBytes, st.LimitBytes)
				requireSound(t, b)
				for _, s := range held {
					b.Put(s)
				}
			}
		}
		_, err := b.TryGet(3 << 20)
		require.ErrorIs(t, err, ErrLimit)
		assert.ErrorContains(t, err, `bytes "bodies" (class of 3145728 bytes): limit reached: no slot is free, and WithLimit allows no more than 1024 KiB for all classes`)
		requirePanic(t, ErrLimit, func() { b.Get(3 << 20) })
		assert.GreaterOrEqual(t, b.Stats().FailedGets, uint64(2))
	}, WithLimit(1<<20))
}

// Memory comes from a class with some slots in use, as far as it has empty pages, from warm pages
// last.
func TestBytesLimitTakesEmptyPages(t *testing.T) {
	oneP(t)
	eachBytes(t, func(t *testing.T, b *Bytes) {
		held := fillBytes(t, b, 1000)
		stamp(held[0], 0)
		for _, s := range held[1:] {
			b.Put(s)
		}
		large := fillBytes(t, b, 2000)
		assert.Greater(t, len(large), 100)
		assert.True(t, stamped(held[0], 0))
		assert.LessOrEqual(t, b.Stats().MappedBytes, b.Stats().LimitBytes)
		// A Put of one class makes no room for another, unless a page becomes empty.
		_, err := b.TryGet(500)
		require.ErrorIs(t, err, ErrLimit)
		b.Put(large[0])
		large[0], err = b.TryGet(2000)
		require.NoError(t, err)
		b.Put(held[0])
		s, err := b.TryGet(500)
		require.NoError(t, err)
		b.Put(s)
		for _, s := range large {
			b.Put(s)
		}
	}, WithLimit(1<<20), WithWarmPages(100))
}

// The limit holds at any moment, whoever gets what, and no Get hangs or fails for long.
func TestBytesLimitContended(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	eachBytes(t, func(t *testing.T, b *Bytes) {
		var wg group
		var refused, served atomic.Int64
		for i := range 16 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				var held [][]byte
				for range times(400) {
					n := []int{50, 300, 1500, 5000}[rng.IntN(4)]
					for range rng.IntN(20) {
						s, err := b.TryGet(n)
						if err != nil {
							assert.ErrorIs(t, err, ErrLimit)
							refused.Add(1)
							break
						}
						served.Add(1)
						s[0], s[n-1] = byte(i), byte(i)
						held = append(held, s)
					}
					assert.LessOrEqual(t, b.family.used.Load(), b.family.limit)
					for _, s := range held {
						assert.Equal(t, []byte{byte(i), byte(i)}, []byte{s[0], s[len(s)-1]})
						b.Put(s)
					}
					held = held[:0]
				}
			})
		}
		wg.Wait()
		t.Log(served.Load(), "served,", refused.Load(), "refused")
		assert.Positive(t, served.Load())
		// All is there again, for any class.
		for _, n := range []int{5000, 50} {
			for _, s := range fillBytes(t, b, n) {
				b.Put(s)
			}
		}
		s, err := b.TryGet(1500)
		require.NoError(t, err)
		b.Put(s)
	}, WithLimit(640<<10))
}

// Gets that both find no class make one.
func TestBytesClassIsMadeOnce(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		first, err := b.makeClass(3)
		require.NoError(t, err)
		second, err := b.makeClass(3)
		require.NoError(t, err)
		assert.Same(t, first, second)
	})
}

// A Get that has waited for the search of another one tries again if there is room by now, although
// that search found nothing.
func TestBytesRoomAfterSearch(t *testing.T) {
	eachBytes(t, func(t *testing.T, b *Bytes) {
		b.Put(b.Get(100))
		c := b.cores()[0]
		b.family.limit = b.family.used.Load() + c.depot.bytes(1)
		b.kin.mu.Lock() // as during a search
		found := make(chan bool)
		go func() { found <- b.takeFromKin(c) }()
		waitForSearching(1)
		b.kin.begun.Add(1)
		b.kin.failed = true
		b.kin.mu.Unlock()
		assert.True(t, <-found)
	})
}

// Classes that take pages at the same time stay within the limit, and all that they take is counted.
func TestBytesLimitIsExact(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	f := family{limit: 100}
	var wg group
	var taken, tooMany atomic.Int32
	for range 4 {
		wg.Go(func() {
			for range times(200_000) {
				if !f.take(60) {
					runtime.Gosched()
					continue
				}
				if taken.Add(1) > 1 {
					tooMany.Add(1)
				}
				taken.Add(-1)
				f.giveBack(60)
			}
		})
	}
	wg.Wait()
	assert.Zero(t, tooMany.Load())
	assert.Zero(t, f.used.Load())
}

// A search of the classes goes on as long as pages of theirs are on their way.
func TestBytesSearchWaitsForPages(t *testing.T) {
	skipUnlessPinned(t)
	eachBytes(t, func(t *testing.T, b *Bytes) {
		s := b.Get(100)
		transit := &b.cores()[0].depot.transit
		transit.enter() // as if a tick had a page
		before := system.Load()
		defer system.Store(before)
		counting, searches := *before, 0
		counting.barrier = func() bool {
			if searches++; searches == 3 {
				transit.leave()
			}
			return before.barrier()
		}
		system.Store(&counting)
		assert.False(t, b.releaseEmpty(), "nothing is free")
		assert.Greater(t, searches, 3)
		b.Put(s)
	})
}

// Where the system refuses memory, what was counted for the limit is given back.
func TestBytesLimitAndFaults(t *testing.T) {
	needsOSMemory(t)
	newArena(t)
	refuse := true
	failing(t, func(call string) bool { return refuse && call == "commit" })
	b := NewBytes(WithOffHeap(), WithLimit(4<<20), WithGuardSampling(1))
	for _, n := range []int{10, 1000, 9000} {
		_, err := b.TryGet(n)
		require.ErrorIs(t, err, ErrOutOfMemory)
		assert.Zero(t, b.family.used.Load())
	}
	refuse = false
	for _, n := range []int{10, 1000, 9000} {
		b.Put(b.Get(n))
	}
	requireSound(t, b)
	require.NoError(t, b.Close())
	assert.Zero(t, b.family.used.Load())
}

// The limit of the process holds for a Bytes off the Go heap. Its classes take from each other there
// as well.
func TestBytesProcessLimit(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	newArena(t)
	defer SetProcessLimit(SetProcessLimit(1 << 20))
	b := NewBytes(WithOffHeap(), WithName("bodies"))
	for _, n := range []int{1000, 500, 1000} {
		held := fillBytes(t, b, n)
		class, _ := classOf(uint(n))
		assert.GreaterOrEqual(t, len(held), 15*int(specOfClass(int(class), b.options).geo.slots))
		for _, s := range held {
			b.Put(s)
		}
	}
	require.NoError(t, b.Close())
}

// Slices that the program forgets are collected with their page, counted, and make room.
func TestBytesLost(t *testing.T) {
	if debugging {
		t.Skip("the debug build keeps stacks by address, and is slow")
	}
	oneP(t)
	b := NewBytes(WithLimit(1 << 20))
	got := 0
	func() { got = len(fillBytes(t, b, 1000)) }()
	require.GreaterOrEqual(t, got, 900)
	gcUntil(t, func() bool { return b.Stats().Lost > 800 })
	st := b.Stats()
	assert.Equal(t, got, st.Live+int(st.Lost))
	assert.LessOrEqual(t, st.MappedBytes, int64(200<<10))
	for _, s := range fillBytes(t, b, 5000) { // another class
		b.Put(s)
	}
	requireSound(t, b)

	// A slice that append has left is no leak, either.
	func() {
		for range 1000 {
			s := append(b.Get(16)[:16], "more"...)
			assert.False(t, b.TryPut(s))
		}
	}()
	gcUntil(t, func() bool { return b.Stats().Classes[0].Lost > 400 })
	require.NoError(t, b.Close())
}

// A Bytes that nobody refers to goes, whatever is out, and what is out stays.
func TestBytesForgotten(t *testing.T) {
	var kept []byte
	var all []*heapPages
	id := uint64(0)
	gone := make(chan struct{})
	func() {
		b := NewBytes(WithLimit(16<<20), WithProfile(DefaultProfileRate))
		for n := range 1000 {
			kept = b.Get(n)
		}
		stamp(kept, 1)
		b.Put(b.Get(5))
		for _, c := range b.cores() {
			all = append(all, c.depot.onHeap)
			id = max(id, c.id)
		}
		runtime.AddCleanup(b, func(gone chan struct{}) { close(gone) }, gone)
	}()
	gcUntil(t, func() bool {
		for _, pages := range all {
			pages.mu.Lock()
			n := len(pages.pages)
			pages.mu.Unlock()
			if n != 0 {
				return false
			}
		}
		select {
		case <-gone:
		default:
			return false
		}
		return true
	})
	gcUntil(t, func() bool {
		pools.mu.Lock()
		defer pools.mu.Unlock()
		_, ok := pools.cores[id]
		return !ok
	})
	assert.True(t, stamped(kept, 1))
	assert.Len(t, kept, 999)
}

func TestBytesAllocs(t *testing.T) {
	if watchAll {
		t.Skip("this build allocates for each slot in use")
	}
	eachBytes(t, func(t *testing.T, b *Bytes) {
		held := make([][]byte, 16)
		for name, f := range map[string]func(){
			"Get and Put":    func() { b.Put(b.Get(1000)) },
			"TryGet, TryPut": func() { s, _ := b.TryGet(1000); b.TryPut(s[5:]) },
			"many": func() {
				for i := range held {
					held[i] = b.Get(i * 100)
				}
				for _, s := range held {
					b.Put(s)
				}
			},
			"Grow": func() {
				s := b.Get(0)
				for range 100 {
					s = b.Grow(s, 50)
					s = s[:len(s)+50]
				}
				b.Put(s)
			},
			"Owns": func() {
				s := b.Get(100)
				b.Owns(s)
				b.Put(s)
			},
		} {
			assert.Zero(t, testing.AllocsPerRun(1000, f), name)
		}
	})
}
