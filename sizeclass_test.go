package pool

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// alignFor returns what the addresses of slots are multiples of, for objects of size bytes and
// WithAlign(n).
func alignFor(size uintptr, n int) uintptr {
	natural := uintptr(1)
	for natural < 4096 && size%(2*natural) == 0 {
		natural *= 2
	}
	return max(natural, uintptr(n))
}

// Memory of the system, or what takes its place, is as aligned as slots may be.
func TestReserveIsAligned(t *testing.T) {
	assert.Zero(t, osPageSize%maxAlign)
	for range 3 {
		mem, err := osReserve(4 << 20)
		require.NoError(t, err)
		assert.Len(t, mem, 4<<20)
		assert.Zero(t, addressOf(mem)%maxAlign)
	}
}

// Every slot of a page is aligned to the largest power of two that divides its size, and to what
// WithAlign says, whichever Get returns it. Slots do not overlap.
func TestAlign(t *testing.T) {
	if bits.UintSize == 64 { // the tests before this one leave little address space of 32 bits
		oddArena(t)
	}
	for _, size := range []uintptr{1, 8, 12, 24, 40, 64, 96, 100, 500, 512, 1000, 1536, 4096, 4104, 5000, 8192,
		12288, 20000, 65536, 66560, 300000, 512<<10 - 1, 512 << 10, 512<<10 + 1, 3 << 20} {
		for _, n := range []int{1, 16, 64, 512, 4096} {
			t.Run(fmt.Sprintf("%d-%d", size, n), func(t *testing.T) { testAlign(t, size, n) })
		}
	}
}

// oddArena makes a new arena whose memory begins at an OS page with an odd number, so that nothing
// is more aligned than the system promises.
func oddArena(t *testing.T) {
	newArena(t)
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	odd := *before
	odd.reserve = func(size uintptr) ([]byte, error) {
		mem, err := before.reserve(size + 2*uintptr(osPageSize))
		if err != nil {
			return nil, err
		}
		skip := osPageSize - int(addressOf(mem))&osPageSize
		return mem[skip:][:size:size], nil
	}
	system.Store(&odd)
}

func testAlign(t *testing.T, size uintptr, n int) {
	oneP(t)
	c := new(core)
	initCore(c, size, "aligned", options{align: n, hasAlign: true, guardEvery: 1})
	c.stopClock()
	want := alignFor(size, n)
	assert.Zero(t, uintptr(c.geo.stride)%want, "the stride")
	var xs []unsafe.Pointer
	guards := 0
	for pages := 0; pages < 3; {
		x, _, err := c.tryGet()
		require.NoError(t, err)
		if pageOf(uintptr(x)).guard != nil {
			guards++
		}
		more := make([]unsafe.Pointer, min(batchSize, c.geo.slots))
		b, err := c.getBatch(more)
		require.NoError(t, err)
		xs = append(append(xs, c.get(), x), more[:b.n]...)
		c.depot.mu.Lock()
		pages = len(c.depot.pages)
		c.depot.mu.Unlock()
	}
	if offHeap && c.guards.most(guardGranules(c.geo.stride)) > 0 {
		assert.Positive(t, guards)
	}
	addrs := make([]uintptr, len(xs))
	for k, x := range xs {
		addrs[k] = uintptr(x)
		require.Zero(t, addrs[k]%want, "%#x", addrs[k])
	}
	slices.Sort(addrs)
	for k, addr := range addrs[1:] {
		require.GreaterOrEqual(t, addr-addrs[k], size+redZone)
	}
	require.NoError(t, c.checkInvariants())
	c.putBatch(xs)
	for k := range min(len(xs), 100) { // slots that were put
		xs[k] = c.get()
		require.Zero(t, uintptr(xs[k])%want)
	}
	c.putBatch(xs[:min(len(xs), 100)])
	require.NoError(t, c.close())
}

// A pool of the largest slots works as any other: one slot a page, aligned, found again by Put, counted,
// bounded, and given back.
func TestLargestSlots(t *testing.T) {
	t.Run("512K+1", testLarge[[512<<10 + 1]byte])
	t.Run("1M", testLarge[[1 << 20]byte])
	t.Run("5M", testLarge[[5<<20 - 7]byte])
	if bits.UintSize == 64 {
		t.Run("64M-1", testLarge[[MaxSlotSize - 1]byte])
		t.Run("64M", testLarge[[MaxSlotSize]byte])
	}
}

func testLarge[T any](t *testing.T) {
	oneP(t)
	newArena(t)
	var zero T
	size := unsafe.Sizeof(zero)
	pageSize := int64(geometryOf(strideOf(size, 1)).pageSize)
	off := newStill[T](t, WithLimit(3*pageSize))
	onHeap := newStill[T](t, WithGoHeap(), WithLimit(3*(int64(strideOf(size, 1))+8<<10)))
	for name, p := range map[string]*Pool[T]{"off the heap": off, "on the heap": onHeap} {
		var xs []*T
		for k := range 3 {
			x := p.GetNoZero()
			xs = append(xs, x)
			b := view(x)
			b[0], b[len(b)/2], b[len(b)-1] = byte(k+1), byte(k+2), byte(k+3)
			require.Zero(t, address(x)%alignFor(size, 1), name)
		}
		_, err := p.TryGet()
		require.ErrorIs(t, err, ErrLimit, name)
		st := p.Stats()
		require.Equal(t, 3, st.Live, name)
		require.Equal(t, 1, st.SlotsPerPage, name)
		require.Equal(t, 3, st.Pages, name)
		require.Less(t, st.MappedBytes, 3*int64(size)*9/8, name)
		r := p.Ref(xs[1])
		for k, x := range xs {
			b := view(x)
			require.Equal(t, []byte{byte(k + 1), byte(k + 2), byte(k + 3)}, []byte{b[0], b[len(b)/2], b[len(b)-1]}, name)
			require.ErrorIs(t, p.core.putOne("Put", unsafe.Pointer(&b[len(b)/2])), ErrForeignPut, name)
			require.Same(t, pageOf(address(x)), pageOf(address(&b[len(b)-1])), name)
		}
		require.True(t, xs[1] == p.Deref(r), name)
		for _, x := range xs {
			p.Put(x)
			requirePanic(t, ErrDoublePut, func() { p.Put(x) })
		}
		require.Nil(t, p.Deref(r), name)
		require.NoError(t, p.core.checkInvariants(), name)
		if purged := p.Trim(); offHeap && p == off {
			require.Equal(t, 3*pageSize, purged, name)
		}
		x := p.Get() // the same memory, zeroed
		require.Equal(t, -1, firstNonZero(view(x)), name)
		p.Put(x)
	}
}

func TestSmallSlots(t *testing.T) {
	assert.True(t, geometryOf(smallSlotMax).small)
	assert.False(t, geometryOf(smallSlotMax+minStride).small)
}
