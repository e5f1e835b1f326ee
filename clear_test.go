package pool

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clear takes back every slot, whatever page it is in and however it was got, and ends all Refs. The
// pool is as good as new afterwards.
func TestClear(t *testing.T) {
	for name, opts := range map[string][]Option{
		"plain":   nil,
		"guards":  {WithGuardSampling(3)},
		"profile": {WithProfile(1000)},
		"limit":   {WithLimit(64 << 20)},
		"slots":   {WithMaxSlots(10_000)},
		"heap":    {WithGoHeap()},
		"init":    {WithGoHeap(), WithInit(func(x *[256]byte) { x[0] = 1 })},
		"reset":   {WithReset(func(x *[256]byte) { clear(x[:]) })},
	} {
		t.Run(name, func(t *testing.T) {
			p := newStill[[256]byte](t, opts...)
			first := byte(0)
			if name == "init" {
				first = 1
			}
			for range 3 {
				xs := simBatch(p, times(5000))
				var refs []Ref[[256]byte]
				for _, x := range xs {
					x[0], x[1] = 7, 7
					refs = append(refs, p.Ref(x))
				}
				p.PutBatch(xs[:len(xs)/3]) // some are parked, and some pages are retired
				x, err := p.TryGet()       // may be guarded
				require.NoError(t, err)
				refs = append(refs, p.Ref(x))

				p.Clear()
				require.Zero(t, p.Live())
				require.Zero(t, p.Stats().Live)
				require.Zero(t, p.Stats().Pages)
				require.Zero(t, p.core.depot.slots)
				require.NoError(t, p.core.checkInvariants())
				for _, r := range refs {
					require.Nil(t, p.Deref(r))
					require.False(t, p.PutRef(r))
				}
				for range p.All() {
					require.Fail(t, "All finds a slot after Clear")
				}
				require.ErrorIs(t, caught(func() error { p.Put(xs[len(xs)-1]); return nil }), ErrDoublePut)
				require.Empty(t, p.core.watches.samples)

				xs = simBatch(p, len(xs))
				for _, x := range xs {
					require.Equal(t, [2]byte{first}, [2]byte(x[:2]))
				}
				p.PutBatch(xs)
			}
			assert.Positive(t, p.Stats().Releases)
		})
	}
}

// After Clear, the memory goes back as after Close.
func TestClearGivesMemoryBack(t *testing.T) {
	needsOSMemory(t)
	p := newStill[[1024]byte](t)
	simBatch(p, times(20_000))
	held := p.Stats().MappedBytes
	p.Clear()
	assert.Equal(t, held, p.Trim())
}

// Clear refuses where it sees another call, and changes nothing.
func TestClearRefuses(t *testing.T) {
	t.Parallel()
	p := newStill[quote](t, WithMaxSlots(100))
	x := p.Get()
	require.Equal(t, 1, p.Live())

	s := p.core.shards.Load().present()[0] // somebody uses it
	if pinned {
		s.busy = 1
	} else {
		s.mu.Lock()
	}
	err := caught(func() error { p.Clear(); return nil })
	if pinned {
		s.busy = 0
	} else {
		s.mu.Unlock()
	}
	require.ErrorIs(t, err, ErrInUse)
	assert.Contains(t, err.Error(), "another call")

	p.core.depot.transit.enter() // somebody has a page
	err = caught(func() error { p.Clear(); return nil })
	p.core.depot.transit.undo()
	require.ErrorIs(t, err, ErrInUse)

	p.core.waiters.n.Add(1) // somebody waits for a slot
	err = caught(func() error { p.Clear(); return nil })
	p.core.waiters.n.Add(-1)
	require.ErrorIs(t, err, ErrInUse)

	require.Equal(t, 1, p.Live())
	p.Put(x)
	p.Clear() // nothing is out
	require.ErrorIs(t, caught(func() error { closed().Clear(); return nil }), ErrClosed)
}

// A tick of the clock does not make Clear refuse.
func TestClearWhileTicking(t *testing.T) {
	p := New[quote]()
	done := make(chan struct{})
	var g group
	g.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				p.core.tick()
				runtime.Gosched()
			}
		}
	})
	for range times(300) {
		simBatch(p, 3000)
		p.Clear()
		require.Zero(t, p.Live())
	}
	close(done)
	g.Wait()
	require.NoError(t, p.Close())
}

// Clear ends a pool that waits to be closed.
func TestClearWhileClosing(t *testing.T) {
	p := New[quote]()
	simBatch(p, 100)
	require.NoError(t, p.CloseWhenEmpty())
	p.Clear()
	require.ErrorIs(t, p.Close(), ErrClosed)
}

// Live is Stats.Live, and needs none of the locks that a Get may want.
func TestLive(t *testing.T) {
	for name, opts := range map[string][]Option{"plain": nil, "guards": {WithGuardSampling(2)}, "heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			p := newStill[[64]byte](t, opts...)
			require.Zero(t, p.Live())
			var xs []*[64]byte
			for range 5000 {
				x, err := p.TryGet()
				require.NoError(t, err)
				xs = append(xs, x)
			}
			for n := len(xs); n > 0; n -= 100 {
				require.Equal(t, n, p.Live())
				require.Equal(t, n, p.Stats().Live)
				p.PutBatch(xs[n-100 : n])
			}
			p.core.searches.mu.Lock()
			p.core.stopMu.Lock()
			p.core.depot.mu.Lock()
			p.core.waiters.mu.Lock()
			require.Zero(t, p.Live())
			p.core.waiters.mu.Unlock()
			p.core.depot.mu.Unlock()
			p.core.stopMu.Unlock()
			p.core.searches.mu.Unlock()
		})
	}
	assert.Zero(t, closed().Live())
}

// Live is somewhere between what was in use before and after, while others get, put and release pages.
func TestLiveWhileOthersWork(t *testing.T) {
	p := newStill[[1024]byte](t)
	kept := simBatch(p, 1000)
	done := make(chan struct{})
	var g group
	for range 4 {
		g.Go(func() {
			xs := make([]*[1024]byte, 300)
			for {
				select {
				case <-done:
					return
				default:
					p.GetBatch(xs)
					p.PutBatch(xs)
					p.core.tick()
					runtime.Gosched()
				}
			}
		})
	}
	for until := time.Now().Add(50 * time.Millisecond); time.Now().Before(until); runtime.Gosched() {
		p.Live() // any number is right, but nothing crashes
	}
	close(done)
	g.Wait()
	require.Equal(t, len(kept), p.Live())
	p.PutBatch(kept)
}

// A slot whose page was cleared is not found by arithmetic on old pages.
func TestClearThenForeignPut(t *testing.T) {
	p, other := newStill[[64]byte](t), newStill[[64]byte](t)
	x := p.Get()
	p.Clear()
	y := other.Get() // most likely the same memory
	err := caught(func() error { p.Put(x); return nil })
	require.ErrorIs(t, err, ErrForeignPut)
	if unsafe.Pointer(x) != unsafe.Pointer(y) {
		require.ErrorIs(t, err, ErrDoublePut)
	}
	other.Put(y)
}
