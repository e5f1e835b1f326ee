package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fillUp gets slots until TryGet fails, which has to be with ErrLimit.
func fillUp[T any](t *testing.T, p *Pool[T]) []*T {
	var xs []*T
	for {
		x, err := p.TryGet()
		if err != nil {
			assert.ErrorIs(t, err, ErrLimit)
			return xs
		}
		xs = append(xs, x)
	}
}

func TestLimit(t *testing.T) {
	oneP(t)
	const pages = 5
	p := newStill[[64]byte](t, WithName("orders"), WithLimit(pages<<16+1000))
	xs := fillUp(t, p)
	assert.Len(t, xs, pages*p.Stats().SlotsPerPage, "all slots of the pages that fit")
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
	assert.EqualValues(t, 1+3*2+2, st.FailedGets, "fillUp's last, those above, two of the batch")
	assert.EqualValues(t, 2, st.Gets-st.FailedGets-uint64(st.Live), "slots put: one here, one by the batch")
	xs[17] = p.Get()
	xs[17][0], xs[17][63] = 17, 0
	for k, x := range xs {
		require.Equal(t, [2]byte{byte(k), byte(k >> 8)}, [2]byte{x[0], x[63]}, "nothing handed out was touched")
	}
	require.NoError(t, p.core.checkInvariants())
	p.PutBatch(xs)
	assert.Len(t, fillUp(t, p), len(xs), "and again")
	p.PutBatch(xs)
}

// requirePanic runs f, which has to panic with an error that wraps want.
func requirePanic(t *testing.T, want error, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ := recover().(error)
		require.ErrorIs(t, err, want)
	}()
	f()
}

func TestLimitOptions(t *testing.T) {
	for _, test := range []struct {
		text string
		make func()
	}{
		{"WithLimit(-1)", func() { New[[64]byte](WithLimit(-1)) }},
		{"WithLimit(65535)", func() { New[[64]byte](WithLimit(1<<16 - 1)) }},
		{"524288 bytes", func() { New[[9000]byte](WithLimit(1 << 16)) }},
		{"WithWarmPages(-1)", func() { New[[64]byte](WithWarmPages(-1)) }},
	} {
		func() {
			defer func() { assert.ErrorContains(t, recover().(error), test.text) }()
			test.make()
		}()
	}
	p := newStill[[64]byte](t, WithLimit(0), WithWarmPages(0))
	p.PutBatch(simBatch(p, 100_000))
}

// simBatch gets n slots.
func simBatch[T any](p *Pool[T], n int) []*T {
	xs := make([]*T, n)
	p.GetBatch(xs)
	return xs
}

// At the limit a pool uses what any P has free: pages, parked slots, slots on
// their way home.
func TestLimitFindsFreeSlots(t *testing.T) {
	skipUnlessPinned(t)
	c, shards := sim(t, 64, 4, options{limit: 4 << 16})
	a, b := shards[0], shards[1]
	n := 4 * int(c.geo.slots)
	xs := simFill(t, c, a, n)
	for k, x := range xs {
		require.True(t, simPut(c, shards[k%4], x)) // one of four is parked or goes home from elsewhere
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
	assert.Zero(t, uint32(c.depot.transit.word.Load()), "no page is lost on its way")
}

// skipUnlessPinned skips a test for which shards have to belong to Ps, or in which
// a pool used with on looks at its other shards.
func skipUnlessPinned(t *testing.T) {
	if !pinned {
		t.Skip("see on")
	}
}

// As many goroutines as there are slots never see ErrLimit, wherever the slots
// are at the moment.
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

// Eight goroutines take all that a limit allows, no more and no less, also as the
// kernel sees it.
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

func TestProcessLimit(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	oneP(t) // a goroutine that moves takes a page more
	newArena(t)
	assert.Zero(t, SetProcessLimit(10<<16))
	assert.EqualValues(t, 10<<16, SetProcessLimit(-1))
	assert.EqualValues(t, 10<<16, SetProcessLimit(-1), "a negative limit only asks")

	p, q := newStill[[64]byte](t), newStill[[1024]byte](t)
	xs := simBatch(p, 6*p.Stats().SlotsPerPage)
	ys := fillUp(t, q)
	assert.Len(t, ys, 4*q.Stats().SlotsPerPage)
	assert.EqualValues(t, 10<<16, ReadMemory().Committed)
	_, err := p.TryGet()
	assert.ErrorIs(t, err, ErrLimit)

	p.PutBatch(xs)
	for range 3 * windowSole {
		p.core.tick()
	}
	require.Zero(t, p.Stats().Pages)
	assert.EqualValues(t, 6<<16, ReadMemory().Warm)
	large := newStill[[9000]byte](t)
	_, err = large.TryGet()
	assert.ErrorIs(t, err, ErrLimit, "eight granules do not fit besides four in use")
	assert.Zero(t, ReadMemory().Warm, "though what was warm has been given back for it")
	ys = append(ys, fillUp(t, q)...)
	assert.Len(t, ys, 10*q.Stats().SlotsPerPage, "another pool can have it")

	assert.EqualValues(t, 10<<16, SetProcessLimit(1<<16), "below what is in use")
	_, err = q.TryGet()
	assert.ErrorIs(t, err, ErrLimit)
	q.PutBatch(ys[:1])
	ys[0] = q.Get()
	assert.EqualValues(t, 1<<16, SetProcessLimit(0))
	ys = append(ys, q.Get())
	q.PutBatch(ys)
}

// WithWarmPages keeps that many empty pages whatever time passes, and no more.
func TestWarmPages(t *testing.T) {
	for _, size := range []uintptr{64, 9000} {
		c, shards := sim(t, size, 2, options{warmPages: 3})
		xs := simFill(t, c, shards[0], 5*int(c.geo.slots))
		for round := range 3 {
			simDrain(t, c, shards[round%2], xs)
			for _, s := range shards {
				s.lower(signalTick) // as an operation does
			}
			for range 5 * windowSole {
				c.tick()
			}
			require.NoError(t, c.checkInvariants())
			st := c.stats()
			require.Equal(t, 3, st.Pages)
			require.Equal(t, 3, st.WarmPages)
			require.False(t, c.depot.expire(false), "nothing waits for time to pass")
			xs = simFill(t, c, shards[1], 5*int(c.geo.slots))
		}
		simDrain(t, c, shards[0], xs)
		c.trim()
		assert.Zero(t, c.stats().Pages, "Trim releases them too")
	}
}

// Memory that a pool cannot get is looked for among what other Ps have free.
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

// Memory that the system would not take back can be used at the process limit.
func TestProcessLimitWithHeldMemory(t *testing.T) {
	newArena(t)
	SetProcessLimit(8 << 16)
	defer SetProcessLimit(0)
	p := newStill[[64]byte](t)
	failing(t, func(call string) bool { return call == "purge" })
	xs := fillUp(t, p)
	p.PutBatch(xs)
	assert.Zero(t, p.Trim())
	ys := fillUp(t, p)
	assert.Len(t, ys, len(xs))
	p.PutBatch(ys)
	assert.Zero(t, p.Trim())
	large := newStill[[9000]byte](t)
	zs := fillUp(t, large)
	assert.Len(t, zs, large.Stats().SlotsPerPage, "eight small pages are a medium one")
	assert.EqualValues(t, 8<<16, ReadMemory().Committed)
	large.PutBatch(zs)
}

// A Get at the process limit waits for memory that is on its way to the system.
func TestProcessLimitDuringPurge(t *testing.T) {
	newArena(t)
	SetProcessLimit(4 << 16)
	defer SetProcessLimit(0)
	p, q := newStill[[64]byte](t), newStill[[1024]byte](t)
	p.PutBatch(fillUp(t, p))
	before := system.Load()
	defer system.Store(before)
	slow := *before
	purging, goOn := make(chan bool, 100), make(chan bool)
	slow.purge = func(mem []byte) (bool, bool) {
		purging <- true
		<-goOn
		return before.purge(mem)
	}
	system.Store(&slow)
	var wg group
	wg.Go(func() { p.Trim() })
	<-purging
	wg.Go(func() {
		x, err := q.TryGet()
		if assert.NoError(t, err) {
			q.Put(x)
		}
	})
	for { // until it waits
		theArena.mu.Lock()
		waits := theArena.purgeDone != nil
		theArena.mu.Unlock()
		if waits {
			break
		}
		runtime.Gosched()
	}
	close(goOn)
	wg.Wait()
}

// A Get that fails for want of memory has looked once, not a thousand times.
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
