package pool

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// atBound makes a pool of n slots, which are all in use.
func atBound[T any](t *testing.T, n int, opts ...Option) (*Pool[T], []*T) {
	p := New[T](append(opts, WithMaxSlots(n))...)
	t.Cleanup(func() {
		if err := p.Close(); !errors.Is(err, ErrClosed) {
			require.NoError(t, err)
		}
	})
	return p, fillUp(t, p)
}

// awaitWaiting returns when so many wait for a slot of p, and every shard knows that somebody does.
func awaitWaiting[T any](p *Pool[T], n int32) {
	for p.core.waiters.n.Load() != n {
		runtime.Gosched()
	}
	p.core.waiters.mu.Lock()
	defer p.core.waiters.mu.Unlock()
}

// aWait is a GetContext that waits for a slot of p, as the nth. The channel gets its slot.
func aWait[T any](t *testing.T, p *Pool[T], n int32) <-chan *T {
	got := make(chan *T, 1)
	go func() {
		x, err := p.GetContext(patient(t))
		assert.NoError(t, err)
		got <- x
	}()
	awaitWaiting(p, n)
	return got
}

// waysToPut are all calls that put a slot.
func waysToPut(t *testing.T) map[string]func(*Pool[quote], *quote) {
	return map[string]func(*Pool[quote], *quote){
		"Put":      func(p *Pool[quote], x *quote) { p.Put(x) },
		"TryPut":   func(p *Pool[quote], x *quote) { assert.NoError(t, p.TryPut(x)) },
		"PutBatch": func(p *Pool[quote], x *quote) { p.PutBatch([]*quote{nil, x, nil}) },
		"PutRef":   func(p *Pool[quote], x *quote) { assert.True(t, p.PutRef(p.Ref(x))) },
		"PutRefs":  func(p *Pool[quote], x *quote) { assert.Equal(t, 1, p.PutRefs([]Ref[quote]{{}, p.Ref(x), {}})) },
	}
}

// kindsOfPool are pools whose Put goes by ways of its own.
var kindsOfPool = map[string][]Option{
	"plain":   nil,
	"profile": {WithProfile(1)},
	"guards":  {WithGuardSampling(1)},
	"reset":   {WithReset(func(*quote) {})},
	"heap":    {WithGoHeap()},
	"init":    {WithGoHeap(), WithInit(func(x *quote) { x.id = 7 })},
	"limit":   {WithLimit(64 << 10)},
}

// patient is a context that ends a test that hangs.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Slots go to those who wait in the order in which they came, and a Put ends one wait.
func TestGetContextServesInOrder(t *testing.T) {
	const waiting = 50
	p, xs := atBound[quote](t, 1)
	served := make(chan int, waiting)
	var g group
	for k := range waiting {
		g.Go(func() {
			x, err := p.GetContext(patient(t))
			assert.NoError(t, err)
			served <- k
			p.Put(x)
		})
		awaitWaiting(p, int32(k+1))
	}
	require.Equal(t, waiting, p.Stats().Waiting)
	p.Put(xs[0])
	g.Wait()
	for k := range waiting {
		require.Equal(t, k, <-served)
	}
	st := p.Stats()
	assert.Zero(t, st.Waiting)
	assert.EqualValues(t, waiting, st.Waits)
	assert.EqualValues(t, 1, st.FailedGets, "of fillUp; those that waited have not failed")
}

// 1,000 goroutines share 10 slots. All are served, and no more than 10 slots are in use.
func TestGetContextServesAll(t *testing.T) {
	p, xs := atBound[quote](t, 10, WithProfile(1000))
	p.PutBatch(xs)
	var inUse, served atomic.Int32
	ctx := patient(t)
	var g group
	for range 1000 {
		g.Go(func() {
			for range times(20) {
				x, err := p.GetContext(ctx)
				if !assert.NoError(t, err) {
					return
				}
				assert.LessOrEqual(t, inUse.Add(1), int32(10))
				assert.Zero(t, x.id)
				x.id = 1
				runtime.Gosched()
				inUse.Add(-1)
				served.Add(1)
				p.Put(x)
			}
		})
	}
	g.Wait()
	assert.EqualValues(t, 1000*times(20), served.Load())
	assert.Zero(t, p.Live())
	require.NoError(t, p.core.checkInvariants())
	for _, s := range p.core.shards.Load().present() {
		assert.Zero(t, s.signals()&signalWaiting)
	}
}

// A wait ends however the slot is put, and whatever the pool does with its slots.
func TestGetContextEndsByPut(t *testing.T) {
	for name, opts := range kindsOfPool {
		for call, put := range waysToPut(t) {
			t.Run(name+" "+call, func(t *testing.T) {
				p, xs := atBound[quote](t, 8, opts...)
				for k := range xs {
					got := aWait(t, p, 1)
					put(p, xs[k])
					xs[k] = <-got
					require.NotNil(t, xs[k])
					if name == "init" {
						require.EqualValues(t, 7, xs[k].id)
					} else {
						require.Zero(t, xs[k].id)
					}
					require.Equal(t, 8, p.Live())
				}
				p.PutBatch(xs)
				require.Zero(t, p.Live())
				require.NoError(t, p.core.checkInvariants())
			})
		}
	}
}

// A Put gives its slot to the waiter before it returns: nobody else can have it, and nobody searches.
func TestPutHandsOver(t *testing.T) {
	if debugging {
		t.Skip("in this build, a search may take the slot out of quarantine, for a waiter")
	}
	for name, opts := range map[string][]Option{"plain": nil, "profile": {WithProfile(1)}, "reset": {WithReset(func(*quote) {})}, "heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			p, xs := atBound[quote](t, 3, opts...)
			for range 100 {
				got := aWait(t, p, 1)
				for !p.core.isExhausted() { // it looks for a slot once more
					runtime.Gosched()
				}
				searches := p.core.searches.begun.Load()
				p.Put(xs[0])
				_, err := p.TryGet()
				require.ErrorIs(t, err, ErrLimit)
				require.Equal(t, searches, p.core.searches.begun.Load())
				xs[0] = <-got
			}
			p.PutBatch(xs)
		})
	}
}

// A Ref that ends does not keep its page, although its slot is given to a waiter.
func TestHandOverInWeakPage(t *testing.T) {
	p := New[quote](WithGoHeap())
	n := int(p.core.geo.slots)
	require.NoError(t, p.Close())
	p, xs := atBound[quote](t, n, WithGoHeap())
	pg := pageOf(uintptr(unsafe.Pointer(xs[0])))
	r := p.Ref(xs[0])
	got := aWait(t, p, 1)
	for !p.core.isExhausted() {
		runtime.Gosched()
	}
	require.Nil(t, pg.first(), "a full page is weak")
	require.True(t, p.PutRef(r))
	xs[0] = <-got
	for range 3 {
		p.core.tick()
	}
	require.False(t, pg.keepsInVain())
	p.PutBatch(xs)
}

// A slot that is handed over at the moment at which the wait ends is not lost.
func TestGetContextGivesUp(t *testing.T) {
	p, xs := atBound[quote](t, 1)
	x := xs[0]
	gotIt, gaveUp := 0, 0
	for range times(2000) {
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan *quote)
		go func() {
			y, err := p.GetContext(ctx)
			if err != nil {
				assert.ErrorIs(t, err, context.Canceled)
			}
			got <- y
		}()
		awaitWaiting(p, 1)
		go cancel()
		p.Put(x)
		if y := <-got; y != nil {
			gotIt++
			x = y
		} else {
			gaveUp++
			var err error
			x, err = p.TryGet()
			require.NoError(t, err)
		}
		cancel()
	}
	t.Logf("%d got the slot, %d gave up", gotIt, gaveUp)
	p.Put(x)
}

// The error of a wait says what has ended it, and that the pool is at its bound.
func TestGetContextErrors(t *testing.T) {
	p, xs := atBound[quote](t, 1, WithName("quotes"))
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		awaitWaiting(p, 1)
		cancel(cause)
	}()
	_, err := p.GetContext(ctx)
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, "WithMaxSlots allows no more than 1")
	p.Put(xs[0])
	_, err = p.GetContext(ctx) // although a slot is free
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, ErrLimit)
	require.Zero(t, p.Live())
	assert.PanicsWithError(t, `pool "quotes" (pool.quote): GetContext(nil): give a context, such as context.Background()`, func() {
		var none context.Context
		_, _ = p.GetContext(none)
	})
}

// GetContext does not wait for memory that is not the pool's.
func TestGetContextAtProcessLimit(t *testing.T) {
	needsOSMemory(t)
	p := New[quote](WithMaxSlots(1_000_000))
	defer SetProcessLimit(SetProcessLimit(1))
	_, err := p.GetContext(context.Background())
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, "SetProcessLimit")
	require.NoError(t, p.Close())
}

// CloseWhenEmpty ends waits, and so does Close where slots may be out.
func TestWaitsEndWithThePool(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "heap": {WithGoHeap()}} {
		for call, end := range map[string]func(p *Pool[quote]) error{"Close": (*Pool[quote]).Close, "CloseWhenEmpty": (*Pool[quote]).CloseWhenEmpty} {
			t.Run(name+" "+call, func(t *testing.T) {
				p, xs := atBound[quote](t, 3, opts...)
				errs := make(chan error, 5)
				for range cap(errs) {
					go func() {
						_, err := p.GetContext(patient(t))
						errs <- err
					}()
				}
				awaitWaiting(p, int32(cap(errs)))
				err := end(p)
				if name == "off-heap" && call == "Close" {
					require.ErrorIs(t, err, ErrInUse)
					require.NoError(t, p.CloseWhenEmpty())
				} else {
					require.NoError(t, err)
				}
				for range cap(errs) {
					require.ErrorIs(t, <-errs, ErrClosed)
				}
				if !p.core.depot.closed.Load() {
					p.PutBatch(xs)
				}
				require.ErrorIs(t, p.Close(), ErrClosed)
			})
		}
	}
}

// A Put on a P that is new ends a wait.
func TestGetContextAndNewP(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range times(50) {
		runtime.GOMAXPROCS(1)
		p, xs := atBound[quote](t, 4)
		var g group
		for range xs {
			g.Go(func() {
				x, err := p.GetContext(patient(t))
				assert.NoError(t, err)
				p.Put(x)
			})
		}
		awaitWaiting(p, 4)
		runtime.GOMAXPROCS(8)
		for _, x := range xs {
			g.Go(func() { p.Put(x) })
		}
		g.Wait()
		require.Zero(t, p.Live())
	}
}

// A WithInit function that panics for a waiter, and a WithReset function that panics while somebody
// waits, leave the slot to the next one.
func TestWaitsAndPanics(t *testing.T) {
	var broken atomic.Bool
	fail := func(*quote) {
		if broken.Swap(false) {
			panic(errors.New("broken"))
		}
	}
	for name, opts := range map[string][]Option{"plain": nil, "heap": {WithGoHeap()}, "init": {WithInit(func(*quote) {})}} {
		t.Run(name, func(t *testing.T) {
			p, xs := atBound[quote](t, 1, append(opts, WithReset(fail))...)
			got := aWait(t, p, 1)
			broken.Store(true)
			require.ErrorContains(t, caught(func() error { p.Put(xs[0]); return nil }), "broken")
			p.Put(<-got)
			require.Zero(t, p.Live())
		})
	}
	// The slot has to be made anew. The first one to wait panics, and the second one gets it.
	t.Run("init panics", func(t *testing.T) {
		p, xs := atBound[quote](t, 1, WithGoHeap(), WithInit(fail), WithReset(func(*quote) {
			panic(errors.New("broken reset"))
		}))
		ends := make(chan error)
		for range 2 {
			go func() {
				ends <- caught(func() error {
					x, err := p.GetContext(patient(t))
					if err == nil {
						p.core.reset = nil
						p.Put(x)
					}
					return err
				})
			}()
		}
		awaitWaiting(p, 2)
		broken.Store(true)
		require.ErrorContains(t, caught(func() error { p.Put(xs[0]); return nil }), "broken reset") // the slot is unmade
		first, second := <-ends, <-ends
		if first == nil {
			first, second = second, first // who was told second says so first
		}
		require.ErrorContains(t, first, "broken")
		require.NoError(t, second)
		require.Zero(t, p.Live())
	})
}

// What the collector takes makes room for those who wait.
func TestGetContextAfterForgottenSlots(t *testing.T) {
	p, xs := atBound[quote](t, 500, WithGoHeap())
	got := aWait(t, p, 1)
	clear(xs) // all are forgotten
	for {
		runtime.GC()
		select {
		case x := <-got:
			p.Put(x)
			assert.Positive(t, p.Stats().Lost)
			return
		default:
			p.core.tick()
			runtime.Gosched()
		}
	}
}

// The last Put closes the pool, by whichever call, and whatever the pool does with its slots.
func TestCloseWhenEmpty(t *testing.T) {
	ways := waysToPut(t)
	ways["Clear"] = func(p *Pool[quote], _ *quote) { p.Clear() }
	for name, opts := range kindsOfPool {
		for call, put := range ways {
			t.Run(name+" "+call, func(t *testing.T) {
				p := New[quote](opts...)
				var xs []*quote
				for range 3 {
					x, err := p.TryGet()
					require.NoError(t, err)
					xs = append(xs, x)
				}
				require.NoError(t, p.CloseWhenEmpty())
				require.ErrorIs(t, p.CloseWhenEmpty(), ErrClosed)
				_, err := p.TryGet()
				require.ErrorIs(t, err, ErrClosed)
				requirePanic(t, ErrClosed, func() { p.Get() })
				requirePanic(t, ErrClosed, func() { p.GetBatch(make([]*quote, 1)) })
				_, err = p.GetContext(context.Background())
				require.ErrorIs(t, err, ErrClosed)
				p.Put(xs[0])
				p.PutBatch(xs[1:2])
				require.Equal(t, 1, p.Live())
				require.NotNil(t, p.Deref(p.Ref(xs[2])), "the slot is still in use")
				p.Trim()
				require.ErrorIs(t, p.TryPut(xs[0]), ErrDoublePut)
				put(p, xs[2])
				require.True(t, p.core.depot.closed.Load())
				require.ErrorIs(t, p.Close(), ErrClosed)
			})
		}
	}
	p := New[quote]()
	xs := simBatch(p, 300)
	require.NoError(t, p.CloseWhenEmpty())
	p.PutBatch(xs)
	require.ErrorIs(t, p.Close(), ErrClosed)
	p = New[quote]()
	require.NoError(t, p.CloseWhenEmpty()) // nothing is in use
	require.ErrorIs(t, p.Close(), ErrClosed)
}

// Many goroutines put at the same time. One of the Puts closes the pool.
func TestCloseWhenEmptyContended(t *testing.T) {
	for range times(100) {
		p := New[quote](WithMaxSlots(1000))
		var g group
		for range 8 {
			xs := simBatch(p, 100)
			g.Go(func() {
				for _, x := range xs {
					p.Put(x)
				}
			})
		}
		require.NoError(t, p.CloseWhenEmpty())
		g.Wait()
		require.ErrorIs(t, p.Close(), ErrClosed)
	}
}

// Slots of the Go heap that the program has forgotten are not waited for, once the collector has taken
// them. Close may come before that.
func TestCloseWhenEmptyForgotten(t *testing.T) {
	p := New[quote](WithGoHeap())
	xs := simBatch(p, 1000)
	require.NoError(t, p.CloseWhenEmpty())
	kept := xs[500]
	clear(xs)
	for range 10 {
		p.core.tick()
		runtime.GC()
	}
	require.False(t, p.core.depot.closed.Load(), "one slot is in use")
	p.Put(kept)
	for !p.core.depot.closed.Load() {
		p.core.tick()
		runtime.GC()
		runtime.Gosched() // to who hears of it
	}
	other := New[quote](WithGoHeap())
	simBatch(other, 10)
	require.NoError(t, other.CloseWhenEmpty())
	require.NoError(t, other.Close())
	require.EqualValues(t, 10, other.Stats().Lost)
}

// Who is told to look for a slot and finds none is still the first.
func TestGetContextKeepsItsPlace(t *testing.T) {
	p, xs := atBound[quote](t, 1)
	served := make(chan int, 2)
	var g group
	for k := range 2 {
		g.Go(func() {
			x, err := p.GetContext(patient(t))
			assert.NoError(t, err)
			served <- k
			p.Put(x)
		})
		awaitWaiting(p, int32(k+1))
	}
	require.True(t, p.core.hand(nil))
	awaitWaiting(p, 2)
	p.Put(xs[0])
	g.Wait()
	assert.Equal(t, 0, <-served)
	assert.Equal(t, 1, <-served)
}

// A slot that was handed over is in the profile, like others.
func TestHandedOverSlotIsSampled(t *testing.T) {
	p, xs := atBound[quote](t, 1, WithProfile(1), WithName("handed over"))
	leaks := func() int {
		return len(slices.DeleteFunc(Leaks(), func(l Leak) bool { return l.Pool != "handed over" }))
	}
	require.Equal(t, 1, leaks())
	got := make(chan *quote)
	go func() {
		x, err := p.GetContext(patient(t))
		assert.NoError(t, err)
		got <- x
	}()
	awaitWaiting(p, 1)
	p.Put(xs[0])
	x := <-got
	assert.Equal(t, 1, leaks())
	p.Put(x)
	assert.Zero(t, leaks())
}

// A GetContext that has not begun is no Get.
func TestGetContextThatDoesNotBegin(t *testing.T) {
	p := closed()
	_, err := p.GetContext(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	st := p.Stats()
	assert.Zero(t, st.Gets)
	assert.Zero(t, st.FailedGets)
}
