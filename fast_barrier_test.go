//go:build linux && (amd64 || arm64) && !race && !asan && !msan && !pooldebug && !poolportable && !poolunknown && !go1.28

package pool

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// While all shards are stopped, nobody uses one: not even an operation that was in its first
// instructions when it was signalled. Without the barrier in waitForOwners this fails, because a
// processor may load signal before others see its store to busy.
func TestBarrierLitmus(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("one processor sees its own stores in order")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := newStill[[64]byte](t)
	c := &p.core
	var end atomic.Bool
	var users group
	for range 2 {
		users.Go(func() {
			for !end.Load() {
				for range 1000 {
					p.Put(p.GetNoZero())
				}
			}
		})
	}
	stops, broken := 0, 0
	for until := time.Now().Add(litmusTime()); time.Now().Before(until); stops++ {
		c.stopped(func(shards []*shard) {
			type state struct{ n, sampleIn, used uint32 }
			var before [4]state
			look := func(k int) state {
				s := shards[k]
				return state{atomic.LoadUint32(&s.lot.n), atomic.LoadUint32(&s.sampleIn), atomic.LoadUint32(&s.cur.used)}
			}
			for k := range min(len(shards), len(before)) {
				before[k] = look(k)
			}
			for range 30 {
				for k := range min(len(shards), len(before)) {
					if look(k) != before[k] {
						broken++
						return
					}
				}
			}
		})
	}
	end.Store(true)
	users.Wait()
	t.Logf("%d stops, %d broken", stops, broken)
	assert.Zero(t, broken, "of %d stops of the shards", stops)
	assert.Positive(t, stops)
	require.NoError(t, c.checkInvariants())
}

// litmusTime is long enough for the litmus test to fail, on the machines at hand, if the barrier is
// taken away.
func litmusTime() time.Duration {
	if testing.Short() {
		return stressTime()
	}
	return max(stressTime(), time.Second)
}

// A program that forbids itself membarrier, before or after its first pool, has pools that work:
// the clock ticks, Trim, Close and Gets at a limit find what is free. The world is stopped instead.
func TestBarrierForbidden(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		late  bool
		errno unix.Errno
	}{
		{"from the start, ENOSYS", false, unix.ENOSYS},
		{"from the start, EPERM", false, unix.EPERM},
		{"later, ENOSYS", true, unix.ENOSYS},
		{"later, EPERM", true, unix.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if !inChild(t) {
				return
			}
			if !test.late {
				forbid(t, unix.SYS_MEMBARRIER, test.errno)
			}
			p := New[[64]byte](WithLimit(4 << 16))
			p.Put(p.Get())
			if test.late {
				forbid(t, unix.SYS_MEMBARRIER, test.errno)
			}
			require.Equal(t, accessNosplit, p.Stats().Access)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
			all := 4 * p.Stats().SlotsPerPage
			for range 3 {
				var workers group
				for range 4 {
					workers.Go(func() {
						var xs []*[64]byte
						for range all / 4 { // all that there is, wherever the others have left it
							x, err := p.TryGet()
							if !assert.NoError(t, err) {
								break
							}
							xs = append(xs, x)
						}
						for _, x := range xs {
							p.Put(x)
						}
					})
				}
				workers.Wait()
				require.Zero(t, p.Stats().Live)
				p.Trim()
				assert.Zero(t, p.Stats().Pages)
			}
			for pages := 1; pages > 0; { // ticks release what idle shards have
				p.PutBatch(simBatch(p, 100))
				for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
					if pages = p.Stats().Pages; pages == 0 {
						break
					}
					time.Sleep(time.Millisecond)
				}
				require.Zero(t, pages, "no tick released them")
			}
			assert.Positive(t, ReadMemory().WorldStops)
			require.NoError(t, p.core.checkInvariants())
			require.NoError(t, p.Close())
		})
	}
}

// Instead of a barrier that is refused, the world is stopped: whoever was pinned has ended.
func TestBarrierStopsTheWorld(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	refuseBarriers(t)
	for range 10 {
		var begun, ended atomic.Bool
		var work group
		work.Go(func() {
			procPin()
			begun.Store(true)
			for range 5_000_000 { // some milliseconds
				ended.Store(false)
			}
			ended.Store(true)
			procUnpin()
		})
		for !begun.Load() {
			runtime.Gosched()
		}
		barrier()
		assert.True(t, ended.Load())
		work.Wait()
	}
}

// A stop of the world that has begun says nothing about what comes later.
func TestWorldStopsThatHaveBegun(t *testing.T) {
	refuseBarriers(t)
	stops := worldStops()
	for k := range uint64(20) {
		barriers.mu.Lock()
		barriers.begun.Add(1)
		var ready atomic.Bool
		var work group
		work.Go(func() {
			ready.Store(true)
			barrier()
		})
		for n := 0; n < 1000 || !ready.Load(); n++ {
			runtime.Gosched() // until it waits; it makes its own stop in any case
		}
		barriers.worldStops.Add(1)
		barriers.mu.Unlock()
		work.Wait()
		assert.Equal(t, stops+2*(k+1), worldStops())
	}
}

// Stops that wait for a barrier at the same time share one stop of the world.
func TestWorldStopsAreShared(t *testing.T) {
	refuseBarriers(t)
	const callers = 16
	stops := worldStops()
	barriers.mu.Lock() // as while the world is being stopped
	var ready, done group
	ready.Add(callers)
	for range callers {
		done.Go(func() {
			ready.Done()
			barrier()
		})
	}
	ready.Wait()
	for range 1000 {
		runtime.Gosched() // until most of them wait; the bounds below hold in any case
	}
	barriers.mu.Unlock()
	done.Wait()
	got := worldStops() - stops
	assert.Positive(t, got)
	assert.LessOrEqual(t, got, uint64(callers))
	t.Logf("%d callers, %d stops", callers, got)
}
