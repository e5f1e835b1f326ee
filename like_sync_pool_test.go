package pool

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the tests of sync.Pool try (src/sync/pool_test.go of Go), tried with pools. A sync.Pool keeps
// nothing in builds with the race detector, and its tests are left out there. These run.
//
//	TestPool                   Pool, but a garbage collection takes nothing away
//	TestPoolNew                PoolNew
//	TestPoolGC                 PoolGC
//	TestPoolRelease            PoolRelease, but the slot stays, and what it refers to goes
//	TestPoolStress             PoolStress
//	TestPoolDequeue            PoolDequeue: the bound of the ring is that of the pool
//	TestPoolChain              PoolChain
//	TestNilPool                NilPool
//	BenchmarkPool and others   none here: benchmarks/ measures
func TestLikeSyncPool(t *testing.T) {
	kinds := map[string][]Option{"off the heap": nil, "Go heap": {WithGoHeap()}}
	for kind, opts := range kinds {
		t.Run("Pool/"+kind, func(t *testing.T) { likePool(t, opts...) })
		t.Run("PoolNew/"+kind, func(t *testing.T) { likePoolNew(t, opts...) })
		t.Run("PoolStress/"+kind, func(t *testing.T) { likePoolStress(t, opts...) })
		t.Run("PoolDequeue/"+kind, func(t *testing.T) { likeDequeue(t, 2000, 16, append(opts, WithMaxSlots(16))...) })
		t.Run("PoolChain/"+kind, func(t *testing.T) { likeDequeue(t, 20_000, 1<<20, opts...) })
	}
	t.Run("PoolGC", func(t *testing.T) { likePoolGC(t, true) })
	t.Run("PoolRelease", func(t *testing.T) { likePoolGC(t, false) })
	t.Run("PoolRelease/kept", likePoolKeeps)
	t.Run("NilPool", likeNilPool)
}

// A thing is an object that knows its number.
type thing struct{ id, value int64 }

// numbering is WithInit of things: each that is made has the next number.
func numbering(made *int64) Option {
	return WithInit(func(x *thing) {
		*made++
		x.id, x.value = *made, *made
	})
}

// putThings puts things and returns their numbers.
func putThings(p *Pool[thing], xs ...*thing) (ids []int64) {
	for _, x := range xs {
		ids = append(ids, x.id)
	}
	p.PutBatch(xs)
	return ids
}

// An empty pool makes objects. One that is not hands out those that were put, also after garbage
// collections.
func likePool(t *testing.T, opts ...Option) {
	oneP(t)
	var made int64
	p := newStill[thing](t, append(opts, numbering(&made))...)
	x, y := p.Get(), p.Get()
	require.EqualValues(t, 2, made)
	require.Equal(t, []int64{1, 2}, putThings(p, x, y))
	x, y = p.Get(), p.Get()
	require.EqualValues(t, 2, made, "those that were put")
	z := p.Get()
	require.EqualValues(t, 3, made, "no other one was put")
	require.ElementsMatch(t, []int64{1, 2, 3}, putThings(p, x, y, z))

	ids := putThings(p, simBatch(p, 100)...)
	for range 3 {
		runtime.GC()
		require.ElementsMatch(t, ids, putThings(p, simBatch(p, 100)...))
	}
	require.EqualValues(t, 100, made, "a garbage collection took objects away")
}

// The function for new objects is called if none was put. What was put comes back as it was.
func likePoolNew(t *testing.T, opts ...Option) {
	oneP(t)
	var made int64
	p := newStill[thing](t, append(opts, numbering(&made))...)
	x, y := p.Get(), p.Get()
	require.EqualValues(t, 1, x.value)
	require.EqualValues(t, 2, y.value)
	y.value = 42
	p.Put(y)
	y = p.Get()
	require.EqualValues(t, 42, y.value)
	z := p.Get()
	require.EqualValues(t, 3, z.value)
	p.PutBatch([]*thing{x, y, z})
}

// A holder refers to what the garbage collector is to take.
type holder struct{ resource *string }

// holdResources gets n slots that refer to a resource each, puts them all, and returns how many
// resources the garbage collector has taken.
func holdResources(p *Pool[holder], n int) *atomic.Int32 {
	taken := new(atomic.Int32)
	xs := simBatch(p, n)
	for _, x := range xs {
		x.resource = new(string)
		runtime.AddCleanup(x.resource, func(taken *atomic.Int32) { taken.Add(1) }, taken)
	}
	p.PutBatch(xs)
	return taken
}

// A slot that was put refers to nothing, whether somebody gets it again or not.
func likePoolGC(t *testing.T, drain bool) {
	oneP(t)
	p := newStill[holder](t, WithGoHeap())
	const n = 100
	taken := holdResources(p, n)
	var xs []*holder
	if drain {
		xs = simBatch(p, n)
		for _, x := range xs {
			require.True(t, x.resource == nil)
		}
	}
	gcUntil(t, func() bool { return taken.Load() >= n-1 }) // one may be on a stack
	p.PutBatch(xs)
}

// Objects that keep what they hold keep it through garbage collections, and until the pool gives
// their memory back.
func likePoolKeeps(t *testing.T) {
	oneP(t)
	p := newStill[holder](t, WithGoHeap(), WithInit(func(*holder) {}))
	const n = 100
	taken := holdResources(p, n)
	for range 3 {
		runtime.GC()
	}
	require.Zero(t, taken.Load())
	p.Trim()
	gcUntil(t, func() bool {
		p.core.tick() // what a Put has made strong stays until then
		return taken.Load() >= n-1
	})
}

// No user of an object meets what another one has left there.
func likePoolStress(t *testing.T, opts ...Option) {
	clears := New[thing](opts...)
	resets := New[thing](append(opts, WithInit(func(*thing) {}), WithReset(func(x *thing) { x.value = 0 }))...)
	n := times(5000)
	if testing.Short() {
		n = times(500)
	}
	for _, p := range []*Pool[thing]{clears, resets} {
		var wg group
		for range 10 {
			wg.Go(func() {
				x := p.Get()
				for range n {
					p.Put(x)
					if x = p.Get(); x.value != 0 {
						t.Errorf("got %d, want 0", x.value)
						break
					}
					x.value = 1
				}
				p.Put(x)
			})
		}
		wg.Wait()
		require.Zero(t, p.Live())
		require.NoError(t, p.Close())
	}
}

// One goroutine hands numbered slots to nine others, and takes some back itself. Each number
// arrives once.
func likeDequeue(t *testing.T, n, capacity int, opts ...Option) {
	p := New[thing](opts...)
	if n = times(n); testing.Short() {
		n /= 2
	}
	have := make([]atomic.Int32, n)
	queue := make(chan *thing, min(n, capacity))
	var inUse atomic.Int64
	record := func(x *thing) {
		have[x.value].Add(1)
		inUse.Add(-1)
		p.Put(x)
	}
	var wg group
	for range 9 {
		wg.Go(func() {
			for x := range queue {
				record(x)
			}
		})
	}
	most := int64(0)
	for i := range n {
		x, err := p.GetContext(t.Context())
		require.NoError(t, err)
		most = max(most, inUse.Add(1))
		x.value = int64(i)
		queue <- x
		if i%10 == 0 {
			select {
			case x := <-queue:
				record(x)
			default:
			}
		}
	}
	close(queue)
	wg.Wait()
	for i := range have {
		require.EqualValues(t, 1, have[i].Load(), "number %d", i)
	}
	assert.LessOrEqual(t, most, int64(capacity))
	assert.Zero(t, p.Live())
	require.NoError(t, p.Close())
}

// A nil pool panics, and says why.
func likeNilPool(t *testing.T) {
	const why = "pool: use of a Pool that New did not make; make it with pool.New"
	var p *Pool[thing]
	assert.PanicsWithError(t, why, func() { p.Get() })
	assert.PanicsWithError(t, why, func() { p.Put(new(thing)) })
	assert.PanicsWithError(t, why, func() { _, _ = p.TryGet() })
}
