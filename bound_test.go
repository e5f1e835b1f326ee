package pool

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A pool with WithMaxSlots has exactly so many slots, however many fit a page, and whatever else
// bounds it.
func TestMaxSlots(t *testing.T) {
	for _, n := range []int{1, 2, 7, 63, 64, 65, 1000, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			testMaxSlots[[64]byte](t, n)
			testMaxSlots[[3000]byte](t, n)
			testMaxSlots[[64]byte](t, n, WithGoHeap())
			testMaxSlots[[3000]byte](t, n, WithGoHeap())
			testMaxSlots[slotOf](t, n, WithGoHeap())
			testMaxSlots[[64]byte](t, n, WithGuardSampling(2))
			if n < 100 {
				testMaxSlots[[100_000]byte](t, n)
				testMaxSlots[[100_000]byte](t, n, WithGoHeap())
				testMaxSlots[[600_000]byte](t, n)
			}
			testMaxSlots[[64]byte](t, n, WithInit(func(x *[64]byte) { x[0] = 1 }))
			testMaxSlots[[64]byte](t, n, WithReset(func(x *[64]byte) { x[0] = 1 }))
		})
	}
}

// slotOf has pointers.
type slotOf struct {
	_ *int
	_ [200]byte
}

func testMaxSlots[T any](t *testing.T, n int, opts ...Option) {
	t.Helper()
	p := newStill[T](t, append(opts, WithMaxSlots(n))...)
	for range 3 {
		xs := fillUp(t, p)
		require.Len(t, xs, n)
		require.Equal(t, n, p.Live())
		require.NoError(t, p.core.checkInvariants())
		// One slot is enough for another Get, whichever it is.
		for k := range xs {
			p.Put(xs[k])
			x, err := p.TryGet()
			require.NoError(t, err)
			xs[k] = x
		}
		p.PutBatch(xs)
		require.Zero(t, p.Live())
		p.Trim()
		require.Zero(t, p.core.depot.slots)
	}
	assert.Equal(t, n, p.Stats().MaxSlots)
}

// With both bounds, the lower one counts, and the error names both.
func TestMaxSlotsAndLimit(t *testing.T) {
	exactSlots(t)
	for _, test := range []struct{ slots, limit, want int }{
		{100, 64 << 10, 100},
		{3000, 128 << 10, 2048},
		{1500, 128 << 10, 1500},
		{1, 1 << 20, 1},
	} {
		p := newStill[[64]byte](t, WithName("quotes"), WithMaxSlots(test.slots), WithLimit(int64(test.limit)))
		xs := fillUp(t, p)
		assert.Len(t, xs, test.want)
		_, err := p.TryGet()
		require.ErrorIs(t, err, ErrLimit)
		assert.Contains(t, err.Error(), fmt.Sprintf("WithMaxSlots allows no more than %d slots, and WithLimit no more than %d KiB", test.slots, test.limit>>10))
		p.PutBatch(xs)
	}
}

// A pool of few slots takes little memory.
func TestMaxSlotsTakeLittleMemory(t *testing.T) {
	exactSlots(t)
	needsOSMemory(t)
	ps := int64(runtime.GOMAXPROCS(0))
	one := newStill[[64]byte](t, WithMaxSlots(1)).Stats()
	assert.Equal(t, 1, one.SlotsPerPage)
	large := newStill[[100_000]byte](t, WithMaxSlots(2), WithLimit(4<<20)).Stats()
	assert.Equal(t, 2, large.SlotsPerPage)
	p := newStill[[100_000]byte](t, WithMaxSlots(2))
	xs := fillUp(t, p)
	assert.LessOrEqual(t, p.Stats().MappedBytes, min(ps, 2)*128<<10)
	p.PutBatch(xs)
	heap := newStill[[64]byte](t, WithMaxSlots(8), WithGoHeap())
	xs64 := fillUp(t, heap)
	assert.EqualValues(t, 8<<10, heap.Stats().MappedBytes)
	heap.PutBatch(xs64)
}

// Pages of the Go heap that WithMaxSlots makes smaller are still such that no two share a step of the
// table.
func TestBoundedPagesOnHeap(t *testing.T) {
	for _, scanned := range []bool{false, true} {
		for _, align := range []uintptr{1, 64} {
			for size := uintptr(8); size <= 100_000; size += size/8 + 8 {
				full := geometryOnHeap(strideOf(size, align), align, scanned)
				for _, n := range []uint32{1, 2, 3, 5, 8, 20, 64, full.slots} {
					g := full
					g.boundOnHeap(min(n, full.slots), align, scanned)
					array := max(g.slots, (g.pageSize-8)/g.stride) * g.stride
					require.LessOrEqual(t, g.pageSize, full.pageSize)
					require.LessOrEqual(t, g.slots*g.stride, g.pageSize)
					require.LessOrEqual(t, array, g.pageSize)
					if g.pageSize > 32<<10 {
						require.True(t, array >= 32<<10 || g.pageSize == full.pageSize, "%d slots of %d in %d", n, g.stride, g.pageSize)
					} else if g.pageSize < full.pageSize {
						require.Greater(t, array, g.pageSize/8*7)
					}
				}
			}
		}
	}
}

// While the program knows that a slot is free, TryGet does not fail, whichever P has it.
func TestMaxSlotsContended(t *testing.T) {
	for _, n := range []int{1, 3} {
		p := New[[64]byte](WithMaxSlots(n))
		permits := make(chan struct{}, n)
		var inUse, failed atomic.Int32
		var g group
		for range 64 {
			g.Go(func() {
				for range times(200) {
					permits <- struct{}{}
					x, err := p.TryGet()
					if err != nil || inUse.Add(1) > int32(n) {
						failed.Add(1)
					} else {
						x[0]++
						inUse.Add(-1)
						p.Put(x)
					}
					<-permits
				}
			})
		}
		g.Wait()
		assert.Zero(t, failed.Load())
		assert.Zero(t, p.Stats().FailedGets)
		require.NoError(t, p.Close())
	}
}

// WithWarmSlots keeps as many pages as the slots take.
func TestWarmSlots(t *testing.T) {
	exactSlots(t)
	for _, test := range []struct{ slots, pages, want int }{{1, 0, 1}, {1024, 0, 1}, {1025, 0, 2}, {1, 3, 3}, {5000, 3, 5}} {
		p := newStill[[64]byte](t, WithWarmSlots(test.slots), WithWarmPages(test.pages))
		assert.Equal(t, test.want, p.core.warmPages)
		xs := simBatch(p, 10*1024)
		p.PutBatch(xs)
		for range 3 * windowSole {
			p.core.tick()
		}
		assert.Equal(t, test.want, p.Stats().WarmPages)
	}
}

// Options that make no sense.
func TestBoundRefused(t *testing.T) {
	for _, opt := range []Option{WithMaxSlots(-1), WithWarmSlots(-1)} {
		assert.Panics(t, func() { New[[64]byte](opt) })
	}
	for _, opt := range []Option{WithMaxSlots(1), WithWarmSlots(1)} {
		assert.Panics(t, func() { NewBytes(opt) })
	}
}

// A Get at the pool's own bound takes no memory from other pools.
func TestMaxSlotsLeaveOthersAlone(t *testing.T) {
	noQuarantine(t)
	other, p := newStill[[72]byte](t), newStill[[64]byte](t, WithMaxSlots(1))
	other.Put(other.Get())
	require.Equal(t, 1, other.Stats().Pages)
	x := p.Get()
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrLimit)
	assert.Equal(t, 1, other.Stats().Pages)
	p.Put(x)
}
