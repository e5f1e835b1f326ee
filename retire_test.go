package pool

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/internal/hook"
)

// sim makes a core with n shards that only the test uses: which shard does what
// is then up to the test and not to the scheduler, and time stands still.
func sim(t testing.TB, size uintptr, n int, opts ...options) (*core, []*shard) {
	oneP(t) // see on
	c := new(core)
	initCore(c, size, "sim", append(opts, options{})[0])
	c.stopClock()
	shards := make([]*shard, n)
	for i := range shards {
		shards[i] = newShard(&c.spec, &c.depot, i)
	}
	c.shards.Store(&shardTable{core: c, shards: shards})
	t.Cleanup(func() { c.closeAll(t) })
	return c, shards
}

// initCore makes c the core of a pool for objects of size bytes.
func initCore(c *core, size uintptr, name string, o options) {
	sp, err := newSpec(size, name, o)
	if err != nil {
		panic(err)
	}
	c.init(sp)
}

// closeAll gives the memory back, live slots or not.
func (c *core) closeAll(t testing.TB) {
	for _, s := range c.shards.Load().present() {
		s.flush(0)
		c.settle(s.takeOutbox())
	}
	for _, pg := range c.depot.pages {
		pg.used = pg.remoteState().count()
		clear(pg.links)
	}
	if !c.depot.closed.Load() {
		require.NoError(t, c.close())
	}
}

// simGet is Get on shard s.
func simGet(t testing.TB, c *core, s *shard) uintptr {
	for {
		if x, _ := s.get(); x != nil {
			c.settle(s.takeOutbox())
			forgetPast(c, uintptr(x))
			return uintptr(x)
		}
		pg := c.depot.adopt()
		if pg == nil {
			var err error
			pg, err = c.depot.fresh()
			require.NoError(t, err)
		}
		s.attach(pg)
		c.settle(s.takeOutbox())
	}
}

// unwatch makes a slot in use one that no build watches.
func unwatch(x uintptr) {
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	if *pg.link(i) == watched {
		*pg.link(i) = taken
	}
}

// simPut is Put on shard s. It reports false on a double Put.
func simPut(c *core, s *shard, x uintptr) bool {
	pg := pageOf(x)
	i, ok := pg.indexOf(x)
	ok = ok && pg.spec == &c.spec
	if ok {
		unwatch(x)
	}
	ok = ok && s.put(pg, i)
	c.settle(s.takeOutbox())
	return ok
}

// on makes s the shard that the caller is on while f uses the pool as a user does:
// s takes the place of the one that belongs to the only P, or, under locks, of the
// one that the caller's stack falls on.
func on(c *core, s *shard, f func()) {
	here := c.own()
	here.unpin()
	table := c.shards.Load()
	shards := slices.Clone(table.shards)
	j, k := slices.Index(shards, here), slices.Index(shards, s)
	shards[j], shards[k] = s, here
	c.shards.Store(&shardTable{core: c, shards: shards})
	defer c.shards.Store(table)
	f()
}

// simTick is one heartbeat of shard s.
func simTick(c *core, s *shard, idle bool) {
	s.tick(idle)
	c.settle(s.takeOutbox())
}

// simFill gets n slots on shard s.
func simFill(t testing.TB, c *core, s *shard, n int) []uintptr {
	xs := make([]uintptr, n)
	for i := range xs {
		xs[i] = simGet(t, c, s)
	}
	return xs
}

func simDrain(t testing.TB, c *core, s *shard, xs []uintptr) {
	for _, x := range xs {
		require.True(t, simPut(c, s, x))
	}
}

func TestRetirement(t *testing.T) {
	const small, larger = 64, 9000
	tests := []struct {
		name  string
		size  uintptr
		base  bool
		pages int // emptied at once
		ticks int // after which the last of them is released; 0: at once
		kept  int // pages kept until then
	}{
		{"sole small page", small, false, 1, windowSole, 1},
		{"sole larger page", larger, false, 1, windowSoleLarge, 1},
		{"small-front and the others", small, false, 3, windowSeveral, 3},
		{"larger class, several", larger, false, 3, windowSoleLarge, 1},
		{"base, sole small page", small, true, 1, windowSole, 1},
		{"base, several", small, true, 3, windowSole, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.base {
				hook.Promotion.Store(hook.None)
			}
			c, shards := sim(t, test.size, 1)
			hook.Promotion.Store(hook.Reset)
			s := shards[0]
			xs := simFill(t, c, s, test.pages*int(c.geo.slots))
			simDrain(t, c, s, xs)
			s.flush(0)
			c.settle(s.takeOutbox())
			require.NoError(t, c.checkInvariants())
			assert.Len(t, c.depot.pages, test.kept)
			assert.Equal(t, test.kept, c.stats().WarmPages)
			assert.Equal(t, uint64(test.pages-test.kept), s.counts.releases)
			for tick := range test.ticks {
				assert.NotEmpty(t, c.depot.pages, "released before tick %d", tick+1)
				simTick(c, s, false)
			}
			assert.Empty(t, c.depot.pages)
			assert.Equal(t, uint64(test.pages), s.counts.releases)
		})
	}
}

// A page that empties is promoted: its slots come in address order, however they
// were put, and without a slow Get.
func TestPromotion(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	n := int(c.geo.slots)
	xs := simFill(t, c, s, n)
	for _, order := range orders(n) {
		for _, i := range order {
			require.True(t, simPut(c, s, xs[i]))
		}
		promotions, slow := promotionsOf(s), s.counts.slowGets
		require.Positive(t, promotions)
		again := simFill(t, c, s, n)
		assert.Equal(t, slow, s.counts.slowGets)
		for i := 1; i < n; i++ {
			require.Equal(t, again[i-1]+uintptr(c.geo.stride), again[i], "address order")
		}
		xs = again
	}
	simDrain(t, c, s, xs)
}

// A kept page that others emptied again is promoted again by the heartbeat.
func TestRepromotion(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s, other := shards[0], shards[1]
	simDrain(t, c, s, simFill(t, c, s, 100))
	require.Equal(t, 1, c.stats().WarmPages)
	xs := simFill(t, c, s, 100)
	simDrain(t, c, other, xs)
	other.flush(0)
	assert.Equal(t, uint64(100), other.counts.remotePuts)
	assert.Equal(t, 0, c.stats().WarmPages, "nobody has collected yet")
	promotions := promotionsOf(s)
	simTick(c, s, false)
	assert.Equal(t, promotions+1, promotionsOf(s))
	assert.Equal(t, 1, c.stats().WarmPages)
	slow := s.counts.slowGets
	again := simFill(t, c, s, 100)
	assert.Equal(t, slow, s.counts.slowGets)
	assert.Equal(t, xs, again)
	simDrain(t, c, s, again)
}

// A retired page that is used again leaves retirement: at once when it was taken
// from the list, at the next tick when it was current all along.
func TestRevival(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	simDrain(t, c, s, simFill(t, c, s, 10))
	assert.Equal(t, uint64(1), s.counts.retirements)
	x := simGet(t, c, s)
	assert.Zero(t, s.counts.revivals)
	for range 3 * windowSole {
		simTick(c, s, false)
	}
	assert.Equal(t, uint64(1), s.counts.revivals)
	assert.Len(t, c.depot.pages, 1)
	require.True(t, simPut(c, s, x))

	xs := simFill(t, c, s, 3*int(c.geo.slots))
	simDrain(t, c, s, xs)
	s.flush(0)
	require.Equal(t, 3, c.stats().WarmPages)
	revivals := s.counts.revivals
	xs = simFill(t, c, s, 3*int(c.geo.slots))
	assert.Equal(t, revivals+3, s.counts.revivals, "two from the list, one current")
	simDrain(t, c, s, xs)
}

// The window starts anew each time a page empties.
func TestWindowStartsAnew(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	for range 5 * windowSole {
		require.True(t, simPut(c, s, simGet(t, c, s)))
		simTick(c, s, false)
		require.Len(t, c.depot.pages, 1)
	}
	for tick := range windowSole {
		require.Len(t, c.depot.pages, 1, "tick %d", tick)
		simTick(c, s, false)
	}
	assert.Empty(t, c.depot.pages)
}

// Tick counts are compared across their wrap.
func TestWindowAcrossWrap(t *testing.T) {
	for before := range uint32(windowSole) {
		c, shards := sim(t, 64, 1)
		s := shards[0]
		s.now = -before
		simDrain(t, c, s, simFill(t, c, s, 10))
		for range windowSole - 1 {
			simTick(c, s, false)
		}
		require.Len(t, c.depot.pages, 1)
		simTick(c, s, false)
		require.Empty(t, c.depot.pages)
	}
}

// A shard that fills and empties many pages keeps as many, also when ticks come
// between its Gets and its Puts, and also after it has been without for a while.
func TestBudgetFollowsUse(t *testing.T) {
	const pages = 10 * budgetMin
	c, shards := sim(t, 64, 1)
	s := shards[0]
	n := pages * int(c.geo.slots)
	simDrain(t, c, s, simFill(t, c, s, n))
	for range 10 {
		xs := simFill(t, c, s, n)
		simTick(c, s, false)
		simTick(c, s, false)
		simDrain(t, c, s, xs)
		simTick(c, s, false)
	}
	slow, releases := s.counts.slowGets, s.counts.releases
	for range 10 {
		xs := simFill(t, c, s, n)
		simTick(c, s, false)
		simDrain(t, c, s, xs)
		for range windowSeveral / 2 {
			simTick(c, s, false)
		}
	}
	assert.Equal(t, slow, s.counts.slowGets)
	assert.Equal(t, releases, s.counts.releases)
	assert.Empty(t, c.depot.spare)
	for range 10 * windowSole {
		simTick(c, s, false)
	}
	assert.Equal(t, budgetMin, s.budget)
	assert.Empty(t, c.depot.pages)
}

// Pages nobody owns are full, and the shard that frees into one claims it.
func TestFullPageIsNobodys(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	n := int(c.geo.slots)
	xs := simFill(t, c, a, n)
	last := simGet(t, c, a) // finds the page full
	pg := pageOf(xs[0])
	assert.Equal(t, uint32(noOwner), pg.ownerID())
	simDrain(t, c, b, xs[:lotSize+1])
	assert.Equal(t, b.id, pg.ownerID(), "claimed when the parking lot was full")
	assert.Zero(t, b.counts.remotePuts)
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, b, xs[lotSize+1:])
	assert.Equal(t, 1, b.retired.len)
	require.True(t, simPut(c, a, last))
}

// An idle shard gives up what it can, and another one adopts it.
func TestIdleGivesUp(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 3*int(c.geo.slots)+10)
	for i := 0; i < len(xs); i += 2 {
		require.True(t, simPut(c, a, xs[i]))
	}
	simTick(c, a, true)
	require.NoError(t, c.checkInvariants())
	assert.True(t, a.hasNothing())
	assert.Equal(t, 4, int(c.depot.spares.Load()))
	pages := len(c.depot.pages)
	simFill(t, c, b, len(xs)/2)
	assert.Len(t, c.depot.pages, pages)
	require.NoError(t, c.checkInvariants())

	// And again: an adopted page is not thought listed still.
	simTick(c, b, true)
	require.NoError(t, c.checkInvariants())
	assert.Positive(t, c.depot.spares.Load())
	simFill(t, c, a, 100)
	simTick(c, a, true)
	require.NoError(t, c.checkInvariants())
}

// What an operation leaves to be done is nothing any more once Close came first.
func TestChoresAfterClose(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a := shards[0]
	xs := simFill(t, c, a, 100)
	simTick(c, a, true) // onto c.depot.spare
	b := shards[1]
	simDrain(t, c, b, xs)
	b.flush(0) // claimed by b, emptied, and retired
	b.tick(true)
	late := b.takeOutbox()
	require.NotNil(t, late.spare)
	x := simGet(t, c, a)
	require.True(t, simPut(c, a, x))
	a.flush(0)
	a.discardEmpty()
	release := a.takeOutbox()
	require.NotNil(t, release.empty)
	require.NoError(t, c.close())
	before := len(theArena.released[1])
	c.settle(late)
	c.settle(release)
	assert.Len(t, theArena.released[1], before, "no page is released twice")
	assert.Empty(t, c.depot.spare)
	assert.False(t, c.clock.timer.Stop())
}

// Slots parked where their page is adopted do not keep it from emptying.
func TestAdoptedPageEmpties(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 12)
	simDrain(t, c, b, xs[:5])
	simTick(c, a, true)
	b.attach(c.depot.adopt())
	c.settle(b.takeOutbox())
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, b, xs[5:])
	assert.Equal(t, 1, c.stats().WarmPages)
}

// A shard in use keeps a bounded number of partly free pages to itself.
func TestBusyGivesUpMany(t *testing.T) {
	c, shards := sim(t, 1024, 1)
	s := shards[0]
	n := int(c.geo.slots)
	xs := simFill(t, c, s, 3*queuePages*n)
	for i := 0; i < len(xs); i += 2 {
		require.True(t, simPut(c, s, xs[i]))
	}
	s.flush(0)
	require.Greater(t, s.queue.len, 2*queuePages)
	for range 4 {
		simTick(c, s, false)
		require.NoError(t, c.checkInvariants())
	}
	assert.LessOrEqual(t, s.queue.len, queuePages)
	assert.Positive(t, c.depot.spares.Load())
}

// A page abandoned while its last slots were on their way home is not forgotten.
func TestPartialEmptiedWhileUnowned(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 10)
	a.tick(true)
	require.NotNil(t, a.outbox.spare)
	simDrain(t, c, b, xs)
	b.flush(0) // to a page in limbo: onto its remoteFree
	c.settle(a.takeOutbox())
	c.settle(b.takeOutbox())
	require.NoError(t, c.checkInvariants())
	assert.Len(t, c.depot.pages, 1)
	c.depot.expire(false)
	assert.Empty(t, c.depot.pages)
	require.NoError(t, c.checkInvariants())
}

func TestPick(t *testing.T) {
	_, shards := sim(t, 64, 1)
	s := shards[0]
	for used := range uint32(6) {
		s.queue.pushBack(&page{pageOwned: pageOwned{used: 10 - used + used*used%7}}, onQueue)
	}
	var used []uint32
	for s.queue.len > 0 {
		used = append(used, s.pick().used)
	}
	assert.Equal(t, "[12 10 10 9 9 8]", fmt.Sprint(used))
}

func promotionsOf(s *shard) uint64 { return s.counts.promotions }

// Each tick sends parked slots home, and whoever parks one after it arms the
// timer for the next, also where it would go by what lay in the lot before.
func TestParkingArmsTheTimer(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s := shards[0]
	xs := simFill(t, c, s, 10)
	for range 3 {
		require.True(t, s.put(pageOf(xs[0]), 0))
		assert.True(t, s.takeOutbox().arm)
		assert.Equal(t, uint32(1), s.lot.n)
		require.Equal(t, xs[0], simGet(t, c, s))
		assert.True(t, s.lot.repark(xs[0]), "the slot that was handed out last")
		require.Equal(t, xs[0], simGet(t, c, s))
		simTick(c, s, false)
		assert.Zero(t, s.lot.n)
		assert.False(t, s.lot.repark(xs[0]))
	}
	simDrain(t, c, s, xs)
}

// A shard keeps what it uses; the rest of what it empties is for others.
func TestBudget(t *testing.T) {
	c, shards := sim(t, 1024, 2)
	s, other := shards[0], shards[1]
	const pages = 3 * budgetMin
	xs := simFill(t, c, s, pages*int(c.geo.slots))
	simDrain(t, c, other, xs)
	other.flush(0)
	c.settle(other.takeOutbox())
	assert.Equal(t, budgetMin, other.retired.len)
	assert.InDelta(t, pages-budgetMin, c.depot.spares.Load(), 1)
	assert.GreaterOrEqual(t, c.stats().WarmPages, pages-1)
	require.NoError(t, c.checkInvariants())

	// They are found before a fresh page is taken, and else expire.
	before := len(c.depot.pages)
	simFill(t, c, s, 4*int(c.geo.slots))
	assert.Len(t, c.depot.pages, before)
	for range windowSeveral {
		assert.Positive(t, c.depot.spares.Load())
		c.tick()
	}
	for range windowSeveral { // other turned out to be idle, and gave up what it kept
		c.tick()
	}
	assert.Zero(t, c.depot.spares.Load())
	require.NoError(t, c.checkInvariants())

	// A shard that takes many pages into use may keep as many.
	simTick(c, s, false)
	xs = simFill(t, c, s, pages*int(c.geo.slots))
	simTick(c, s, false)
	simDrain(t, c, s, xs)
	s.flush(0)
	c.settle(s.takeOutbox())
	assert.GreaterOrEqual(t, s.retired.len, pages-1)
}

// A full page to which a slot has come home meanwhile stays its owner's.
func TestDisownFails(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, int(c.geo.slots))
	require.True(t, simPut(c, b, xs[7]))
	b.flush(0)
	c.settle(b.takeOutbox())
	assert.Equal(t, xs[7], simGet(t, c, a))
	assert.Equal(t, a.id, pageOf(xs[7]).ownerID())
	require.NoError(t, c.checkInvariants())
}

// A page that counts as empty while a slot of it is out, as two racing Puts of
// another can make it, is not given to anybody else.
func TestUncleanPageIsNotReleased(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	x := simGet(t, c, s)
	pg := pageOf(x)
	pg.used = 0
	before := len(theArena.released[1])
	s.discardEmpty()
	c.settle(s.takeOutbox())
	assert.Len(t, theArena.released[1], before)
	assert.Same(t, pg, pageOf(x))
	assert.ErrorIs(t, c.close(), ErrInUse)
}

// A full page, which nobody owns, gets an owner before half of its slots have
// been put: a shard that empties pages owns them in time to keep them warm.
func TestClaimEarly(t *testing.T) {
	c, shards := sim(t, 1024, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 65) // one more than a page has, so that the first page is given up
	pg := pageOf(xs[0])
	require.EqualValues(t, noOwner, pg.ownerID())
	few := b.lot.room / 4
	for k, x := range xs[:few+1] {
		require.True(t, simPut(c, b, x))
		if k < int(few) {
			require.EqualValues(t, noOwner, pg.ownerID(), "a few slots are parked")
		}
	}
	require.Equal(t, b.id, pg.ownerID())
	require.LessOrEqual(t, b.lot.n, uint32(1), "those that were parked have come home; one of its own may be")
	for _, x := range xs[few+1 : 64] {
		require.True(t, simPut(c, b, x))
	}
	require.NoError(t, c.checkInvariants())
}
