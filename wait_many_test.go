package pool

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyWait has n goroutines wait for slots of p, of which none is free. It returns when they know that.
func manyWait[T any](t *testing.T, p *Pool[T], n int) <-chan *T {
	got := make(chan *T, n)
	ctx := patient(t)
	for range n {
		go func() {
			x, err := p.GetContext(ctx)
			assert.NoError(t, err)
			got <- x
		}()
	}
	awaitWaiting(p, int32(n))
	for !p.core.isExhausted() {
		runtime.Gosched()
	}
	return got
}

// If many slots become free at once, all who wait are served: by a page that the collector takes, by
// the room that a guarded slot had, and by slots that are not handed over.
func TestManySlotsEndManyWaits(t *testing.T) {
	const waiting = 10
	t.Run("lost page", func(t *testing.T) {
		p, xs := atBound[quote](t, 64, WithGoHeap())
		got := manyWait(t, p, waiting)
		clear(xs)
		for len(got) < waiting {
			runtime.GC()
			p.core.tick()
			runtime.Gosched()
		}
	})
	t.Run("guarded slot", func(t *testing.T) {
		p := New[quote](WithLimit(8*64<<10), WithGuardSampling(1000))
		if !p.Stats().OffHeap {
			t.Skip("no slot is guarded here")
		}
		var guarded *quote
		for {
			before := p.Stats().GuardedGets
			x, err := p.TryGet()
			if err != nil {
				break
			}
			if p.Stats().GuardedGets != before {
				guarded = x
			}
		}
		if guarded == nil {
			t.Skip("no slot was guarded")
		}
		got := manyWait(t, p, waiting)
		p.Put(guarded)
		for range waiting {
			require.NotNil(t, <-got)
		}
	})
	t.Run("weak pages with Refs", func(t *testing.T) {
		perPage := New[quote](WithGoHeap()).Stats().SlotsPerPage
		p, xs := atBound[quote](t, waiting*perPage, WithGoHeap())
		for _, x := range xs {
			p.Ref(x)
		}
		got := manyWait(t, p, waiting)
		var some []*quote
		for k := range waiting {
			some = append(some, xs[k*perPage+3])
		}
		p.PutBatch(some)
		for range waiting {
			require.NotNil(t, <-got)
		}
		runtime.KeepAlive(xs)
	})
}

// A Get that makes a page has counted its slots. If memory is refused then, those who waited because
// of that get the error, too.
func TestRefusalEndsWaits(t *testing.T) {
	needsOSMemory(t)
	defer SetProcessLimit(SetProcessLimit(1))
	ctx := patient(t)
	for range times(3000) {
		p := New[[1000]byte](WithMaxSlots(8))
		errs := make(chan error, 64)
		for range cap(errs) {
			go func() {
				_, err := p.GetContext(ctx)
				errs <- err
			}()
		}
		for range cap(errs) {
			err := <-errs
			require.ErrorIs(t, err, ErrLimit)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		require.NoError(t, p.Close())
	}
}

// Each P has its first shard when others wait, or wait for the pool's end: a Put there ends the wait.
func TestNewPsKnowWhoWaits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	const n = 64
	for round := range times(400) {
		p, xs := atBound[quote](t, n)
		got := manyWait(t, p, n)
		var g group
		for _, x := range xs {
			g.Go(func() { p.Put(x) })
		}
		g.Wait()
		for k := range xs {
			if xs[k] = <-got; xs[k] == nil {
				t.Fatalf("round %d: all slots were put; %v", round, p.Stats())
			}
		}
		for k, x := range xs {
			g.Go(func() { p.Put(x) })
			if k == round%n {
				g.Go(func() { assert.NoError(t, p.CloseWhenEmpty()) })
			}
		}
		g.Wait()
		require.True(t, p.core.depot.closed.Load(), "round %d: all slots were put; %v", round, p.Stats())
	}
}

// A Put and CloseWhenEmpty at the same time close the pool, whichever comes first.
func TestPutAndCloseWhenEmpty(t *testing.T) {
	for round := range 500 {
		p := New[quote]()
		x := p.Get()
		var g group
		g.Go(func() {
			for range round % 50 {
				runtime.Gosched()
			}
			p.Put(x)
		})
		g.Go(func() {
			for range round / 50 {
				runtime.Gosched()
			}
			assert.NoError(t, p.CloseWhenEmpty())
		})
		g.Wait()
		require.True(t, p.core.depot.closed.Load(), "round %d", round)
	}
}

// Close of a pool on the Go heap, with slots out, is an error for those who use it, and no panic.
func TestCloseBesideWaits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	for round := range 200 {
		p := New[quote](WithGoHeap(), WithMaxSlots(1+round%10))
		ctx := patient(t)
		var g group
		for range 32 {
			g.Go(func() {
				for {
					x, err := p.GetContext(ctx)
					if err == nil {
						err = p.TryPut(x)
					}
					if err != nil {
						assert.ErrorIs(t, err, ErrClosed)
						return
					}
					runtime.Gosched() // wasm does not preempt
				}
			})
		}
		for range 4 {
			g.Go(func() {
				for range round {
					runtime.Gosched()
				}
				if err := p.Close(); err != nil {
					assert.ErrorIs(t, err, ErrClosed)
				}
			})
		}
		g.Wait()
	}
}

// Numbers of slots have no upper bound.
func TestHugeNumbersOfSlots(t *testing.T) {
	p := New[quote](WithWarmSlots(math.MaxInt), WithMaxSlots(math.MaxInt))
	assert.Equal(t, (math.MaxInt-1)/int(p.core.geo.slots)+1, p.core.warmPages)
	for n := math.MaxInt; n > 0; n /= 2 {
		p := New[quote](WithMaxSlots(n))
		want := max(min(n/(2*runtime.GOMAXPROCS(0)), lotSize-1), lotLeast)
		assert.EqualValues(t, want, newShard(p.core.spec, &p.core.depot, 0).lot.room, n)
		require.NoError(t, p.Close())
	}
}
