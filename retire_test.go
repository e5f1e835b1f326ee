package pool

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/internal/hook"
)

func TestRetirement(t *testing.T) {
	const small, larger = 64, 9000
	tests := []struct {
		name  string
		size  uintptr
		base  bool
		pages int // that become empty at the same time
		ticks int // until the last of them is released
		kept  int // pages that are kept until then
	}{
		{"only page, small slots", small, false, 1, windowSole, 1},
		{"only page, larger slots", larger, false, 1, windowSeveral, 1},
		{"several pages, small slots", small, false, 3, windowSeveral, 3},
		{"several pages, larger slots", larger, false, 2, windowSeveral, 2},
		{"only page, without promotion", small, true, 1, windowSole, 1},
		{"several pages, without promotion", small, true, 3, windowSole, 1},
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

// A page that becomes empty is promoted: Gets return its slots in address order, whatever the order
// of the Puts, and none of these Gets is slow.
func TestPromotion(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	n := int(c.geo.slots)
	xs := simFill(t, c, s, n)
	for _, order := range orders(n) {
		for _, i := range order {
			require.True(t, simPut(c, s, xs[i]))
		}
		s.flush(0)
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

// A page that is kept and that others have emptied is promoted again at the next tick.
func TestRepromotion(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s, other := shards[0], shards[1]
	simDrain(t, c, s, simFill(t, c, s, 100))
	s.flush(0)
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

// A retired page that is used again leaves retirement: at once if it was on the list of retired
// pages, and at the next tick if it was the current page.
func TestRevival(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	simDrain(t, c, s, simFill(t, c, s, 10))
	s.flush(0)
	c.settle(s.takeOutbox())
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
	assert.Equal(t, revivals+3, s.counts.revivals, "two from the list, and the current page")
	simDrain(t, c, s, xs)
}

// The window starts anew each time that a page becomes empty.
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
		s.flush(0)
		for range windowSole - 1 {
			simTick(c, s, false)
		}
		require.Len(t, c.depot.pages, 1)
		simTick(c, s, false)
		require.Empty(t, c.depot.pages)
	}
}

// A shard that fills and empties many pages keeps as many, even if ticks come between its Gets and
// its Puts, and even if it has had none in use for a while.
func TestBudgetFollowsUse(t *testing.T) {
	const pages = 160
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
	assert.Equal(t, c.leastBudget(), s.budget())
	assert.Empty(t, c.depot.pages)
}

// A shard that is in use keeps only a limited number of partly free pages to itself.
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

func promotionsOf(s *shard) uint64 { return s.counts.promotions }

// A shard keeps as many empty pages as it uses. The others go to the depot.
func TestBudget(t *testing.T) {
	c, shards := sim(t, 1024, 2)
	s, other := shards[0], shards[1]
	pages := 3 * c.leastBudget()
	xs := simFill(t, c, s, pages*int(c.geo.slots))
	simDrain(t, c, other, xs)
	other.flush(0)
	c.settle(other.takeOutbox())
	assert.Equal(t, c.leastBudget(), other.retired.len)
	assert.InDelta(t, pages-c.leastBudget(), c.depot.spares.Load(), 1)
	assert.GreaterOrEqual(t, c.stats().WarmPages, pages-1)
	require.NoError(t, c.checkInvariants())

	// Other shards adopt them before they take a fresh page. The rest expire.
	before := len(c.depot.pages)
	simFill(t, c, s, 4*int(c.geo.slots))
	assert.Len(t, c.depot.pages, before)
	for range windowSeveral {
		assert.Positive(t, c.depot.spares.Load())
		c.tick()
	}
	for range windowSeveral { // other was idle and has given up the pages that it kept
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

// What a shard may keep follows from how many pages it has in use at a time, not from how often it
// takes them. So a program whose bursts begin on one P and end on another does not make the pool
// grow with each of them.
func TestBudgetIsBounded(t *testing.T) {
	c, shards := sim(t, 8000, 2)
	const pages = 60
	n := pages * int(c.geo.slots)
	for round := range 40 {
		s, other := shards[round%2], shards[(round+1)%2]
		for range 15 {
			simDrain(t, c, s, simFill(t, c, s, n))
		}
		simDrain(t, c, other, simFill(t, c, s, n))
		require.LessOrEqual(t, s.budget(), 2*pages)
		require.LessOrEqual(t, len(c.depot.pages), 5*pages, "round %d", round)
		if round%4 == 3 {
			for _, s := range shards {
				simTick(c, s, false)
			}
		}
	}
	require.NoError(t, c.checkInvariants())
}

// What flows from one P to another does not count for more than is in use at a time, however much
// that is between two ticks, and the Ps may change their parts.
func TestBudgetOfWhatOthersEmpty(t *testing.T) {
	c, shards := sim(t, 8000, 2)
	const pages = 20
	n := pages * int(c.geo.slots)
	for round := range 100 {
		giver, taker := shards[round%2], shards[(round+1)%2]
		for range 50 {
			simDrain(t, c, taker, simFill(t, c, giver, n))
		}
		require.LessOrEqual(t, giver.budget(), 2*pages)
		require.LessOrEqual(t, len(c.depot.pages), 5*pages, "round %d", round)
	}
	require.NoError(t, c.checkInvariants())
}

// What a shard has taken into use fades by an eighth at each tick. A period begins with what is left.
func TestDemand(t *testing.T) {
	var d demand
	take := func(n int) {
		for range n {
			d.take(new(page))
		}
	}
	take(80)
	require.Equal(t, 80, d.taken)
	d.tick(1)
	require.Equal(t, 70, d.taken)
	require.Equal(t, [2]int{80, 0}, d.most)
	d.tick(windowSeveral)
	require.Equal(t, [2]int{61, 80}, d.most)
	take(3)
	require.Equal(t, [2]int{64, 80}, d.most)
	d.returned.Add(4) // others have emptied some
	take(2)
	require.Equal(t, 62, d.taken, "which is counted once")
}

// The clock goes on until the last page has expired, which is the current one.
func TestCurrentPageWaitsForTicks(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	require.True(t, simPut(c, s, simGet(t, c, s)))
	for range windowSole {
		s.tick(false)
		require.True(t, s.cur.retired)
		out := s.takeOutbox()
		require.True(t, out.arm)
		c.settle(out)
	}
}

// A tick looks at all pages of the queue.
func TestTickLooksAtTheQueue(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	const pages = 3
	n := int(c.geo.slots)
	xs := simFill(t, c, a, pages*n+1) // the last one is in the current page
	for k := range pages {
		require.True(t, simPut(c, a, xs[k*n]))
	}
	a.flush(0)
	c.settle(a.takeOutbox())
	require.Equal(t, pages, a.queue.len)
	simDrain(t, c, b, xs[(pages-1)*n+1:pages*n]) // all of the last page
	b.flush(0)
	c.settle(b.takeOutbox())
	require.Same(t, pageOf(xs[(pages-1)*n]), a.queue.tail)
	simTick(c, a, false)
	assert.Equal(t, pages-1, a.queue.len)
	assert.Equal(t, 1, a.retired.len)
}

// A page that is used again counts as such when a search takes it.
func TestSearchTakesRevivedPage(t *testing.T) {
	c, shards := sim(t, 64, 1)
	s := shards[0]
	require.True(t, simPut(c, s, simGet(t, c, s)))
	simTick(c, s, false)
	pg := s.cur
	require.True(t, pg.retired)
	x := pg.popBump() // as the fast path does
	require.NotNil(t, x)
	s.giveUpAll()
	assert.False(t, pg.retired)
	assert.EqualValues(t, 1, s.counts.revivals)
	c.settle(s.takeOutbox())
	require.True(t, simPut(c, s, uintptr(x)))
}

// Trim releases every page without a slot in use, also while a tick has pages under way.
func TestTrimBesideTicks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := newStill[[1000]byte](t)
	var ends atomic.Bool
	var tickers group
	for range 4 {
		tickers.Go(func() {
			for !ends.Load() {
				tick([]*core{&p.core})
				runtime.Gosched()
			}
		})
	}
	for until := time.Now().Add(stressTime()); time.Now().Before(until); {
		p.PutBatch(simBatch(p, 300))
		p.Trim()
		if !assert.Zero(t, p.Stats().Pages) {
			break
		}
	}
	ends.Store(true)
	tickers.Wait()
}
