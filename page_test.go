package pool

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGeometry(t *testing.T) {
	for size := uintptr(1); size <= MaxSlotSize; size += 1 + size/7 {
		g := geometryOf(size)
		require.GreaterOrEqual(t, uintptr(g.stride), size)
		require.Less(t, uintptr(g.stride), size+minStride)
		require.Zero(t, g.stride%minStride)
		require.GreaterOrEqual(t, g.slots, uint32(8))
		require.Less(t, g.slots, uint32(parking))
		require.LessOrEqual(t, g.slots*g.stride, g.pageSize)
		require.Zero(t, int(g.pageSize)%granuleSize)
		require.Contains(t, []int{1, 8, 64}, g.granules())

		pg := &page{pageShared: pageShared{base: unsafe.Pointer(unsafe.StringData("base")), stride: g.stride, recip: g.recip},
			pageOwned: pageOwned{reserved: g.slots}}
		for range 200 {
			off := rand.Uint32N(g.pageSize + g.pageSize/2)
			i, ok := pg.indexOf(uintptr(pg.base) + uintptr(off))
			require.Equal(t, off%g.stride == 0 && off/g.stride < g.slots, ok, "stride %d, offset %d", g.stride, off)
			if ok {
				require.Equal(t, off/g.stride, i)
			}
		}
		_, ok := pg.indexOf(uintptr(pg.base) - uintptr(g.stride))
		require.False(t, ok)
	}
}

// A page does not take what a program has left in its memory for its own records.
func TestLinksOnOldMemory(t *testing.T) {
	oneP(t)
	newArena(t)
	old := New[[8192]byte]()
	for range 2 {
		xs := make([]*[8192]byte, 8)
		old.GetBatch(xs)
		for _, x := range xs {
			for k := range x {
				x[k] = 0xff - byte(1-k%2) // as a word, this says taken
			}
		}
		old.PutBatch(xs)
	}
	require.NoError(t, old.Close())
	p := newStill[[64]byte](t)
	x := p.Get()
	requirePanic(t, ErrDoublePut, func() { p.core.put(pointerAt(address(x) + 700*uintptr(p.core.geo.stride))) })
	p.Put(x)
	assert.Zero(t, p.Stats().Live)
	require.NoError(t, p.core.checkInvariants())
}

// A list ends where it leads out of its page. Two Puts of one slot that race can damage a list.
func TestListThatLeadsOutOfThePage(t *testing.T) {
	c, shards := sim(t, 64, 1)
	xs := simFill(t, c, shards[0], 5)
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	for _, word := range []uint16{none, taken, parking, watched, leaving, uint16(pg.reserved)} {
		require.True(t, pg.push(i))
		pg.useLocal()
		*pg.link(i) = word
		require.Equal(t, xs[0], uintptr(pg.popFree()))
		require.Nil(t, pg.popFree(), "after the word %#x", word)
	}
	pg.free = none
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, shards[0], xs)
}
