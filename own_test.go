//go:build linux && (amd64 || arm64) && !race && !asan && !msan && !pooldebug && !poolportable

package pool

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A seizer waits for the end of an operation that has the shard. An operation that finds its shard
// seized waits until the shard is handed back.
func TestSeizeWaits(t *testing.T) {
	_, shards := sim(t, 64, 1)
	skipUnlessPinned(t)
	s := shards[0]
	atomic.StoreUint32(&s.busy, 1)
	seized := make(chan struct{})
	go func() {
		seize(shards)
		close(seized)
	}()
	for s.signals()&signalSeized == 0 {
		runtime.Gosched()
	}
	for range 1000 {
		runtime.Gosched()
		select {
		case <-seized:
			t.Fatal("the shard was seized during an operation")
		default:
		}
	}
	atomic.StoreUint32(&s.busy, 0)
	<-seized
	waited := make(chan struct{})
	go func() {
		s.waitTurn()
		close(waited)
	}()
	for range 1000 {
		runtime.Gosched()
		select {
		case <-waited:
			t.Fatal("an operation did not wait")
		default:
		}
	}
	handBack(shards)
	<-waited
	assert.Zero(t, s.signals())
}

// Where the system refuses a barrier, from the start or after a time, the world is stopped instead, and
// Memory counts it.
func TestWithoutBarrier(t *testing.T) {
	p := New[[64]byte]()
	skipUnlessPinned(t)
	use := func() {
		for range 3 {
			xs := make([]*[64]byte, 3000)
			for i := range xs {
				xs[i] = p.Get()
			}
			require.NoError(t, p.core.checkInvariants())
			for _, x := range xs {
				p.Put(x)
			}
			p.Trim()
		}
	}
	use()
	refuseBarriers(t)
	stops := ReadMemory().WorldStops
	use()
	assert.GreaterOrEqual(t, ReadMemory().WorldStops, stops+3)
	require.NoError(t, p.Close())
}

// refuseBarriers has the system refuse barriers until the test ends.
func refuseBarriers(t *testing.T) {
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	refusing := *before
	refusing.barrier = func() bool { return false }
	system.Store(&refusing)
}

// No operation runs on a seized shard.
func TestSeizedShardIsLeftAlone(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t)
	skipUnlessPinned(t)
	p.Put(p.Get())
	shards := p.core.shards.Load().present()
	seize(shards)
	done := make(chan struct{})
	go func() {
		p.Put(p.Get())
		close(done)
	}()
	for range 1000 {
		runtime.Gosched()
		select {
		case <-done:
			t.Fatal("an operation has used a seized shard")
		default:
		}
	}
	handBack(shards)
	<-done
}

// No operation has a shard to itself while the shard is seized. Without a barrier in seize, a
// processor can delay the store to busy until after the load of signal.
func TestSeizeExcludes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	c, shards := sim(t, 64, 1)
	runtime.GOMAXPROCS(2)
	s := shards[0]
	var stop, entered atomic.Bool
	var inside int64 // belongs to whoever has the shard
	var wg group
	wg.Go(func() {
		for !stop.Load() {
			procPin()
			s.busy = 1
			if s.signals() == 0 {
				inside++
				inside--
			}
			s.unpin()
			entered.Store(true)
		}
	})
	for !entered.Load() {
		runtime.Gosched()
	}
	broken := 0
	c.stopMu.Lock()
	for range times(100_000) {
		seize(shards)
		if inside != 0 {
			broken++
		}
		handBack(shards)
	}
	c.stopMu.Unlock()
	stop.Store(true)
	wg.Wait()
	assert.Zero(t, broken, "seizures while an operation had the shard")
}

// A new shard is in the table before it is told whether somebody waits. A Put there meanwhile must not
// take the fast path.
func TestFirstShardHasSignals(t *testing.T) {
	p, xs := atBound[[64]byte](t, 1)
	c := &p.core
	first := func() *shard {
		c.stopMu.Lock()
		defer c.stopMu.Unlock()
		return c.firstShard(1)
	}
	s := first()
	assert.NotZero(t, s.signals()&signalWaiting)
	assert.NotZero(t, s.signals()&signalExhausted)
	assert.Zero(t, s.signals()&(signalRefs|signalClosing))
	c.tellOfWaiters(s)
	assert.Zero(t, s.signals()&signalWaiting)

	got := manyWait(t, p, 1)
	s = first()
	c.tellOfWaiters(s)
	assert.NotZero(t, s.signals()&signalWaiting)
	r := p.Ref(xs[0])
	assert.NotZero(t, first().signals()&signalRefs)
	p.Put(xs[0])
	assert.Nil(t, p.Deref(r))
	p.Put(<-got)
	require.NoError(t, p.Close())
}
