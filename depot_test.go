package pool

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	oneP(t)
	const pages = 5
	p := newStill[[64]byte](t, WithName("orders"), WithLimit(pages<<16+1000))
	xs := fillUp(t, p)
	assert.Len(t, xs, pages*p.Stats().SlotsPerPage, "the slots of all pages that the limit allows")
	assert.EqualValues(t, pages<<16, p.Stats().MappedBytes)
	assert.EqualValues(t, pages<<16, p.Stats().LimitBytes)
	for k, x := range xs {
		x[0], x[63] = byte(k), byte(k>>8)
	}
	for range 3 {
		requirePanic(t, ErrLimit, func() { p.Get() })
		requirePanic(t, ErrLimit, func() { p.GetNoZero() })
	}
	p.Put(xs[17])
	batch := make([]*[64]byte, 3)
	requirePanic(t, ErrLimit, func() { p.GetBatch(batch) })
	assert.Equal(t, make([]*[64]byte, 3), batch, "all or nothing")
	st := p.Stats()
	assert.EqualValues(t, 1+3*2+2, st.FailedGets, "the last Get of fillUp, those above, two of the batch")
	assert.EqualValues(t, 2, st.Gets-st.FailedGets-uint64(st.Live), "two slots were put: one here, one by the batch")
	xs[17] = p.Get()
	xs[17][0], xs[17][63] = 17, 0
	for k, x := range xs {
		require.Equal(t, [2]byte{byte(k), byte(k >> 8)}, [2]byte{x[0], x[63]}, "a slot in use was overwritten")
	}
	require.NoError(t, p.core.checkInvariants())
	p.PutBatch(xs)
	assert.Len(t, fillUp(t, p), len(xs), "the same again")
	p.PutBatch(xs)
}

// Eight goroutines get exactly as many slots as a limit allows, and the kernel counts no more
// memory than that.
func TestLimitParallel(t *testing.T) {
	a := newArena(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	const limit = 16 << 20
	p := New[[64]byte](WithLimit(limit))
	total := limit >> 16 * p.Stats().SlotsPerPage
	for round := range 3 {
		var mu sync.Mutex
		var all []*[64]byte
		var wg group
		for range 8 {
			wg.Go(func() {
				xs := fillUp(t, p)
				for _, x := range xs {
					x[0] = 1
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, xs...)
			})
		}
		wg.Wait()
		assert.Len(t, all, total, "round %d", round)
		assert.LessOrEqual(t, a.resident(), limit)
		for k := range 8 { // each goroutine puts what others got
			wg.Go(func() {
				for i := k; i < len(all); i += 8 {
					p.Put(all[i])
				}
			})
		}
		wg.Wait()
	}
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

// WithWarmPages keeps that many empty pages, and no more, however much time passes.
func TestWarmPages(t *testing.T) {
	for _, size := range []uintptr{64, 9000} {
		c, shards := sim(t, size, 2, options{warmPages: 3})
		xs := simFill(t, c, shards[0], 5*int(c.geo.slots))
		for round := range 3 {
			simDrain(t, c, shards[round%2], xs)
			for _, s := range shards {
				s.lower(signalTick) // an operation does the same
			}
			for range 5 * windowSole {
				c.tick()
			}
			require.NoError(t, c.checkInvariants())
			st := c.stats()
			require.Equal(t, 3, st.Pages)
			require.Equal(t, 3, st.WarmPages)
			require.False(t, c.depot.expire(false, c.warmPages), "no page is left to expire")
			xs = simFill(t, c, shards[1], 5*int(c.geo.slots))
		}
		simDrain(t, c, shards[0], xs)
		c.trim("Trim")
		assert.Zero(t, c.stats().Pages, "Trim releases them too")
	}
}

// An idle shard gives up its pages with free slots, and another shard adopts them.
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

	// And again: an adopted page no longer counts as listed.
	simTick(c, b, true)
	require.NoError(t, c.checkInvariants())
	assert.Positive(t, c.depot.spares.Load())
	simFill(t, c, a, 100)
	simTick(c, a, true)
	require.NoError(t, c.checkInvariants())
}

// An outbox that is settled after Close releases nothing.
func TestOutboxAfterClose(t *testing.T) {
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
	a.discardEmpty(a.discard)
	release := a.takeOutbox()
	require.NotNil(t, release.empty)
	require.NoError(t, c.close())
	before := len(theArena.released[1])
	c.settle(late)
	c.settle(release)
	assert.Len(t, theArena.released[1], before, "no page is released twice")
	assert.Empty(t, c.depot.spare)
	assert.False(t, c.alarm.goesOn())
}

// Slots parked on a shard that adopts their page do not keep the page from becoming empty.
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
	b.flush(0)
	assert.Equal(t, 1, c.stats().WarmPages)
}

// A spare page is released even if its last slots came home while nobody owned it.
func TestSparePageEmptiedWhileUnowned(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 10)
	a.tick(true)
	require.NotNil(t, a.outbox.spare)
	simDrain(t, c, b, xs)
	b.flush(0) // the page is in transit: the slots go to its remoteFree
	c.settle(a.takeOutbox())
	c.settle(b.takeOutbox())
	require.NoError(t, c.checkInvariants())
	assert.Len(t, c.depot.pages, 1)
	c.depot.expire(false, c.warmPages)
	assert.Empty(t, c.depot.pages)
	require.NoError(t, c.checkInvariants())
}

// A page that counts as empty while one of its slots is in use is not released. Two racing Puts of
// another slot can make a page count as empty.
func TestUncleanPageIsNotReleased(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	x := simGet(t, c, s)
	pg := pageOf(x)
	pg.used = 0
	before := len(theArena.released[1])
	s.discardEmpty(s.discard)
	c.settle(s.takeOutbox())
	assert.Len(t, theArena.released[1], before)
	assert.Same(t, pg, pageOf(x))
	assert.ErrorIs(t, c.close(), ErrInUse)
}

// A shard adopts a page with slots in use before an empty one, and keeps to its own empty pages if
// the depot has nothing else. So what is not needed becomes empty and goes.
func TestAdoptsPartialPagesFirst(t *testing.T) {
	c, shards := sim(t, 1024, 3)
	a, b, idle := shards[0], shards[1], shards[2]
	n := int(c.geo.slots)
	xs := simFill(t, c, a, 2*n)
	more := simFill(t, c, idle, 6*n)
	simDrain(t, c, a, xs[1:])
	simTick(c, a, true)
	simDrain(t, c, idle, more)
	simTick(c, idle, true)
	require.Greater(t, c.depot.spares.Load(), int32(4))
	require.EqualValues(t, 1, c.depot.partials.Load())
	require.NoError(t, c.checkInvariants())
	assert.Same(t, pageOf(xs[0]), pageOf(simGet(t, c, b)))
	require.Zero(t, c.depot.partials.Load())
	require.NoError(t, c.checkInvariants())

	ys := simFill(t, c, b, 3*n)
	simDrain(t, c, b, ys)
	b.flush(0)
	c.settle(b.takeOutbox())
	spares := c.depot.spares.Load()
	require.Positive(t, spares)
	simFill(t, c, b, 3*n)
	assert.Equal(t, spares, c.depot.spares.Load(), "b uses its own")
}

// If the depot finds that a Put has claimed a spare page, it tells those who search: they may have
// looked for the page with the shard before that Put.
func TestClaimedSparePageIsTold(t *testing.T) {
	for name, look := range map[string]func(d *depot){
		"adopt":  func(d *depot) { require.Nil(t, d.adopt()) },
		"expire": func(d *depot) { d.expire(true, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			c, shards := sim(t, 64, 2)
			a, b := shards[0], shards[1]
			xs := simFill(t, c, a, 10)
			simTick(c, a, true)
			require.Len(t, c.depot.spare, 1)
			simDrain(t, c, b, xs)
			b.flush(0) // this claims the page
			c.settle(b.takeOutbox())
			before := c.depot.lookAround()
			look(&c.depot)
			assert.Empty(t, c.depot.spare)
			assert.False(t, c.depot.transit.quietSince(before.transit))
			require.NoError(t, c.checkInvariants())
		})
	}
}

// A pool that is closed while it makes a page gives the page's memory back.
func TestCloseWhileAPageIsMade(t *testing.T) {
	a := newArena(t)
	p := New[[64]byte]()
	before := system.Load()
	defer system.Store(before)
	closing := *before
	closing.reserve = func(size uintptr) ([]byte, error) {
		system.Store(before)
		require.NoError(t, p.Close())
		return before.reserve(size)
	}
	system.Store(&closing)
	_, err := p.TryGet()
	require.ErrorIs(t, err, ErrClosed)
	assert.Zero(t, ReadMemory().InUse)
	assert.Zero(t, a.wordsInUse())
}
