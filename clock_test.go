package pool

import (
	"runtime"
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
