package pool

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBatch(t *testing.T) {
	p := newStill[[64]byte](t)
	for _, n := range []int{0, 1, 63, 64, 65, 1000} {
		xs := make([]*[64]byte, n)
		p.GetBatch(xs)
		seen := make(map[*[64]byte]bool)
		for _, x := range xs {
			require.NotNil(t, x)
			require.Equal(t, [64]byte{}, *x)
			require.False(t, seen[x])
			seen[x] = true
			fill(x[:], n, 1)
		}
		assert.Equal(t, n, p.Stats().Live)
		before := append([]*[64]byte{}, xs...)
		p.PutBatch(append(xs, nil))
		assert.Equal(t, before, xs)
		assert.Zero(t, p.Stats().Live)
	}
}

func TestTryGetAfterClose(t *testing.T) {
	x, err := closed().TryGet()
	assert.Nil(t, x)
	assert.ErrorIs(t, err, ErrClosed)
}

// Get and Put make nothing on the Go heap.
func TestNoAllocs(t *testing.T) {
	if watchAll {
		t.Skip("this build keeps records of slots")
	}
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	xs := make([]*[64]byte, 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range xs {
			xs[i] = p.Get()
		}
		for _, x := range xs {
			p.Put(x)
		}
		p.GetBatch(xs)
		p.PutBatch(xs)
	}))
}

// Get and Put make nothing of a slot's size on the Go heap, however large slots are.
func TestLargeSlotsDoNotAllocate(t *testing.T) {
	if watchAll {
		t.Skip("this build keeps records of slots")
	}
	p := newStill[[8 << 20]byte](t)
	xs := make([]*[8 << 20]byte, 3)
	for name, pair := range map[string]func(){
		"Get":      func() { p.Put(p.Get()) },
		"TryGet":   func() { x, _ := p.TryGet(); p.Put(x) },
		"GetBatch": func() { p.GetBatch(xs); p.PutBatch(xs) },
	} {
		pair()
		assert.Zero(t, testing.AllocsPerRun(10, pair), name)
	}
}

// A Get that takes a page counts as slow once, so that slow Gets are a share of all Gets.
func TestSlowGetsWhileGrowing(t *testing.T) {
	testSlowGets[[64]byte](t)
	testSlowGets[[8192]byte](t)
	testSlowGets[[100_000]byte](t)
}

func testSlowGets[T any](t *testing.T) {
	oneP(t)
	p := newStill[T](t)
	g := p.core.geo
	xs := make([]*T, 3*g.slots)
	for i := range xs {
		xs[i] = p.Get()
	}
	carved := int(g.slots+g.carve-1) / int(g.carve)
	if g.carve == 1 {
		carved = 1 + bits.Len32(g.slots-1) // twice as many each time
	}
	assert.EqualValues(t, 3*carved, p.Stats().SlowGets, "one for each time that slots are carved")
	p.PutBatch(xs)
	shards := p.core.shards.Load().present()
	seize(shards)
	shards[0].flush(0)
	shards[0].giveUpAll()
	given := shards[0].takeOutbox()
	handBack(shards)
	p.core.settle(given)
	before := p.Stats().SlowGets
	x := p.Get()
	assert.EqualValues(t, 1, p.Stats().SlowGets-before, "a page is adopted")
	p.Put(x)
}

// At its limit, a pool uses every free slot of any P: in pages, parked, or on its way home.
func TestLimitFindsFreeSlots(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 64, 4, options{limit: 4 << 16})
	a, b := shards[0], shards[1]
	n := 4 * int(c.geo.slots)
	xs := simFill(t, c, a, n)
	for k, x := range xs {
		require.True(t, simPut(c, shards[k%4], x)) // three of four are parked on other shards, or sent home from there
	}
	require.NoError(t, c.checkInvariants())
	got := make(map[uintptr]bool)
	on(c, b, func() {
		for range n {
			x, _, err := c.tryGet()
			require.NoError(t, err, "slot %d of %d", len(got), n)
			require.False(t, got[uintptr(x)])
			got[uintptr(x)] = true
		}
		_, _, err := c.tryGet()
		require.ErrorIs(t, err, ErrLimit)
	})
	require.NoError(t, c.checkInvariants())
	assert.Zero(t, uint32(c.depot.transit.word.Load()), "pages are lost on their way")
}

// As many goroutines as the limit allows slots never get ErrLimit, wherever the free slots are.
func TestLimitContended(t *testing.T) {
	for _, procs := range []int{2, 8, 32} {
		t.Run("", func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			p := New[[1024]byte](WithLimit(1 << 16))
			workers := p.Stats().SlotsPerPage
			var wg group
			var got atomic.Int64
			for range workers {
				wg.Go(func() {
					for range 300 {
						x, err := p.TryGet()
						if !assert.NoError(t, err) {
							return
						}
						got.Add(1)
						x[0] = 1
						runtime.Gosched()
						p.Put(x)
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, 300*workers, got.Load())
			require.NoError(t, p.core.checkInvariants())
			assert.EqualValues(t, 1<<16, p.Stats().MappedBytes)
			require.NoError(t, p.Close())
		})
	}
}

// A pool that gets no memory uses the free slots of other Ps.
func TestOutOfMemoryFindsFreeSlots(t *testing.T) {
	skipUnlessPinned(t)
	newArena(t)
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 3*int(c.geo.slots))
	for _, x := range xs[:100] {
		require.True(t, simPut(c, shards[0], x))
	}
	failing(t, func(call string) bool { return true })
	on(c, shards[1], func() {
		for range 100 {
			_, _, err := c.tryGet()
			require.NoError(t, err)
		}
		// Committed steps have room for more pages.
		for {
			if _, _, err := c.tryGet(); err != nil {
				require.ErrorIs(t, err, ErrOutOfMemory)
				require.NotErrorIs(t, err, ErrLimit)
				return
			}
		}
	})
	require.NoError(t, c.checkInvariants())
}

// A Get that fails because the system refuses memory searches once, not a thousand times.
func TestFailingGetIsCheap(t *testing.T) {
	newArena(t)
	p := newStill[[64]byte](t)
	calls := 0
	failing(t, func(string) bool { calls++; return true })
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrOutOfMemory)
	assert.Positive(t, calls)
	assert.Less(t, calls, 100)
	assert.Zero(t, p.core.depot.transit.word.Load())
}
