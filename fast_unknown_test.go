//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && linux && (amd64 || arm64) && (go1.28 || poolunknown)

package pool

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With a release of Go that nobody has checked, shards are pinned if the system has a barrier at the first
// New, and locked otherwise. That does not change later: if a barrier is refused then, a collection of
// garbage takes its place; and if there is one then, shards stay locked.
func TestUnknownRelease(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, then bool // whether the system has a barrier
		access      string
		stops       bool
	}{
		{"barrier", true, true, accessPinned, false},
		{"barrier refused later", true, false, accessPinned, true},
		{"no barrier", false, false, accessLocked, false},
		{"barrier later", false, true, accessLocked, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !inChild(t) {
				return
			}
			if test.first && !osBarrier() {
				t.Skip("the system has no barrier")
			}
			setBarrier(test.first)
			runtime.GOMAXPROCS(2)
			first := New[[64]byte]()
			assert.Equal(t, test.access, first.Stats().Access)
			setBarrier(test.then)
			useFromAll(t, first)
			useFromAll(t, New[[64]byte](WithLimit(1<<20)))
			for _, st := range ReadStats() {
				assert.Equal(t, test.access, st.Access)
			}
			assert.Equal(t, test.stops, ReadMemory().WorldStops > 0)
		})
	}
}

// setBarrier makes the system have a barrier, or refuse it.
func setBarrier(has bool) {
	sys := *system.Load()
	sys.barrier = osBarrier
	if !has {
		sys.barrier = func() bool { return false }
	}
	system.Store(&sys)
}

// useFromAll uses a pool from more and more Ps, while others stop its shards, and closes it.
func useFromAll(t *testing.T, p *Pool[[64]byte]) {
	shards := len(p.core.shards.Load().present())
	if !pinned {
		assert.Equal(t, runtime.GOMAXPROCS(0), shards, "shards of a new pool")
	} else {
		assert.Zero(t, shards, "shards of a new pool")
	}
	for _, procs := range []int{2, 8, 1, 4} {
		runtime.GOMAXPROCS(procs)
		var end atomic.Bool
		var users, others group
		for g := range byte(8) {
			users.Go(func() {
				xs := make([]*[64]byte, 100)
				for range 50 {
					for i := range xs {
						xs[i] = p.Get()
						assert.Zero(t, *xs[i])
						xs[i][0], xs[i][63] = g+1, g+1
					}
					for i, x := range xs {
						assert.True(t, x[0] == g+1 && x[63] == g+1, "a slot was handed out twice")
						if i%2 == 0 {
							p.Put(x)
						}
					}
					for i := 1; i < len(xs); i += 2 {
						p.Put(xs[i])
					}
					p.PutBatch(simBatch(p, 50))
				}
			})
		}
		others.Go(func() {
			for !end.Load() {
				p.Trim()
				p.Stats()
				p.core.tick()
				runtime.Gosched()
			}
		})
		users.Wait()
		end.Store(true)
		others.Wait()
		require.NoError(t, p.core.checkInvariants())
	}
	if !pinned {
		assert.Len(t, p.core.shards.Load().shards, shards)
	} else {
		assert.NotEmpty(t, p.core.shards.Load().present())
	}
	st := p.Stats()
	assert.Zero(t, st.Live)
	assert.Positive(t, st.Gets)
	p.Trim()
	assert.Zero(t, p.Stats().Pages)
	x := p.Get()
	assert.ErrorIs(t, p.Close(), ErrInUse)
	p.Put(x)
	require.NoError(t, p.Close())
	_, err := p.TryGet()
	assert.ErrorIs(t, err, ErrClosed)
}
