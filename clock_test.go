package pool

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A pool that nobody calls any more gives its memory back. Then its clock stops.
func TestExpiryByTime(t *testing.T) {
	exactSlots(t)
	noQuarantine(t)
	needsOSMemory(t)
	t.Parallel() // it mostly waits
	if !inChild(t) {
		return
	}
	p := New[[64]byte]()
	churn(p, make([]*[64]byte, 4900), orders(4900)["first-in"])
	pages := p.Stats().Pages
	assert.GreaterOrEqual(t, pages, 5, "more if the goroutine has moved from one P to another")
	assert.True(t, p.core.alarm.armed.Load())
	assert.Eventually(t, func() bool { return p.Stats().Pages == 0 }, 5*time.Second, 10*time.Millisecond)
	assert.Eventually(t, func() bool { return !p.core.alarm.armed.Load() }, 5*time.Second, 10*time.Millisecond)
	assert.Eventually(t, func() bool { return p.Stats().PurgedBytes == int64(pages)<<16 }, 5*time.Second, 10*time.Millisecond)
	p.Put(p.Get())
	assert.True(t, p.core.alarm.armed.Load(), "the next use arms it again")
	require.NoError(t, p.Close())
}

// Whoever begins to wait while the clock rings is seen by it, or sees that it stands still.
func TestClockLooksWhenItStands(t *testing.T) {
	k := new(clock)
	looks := 0
	k.init(func() {}, func() bool {
		looks++
		assert.False(t, k.running.Load(), "whoever begins to wait now does not start it")
		return false
	})
	k.running.Store(true)
	k.ring()
	assert.Equal(t, 1, looks)
}

// The slots that an idle P has go to goroutines on other Ps.
func TestIdleShard(t *testing.T) {
	noQuarantine(t)
	p := New[[64]byte]()
	xs := make([]*[64]byte, 3000)
	for i := range xs {
		xs[i] = p.Get()
	}
	for i := 0; i < len(xs); i += 2 {
		p.Put(xs[i]) // every page is left partly free
	}
	assert.Eventually(t, func() bool { return p.core.depot.spares.Load() > 0 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, p.core.checkInvariants())
	pages := p.Stats().Pages
	ys := make([]*[64]byte, 1500)
	p.GetBatch(ys)
	assert.Equal(t, pages, p.Stats().Pages, "no new page while others are partly free")
	p.PutBatch(ys)
	for i := 1; i < len(xs); i += 2 {
		p.Put(xs[i])
	}
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}

func TestGOMAXPROCS(t *testing.T) {
	noQuarantine(t)
	t.Parallel() // it mostly waits
	if !inChild(t) {
		return
	}
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	p := New[[64]byte]()
	var live atomic.Int64
	for _, n := range []int{1, 8, 2, 32, 1} {
		runtime.GOMAXPROCS(n)
		var wg group
		for range n * 2 {
			wg.Go(func() {
				xs := make([]*[64]byte, 100)
				for range times(200) {
					p.GetBatch(xs)
					live.Add(100)
					p.PutBatch(xs)
					live.Add(-100)
				}
			})
		}
		wg.Wait()
		require.NoError(t, p.core.checkInvariants())
	}
	assert.Zero(t, p.Stats().Live)
	assert.Eventually(t, func() bool { return p.Stats().Pages == 0 }, 5*time.Second, 10*time.Millisecond, "shards of Ps that are gone release their pages")
	require.NoError(t, p.Close())
}

// When GOMAXPROCS goes down, the Ps that are left use the free slots of those that are gone, and
// their empty pages are released.
func TestLowerGOMAXPROCS(t *testing.T) {
	skipUnlessPinned(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := newStill[[64]byte](t)
	all := make(chan []*[64]byte, 4)
	for range 4 {
		go func() { all <- simBatch(p, 3*p.Stats().SlotsPerPage) }()
	}
	var xs []*[64]byte
	for range 4 {
		xs = append(xs, <-all...)
	}
	p.PutBatch(xs[:len(xs)/2])
	runtime.GOMAXPROCS(1)
	for range 3 {
		p.core.tick() // as the clock does after a page was taken
	}
	pages := p.Stats().Pages
	again := simBatch(p, len(xs)/2)
	assert.LessOrEqual(t, p.Stats().Pages, pages+2, "free slots are used again")
	p.PutBatch(again)
	p.PutBatch(xs[len(xs)/2:])
	for range 3 * windowSole {
		p.core.tick()
	}
	assert.Zero(t, p.Stats().Pages)
}

// A pool goes on if it is armed while its last tick is ending.
func TestArmWhileRingEnds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	goOn := stopClock()
	defer func() {
		armed.pools = nil
		goOn()
	}()
	alarms := make([]core, 40)
	var begun, ended atomic.Int64
	await := func(n *atomic.Int64, round int64) {
		for n.Load() < round {
			runtime.Gosched()
		}
	}
	rounds := int64(times(5000))
	defer begun.Store(rounds) // ends the goroutine if the test has failed
	go func() {
		for round := range rounds {
			await(&begun, round+1)
			for i := range alarms { // from the other end, so that the two meet somewhere
				alarms[len(alarms)-1-i].arm()
			}
			ended.Add(1)
		}
	}()
	for round := range rounds {
		for i := range alarms {
			alarms[i].alarm.left.Store(1)
			alarms[i].alarm.armed.Store(true)
		}
		armed.mu.Lock()
		armed.pools = nil
		armed.mu.Unlock()
		begun.Add(1)
		for i := range alarms {
			alarms[i].alarm.goesOn()
		}
		await(&ended, round+1)
		for i := range alarms {
			require.True(t, alarms[i].alarm.armed.Load(), "round %d: %d ticks are left, and none will come", round, alarms[i].alarm.left.Load())
		}
	}
}

// A P that goes idle again gives its pages up again.
func TestIdleAgain(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t)
	for range 2 {
		p.Put(p.Get())
		require.Equal(t, 1, p.Stats().Pages)
		for range 3 * windowSole {
			p.core.tick()
		}
		require.Zero(t, p.Stats().Pages)
	}
}

// A pool that is armed while others have their tick is not forgotten.
func TestArmedDuringTick(t *testing.T) {
	skipUnlessPinned(t)
	defer stopClock()()
	p, q := New[[64]byte](), New[[64]byte]()
	p.Put(p.Get())
	before := system.Load()
	defer system.Store(before)
	arming, armedThen := *before, 0
	arming.barrier = func() bool {
		if armedThen++; armedThen == 1 {
			q.core.arm()
		}
		return before.barrier()
	}
	system.Store(&arming)
	for armedThen == 0 {
		tickAll() // the second one finds that P idle
	}
	system.Store(before)
	armed.mu.Lock()
	isArmed := slices.Contains(armed.pools, &q.core)
	armed.mu.Unlock()
	assert.True(t, isArmed)
	require.NoError(t, p.Close())
	require.NoError(t, q.Close())
}

// A tick comes back to a pool that somebody else had stopped.
func TestTickComesBackToBusyPool(t *testing.T) {
	free, busy := newStill[quote](t), newStill[quote](t)
	ticks := func(p *Pool[quote]) uint32 {
		d := &p.core.depot
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.ticks
	}
	before := ticks(free)
	busy.core.stopMu.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick([]*core{&free.core, &busy.core})
	}()
	for ticks(free) == before {
		runtime.Gosched()
	}
	before = ticks(busy)
	busy.core.stopMu.Unlock()
	<-done
	assert.Equal(t, before+1, ticks(busy))
}
