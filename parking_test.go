package pool

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// putOn is Put on shard s, as a user does it. GOMAXPROCS is 1.
func putOn(c *core, s *shard, x uintptr) { on(c, s, func() { c.put(pointerAt(x)) }) }

// requireDoublePut requires that shard s refuses the slot at x, which is free, and parks nothing.
func requireDoublePut(t *testing.T, c *core, s *shard, x uintptr) {
	t.Helper()
	before := s.lot.n
	require.ErrorIs(t, caught(func() error { putOn(c, s, x); return nil }), ErrDoublePut)
	require.Equal(t, before, s.lot.n)
}

// A second Put of a parked slot is caught wherever in the lot the slot is, on whichever P the Put
// comes, and also if the slot was handed out from the lot and parked again in between.
func TestSecondPutOfParkedSlot(t *testing.T) {
	c, shards := sim(t, 64, 3)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 20)
	refused := func(x uintptr) {
		t.Helper()
		for _, s := range shards {
			before := s.lot.n
			require.False(t, simPut(c, s, x))
			requireDoublePut(t, c, s, x)
			require.Equal(t, before, s.lot.n)
		}
	}
	for k, x := range xs[:10] {
		require.True(t, simPut(c, b, x))
		for _, before := range xs[:k+1] {
			refused(before)
		}
		require.EqualValues(t, k+1, b.lot.n)
	}
	for k := range 10 { // slots that are handed out may be put again
		x := simGet(t, c, b)
		require.Equal(t, xs[9-k], x)
		putOn(c, b, x)
		require.EqualValues(t, 10-k, b.lot.n)
		refused(x)
		require.Equal(t, x, simGet(t, c, b))
	}
	for _, k := range []int{9, 8, 7, 6} { // the entries behind the parked slots are stale
		require.True(t, simPut(c, b, xs[k]))
	}
	for _, k := range []int{9, 8, 7, 6} {
		refused(xs[k])
	}
	require.NoError(t, c.checkInvariants())
	for _, x := range append(xs[:6], xs[10:]...) {
		require.True(t, simPut(c, b, x))
	}
	b.flush(0)
	c.settle(b.takeOutbox())
	require.NoError(t, c.checkInvariants())
	assert.Zero(t, c.stats().Live)
	seen := make(map[uintptr]bool)
	for _, x := range simFill(t, c, a, 20) {
		require.False(t, seen[x], "a slot is handed out twice")
		seen[x] = true
	}
}

// A second Put is caught even if the place where the lot parks next has a stale entry of the slot.
func TestSecondPutMeetsStaleEntry(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s := shards[1]
	xs := simFill(t, c, shards[0], 4)
	simDrain(t, c, s, xs[:3])
	for k := 2; k >= 0; k-- {
		require.Equal(t, xs[k], simGet(t, c, s))
	}
	simDrain(t, c, s, []uintptr{xs[2], xs[0]})
	require.Equal(t, xs[2], uintptr(s.lot.places[s.lot.n].slot), "the stale entry")
	require.False(t, simPut(c, s, xs[2]), "it is parked elsewhere in the lot")
	requireDoublePut(t, c, s, xs[2])
	require.EqualValues(t, 2, s.lot.n)
	require.NoError(t, c.checkInvariants())
	require.True(t, simPut(c, s, xs[1]))
	require.NoError(t, c.checkInvariants())
}

// A second Put is caught wherever the slot is by then: in another P's parking lot, on its way home
// from there, or in a page that others own.
func TestDoublePutAcrossShards(t *testing.T) {
	c, shards := sim(t, 64, 3)
	var xs []uintptr
	for range 1500 {
		xs = append(xs, simGet(t, c, shards[0]))
	}
	for k, x := range xs {
		require.True(t, simPut(c, shards[k%3], x))
		for _, s := range shards {
			require.False(t, simPut(c, s, x), "slot %d, shard %d", k, s.id)
		}
	}
	for _, s := range shards {
		s.flush(0)
		for _, x := range xs {
			require.False(t, simPut(c, s, x))
		}
	}
}

// The lot does not hand out a parked slot that another Put, at the same time, has also put on a
// list.
func TestParkedAndListed(t *testing.T) {
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 3)
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	for _, get := range []func() uintptr{
		func() uintptr { return simGet(t, c, shards[1]) },
		func() (x uintptr) {
			on(c, shards[1], func() { x = uintptr(c.get()) })
			return x
		},
	} {
		require.True(t, simPut(c, shards[1], xs[0]))
		*pg.link(i) = none // as the owner's push does
		require.NotEqual(t, xs[0], get())
		require.Zero(t, shards[1].lot.n)
		*pg.link(i) = taken
	}
}

// A free list that a racing Put has cut short, by the mark of a parked slot in place of a link, ends
// before that slot: it may be handed out from where it is parked.
func TestListCutShort(t *testing.T) {
	if debugging {
		t.Skip("the debug build finds the damage itself")
	}
	c, shards := sim(t, 64, 2)
	s := shards[0]
	xs := simFill(t, c, s, int(c.spec.geo.slots)) // a whole page
	pg := pageOf(xs[0])
	for _, i := range []uint32{1, 2, 3} {
		require.True(t, pg.push(i, taken))
	}
	*pg.link(3) = parking // as a Put on another P does that has found the slot in use
	seen := make(map[uintptr]bool)
	for range 3 {
		on(c, s, func() { seen[uintptr(c.get())] = true })
	}
	assert.Len(t, seen, 3)
	assert.False(t, seen[xs[1]] || seen[xs[2]] || seen[xs[3]])
}

// A shard that flushes its lot leaves the slots of other pools alone. Two Puts of one slot that
// race can leave the slot in a lot when its page is released. Another pool with the same memory can
// then park it as well.
func TestFlushLeavesOtherPoolsAlone(t *testing.T) {
	c, shards := sim(t, 64, 2)
	x := simGet(t, c, shards[0])
	require.True(t, simPut(c, shards[1], x))
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	*pg.link(i) = taken // as the other Put saw it
	require.True(t, pg.push(i, taken))
	shards[0].discardEmpty(shards[0].discard)
	c.settle(shards[0].takeOutbox())
	require.Equal(t, noPage, pageOf(x), "released")

	other, theirs := sim(t, 64, 2)
	require.Equal(t, x, simGet(t, other, theirs[0]), "the arena uses the memory again")
	require.True(t, simPut(other, theirs[1], x))
	shards[1].flush(0)
	c.settle(shards[1].takeOutbox())
	require.NoError(t, other.checkInvariants())
	require.Equal(t, x, simGet(t, other, theirs[1]))
	require.NoError(t, c.checkInvariants())
}

// A shard forgets the slots that it has handed out when their page is released, because their
// addresses may be another pool's slots from then on.
func TestForget(t *testing.T) {
	if !pinned {
		t.Skip("simulated shards are not locked")
	}
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	n := int(c.geo.slots)
	first := simFill(t, c, a, n)
	xs := simFill(t, c, a, n) // the current page, full
	for _, x := range first[:a.lot.room] {
		require.True(t, simPut(c, a, x)) // makes the first page its own again
	}
	for a.lot.n != 0 {
		simGet(t, c, a)
	}
	require.True(t, simPut(c, a, xs[0]))
	require.Equal(t, xs[0], simGet(t, c, a))
	simGet(t, c, a) // turns to the first page
	for _, x := range xs {
		require.True(t, simPut(c, b, x))
	}
	b.flush(0)
	for range windowSole + 1 {
		simTick(c, b, false)
	}
	require.Equal(t, noPage, pageOf(xs[0]), "released")
	require.Equal(t, xs[0], uintptr(a.lot.places[0].slot), "the stale entry")
	require.NotZero(t, a.signals()&signalForget)

	other, theirs := sim(t, 64, 1)
	again := simFill(t, other, theirs[0], 1)
	require.Equal(t, xs[0], again[0], "the arena uses the memory again")
	for range 2 { // the first Put answers what is signalled, and so takes another path
		on(c, a, func() {
			defer func() { require.ErrorIs(t, recover().(error), ErrForeignPut) }()
			c.put(pointerAt(xs[0]))
		})
	}
	require.NoError(t, other.checkInvariants())
}

// Each tick sends parked slots home. The first Put that parks a slot after a tick arms the clock,
// even if the lot had handed out the same slot before.
func TestParkingArmsTheTimer(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s := shards[0]
	xs := simFill(t, c, s, 10)
	for range 3 {
		require.True(t, s.put(pageOf(xs[0]), 0, pointerAt(xs[0]), taken))
		assert.True(t, s.takeOutbox().arm)
		assert.Equal(t, uint32(1), s.lot.n)
		require.Equal(t, xs[0], simGet(t, c, s))
		putOn(c, s, xs[0]) // it was handed out last
		require.Equal(t, xs[0], simGet(t, c, s))
		simTick(c, s, false)
		assert.Zero(t, s.lot.n)
	}
	simDrain(t, c, s, xs)
}

// A shard does not hand out the slots of other pools. Two Puts of one slot that race can leave the
// slot in a lot when its page is released. Another pool with the same memory can then park it as well.
func TestGetLeavesOtherPoolsAlone(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 64, 2)
	x := simGet(t, c, shards[0])
	require.True(t, simPut(c, shards[1], x))
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	*pg.link(i) = taken // as the other Put saw it
	require.True(t, pg.push(i, taken))
	shards[0].discardEmpty(shards[0].discard)
	c.settle(shards[0].takeOutbox())
	require.Equal(t, noPage, pageOf(x), "released")

	other, theirs := sim(t, 64, 2)
	require.Equal(t, x, simGet(t, other, theirs[0]), "the arena uses the memory again")
	require.True(t, simPut(other, theirs[1], x))
	on(c, shards[1], func() {
		y := c.get()
		require.NotEqual(t, x, uintptr(y), "another pool's slot")
		c.put(y)
	})
	require.NoError(t, other.checkInvariants())
}

// A lot takes no more than 64 MiB from other shards, however large slots are, and two slots at least.
func TestLotOfLargeSlots(t *testing.T) {
	for _, test := range []struct {
		size uintptr
		room int
	}{{64, lotSize - 1}, {512 << 10, lotSize - 1}, {2 << 20, 32}, {40 << 20, 2}} {
		if test.size*8 > 64<<20 && bits.UintSize == 32 {
			continue // too much for its address space
		}
		c, shards := sim(t, test.size, 1)
		s := shards[0]
		xs := simFill(t, c, s, test.room+1)
		simDrain(t, c, s, xs)
		if redZone == 0 {
			assert.EqualValues(t, test.room, s.lot.n, "%d bytes", test.size)
		}
		assert.LessOrEqual(t, s.lot.n*c.geo.stride, uint32(128<<20))
		s.flush(0)
		c.settle(s.takeOutbox())
		require.NoError(t, c.checkInvariants())
	}
}

// A stale entry may lead to a slot that another pool has by now, and has parked.
func TestParkedElsewhere(t *testing.T) {
	_, shards := sim(t, 64, 1)
	other, others := sim(t, 64, 1)
	x := simGet(t, other, others[0])
	require.True(t, simPut(other, others[0], x))
	pg, i, ok := other.spec.find(x)
	require.True(t, ok)
	entry := parkedSlot{pg.slot(i), pg.link(i)}
	_, _, ok = others[0].lot.home(entry)
	require.True(t, ok)
	_, _, ok = shards[0].lot.home(entry)
	assert.False(t, ok)
}
