package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// searchesOf returns how many searches f leads to.
func searchesOf(c *core, f func()) int {
	before := c.searches.begun.Load()
	f()
	return int(c.searches.begun.Load() - before)
}

// A pool without a free slot is searched once, and its shards are not stopped again until a slot is
// put.
func TestExhaustedPoolIsSearchedOnce(t *testing.T) {
	p := newStill[[1024]byte](t, WithLimit(2<<16))
	c := &p.core
	var xs []*[1024]byte
	assert.Equal(t, 1, searchesOf(c, func() { xs = fillUp(t, p) }))
	for range 3 {
		assert.Zero(t, searchesOf(c, func() {
			for range 100 {
				_, err := p.TryGet()
				require.ErrorIs(t, err, ErrLimit)
				requirePanic(t, ErrLimit, func() { p.GetBatch(make([]*[1024]byte, 2)) })
			}
		}))
		p.Put(xs[0])
		assert.LessOrEqual(t, searchesOf(c, func() { xs[0] = p.Get() }), 1)
		assert.Equal(t, 1, searchesOf(c, func() {
			_, err := p.TryGet()
			require.ErrorIs(t, err, ErrLimit)
		}))
	}
	p.PutBatch(xs)
}

// After a search that found nothing, a Get on whatever P finds each slot that becomes free, however
// that comes.
func TestExhaustionEnds(t *testing.T) {
	skipUnlessPinned(t)
	profiled := options{profileRate: 1, startProfile: func() {}}
	for _, test := range []struct {
		name string
		o    options
		free func(c *core, xs []unsafe.Pointer) // makes one slot free
	}{
		{"Put", options{}, func(c *core, xs []unsafe.Pointer) { c.put(xs[0]) }},
		{"PutBatch", options{}, func(c *core, xs []unsafe.Pointer) { c.putBatch(xs[:1]) }},
		{"PutRef", options{}, func(c *core, xs []unsafe.Pointer) { require.True(t, c.putRef(c.ref(xs[0]))) }},
		{"Put of a sampled slot", profiled, func(c *core, xs []unsafe.Pointer) { c.put(xs[0]) }},
		{"PutBatch of a sampled slot", profiled, func(c *core, xs []unsafe.Pointer) { c.putBatch(xs[:1]) }},
		{"Put, and a tick", options{}, func(c *core, xs []unsafe.Pointer) {
			c.put(xs[0])
			for range 3 {
				c.tick()
			}
		}},
		{"Put on a new P", options{}, func(c *core, xs []unsafe.Pointer) {
			before := c.shards.Load().shards
			use := func(t *shardTable) {
				c.shards.Store(t)
				c.fast.store(t)
			}
			use(&shardTable{core: c, shards: append([]*shard{&c.absent}, before[1:]...)})
			c.put(xs[0])
			use(&shardTable{core: c, shards: append(c.shards.Load().shards, before[0])})
		}},
		{"a page that another Get has made", options{}, func(c *core, xs []unsafe.Pointer) {
			c.spec.maxPages++
			pg, err := c.depot.fresh()
			require.NoError(t, err)
			require.False(t, c.isExhausted(), "a page is in transit")
			s := c.shards.Load().shards[2]
			s.attach(pg)
			for range c.geo.slots - 1 { // all but one are taken
				s.get()
			}
			c.settle(s.takeOutbox())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.limit = 2 << 16
			c, shards := sim(t, 1024, 4, test.o)
			xs := make([]unsafe.Pointer, 2*c.geo.slots)
			on(c, shards[1], func() {
				for k := range xs {
					xs[k] = c.get()
				}
				_, _, err := c.tryGet()
				require.ErrorIs(t, err, ErrLimit)
				require.True(t, c.isExhausted())
			})
			test.free(c, xs)
			assert.False(t, c.isExhausted())
			require.NoError(t, c.checkInvariants())
			on(c, shards[3], func() {
				_, _, err := c.tryGet()
				require.NoError(t, err)
				_, _, err = c.tryGet()
				require.ErrorIs(t, err, ErrLimit)
			})
			assert.True(t, c.isExhausted())
			require.NoError(t, c.checkInvariants())
		})
	}
}

// A guard that is put makes room for a page, also after a search that found nothing.
func TestExhaustionEndsByGuard(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	p := newStill[[400_000]byte](t, WithGuardSampling(1), WithLimit(16<<22))
	xs := fillUp(t, p)
	require.Positive(t, p.Stats().GuardedGets)
	require.True(t, p.core.isExhausted())
	put := 0
	for k := len(xs) - 1; k >= 0; k-- {
		if pageOf(uintptr(unsafe.Pointer(xs[k]))).guard != nil {
			p.Put(xs[k])
			xs = append(xs[:k], xs[k+1:]...)
			if put++; put == 2 { // there is room for at least a page
				break
			}
		}
	}
	require.Positive(t, put)
	require.False(t, p.core.isExhausted())
	x, err := p.TryGet()
	require.NoError(t, err)
	p.PutBatch(append(xs, x))
}

// A pool that was exhausted has room again when the limit of the process is raised.
func TestExhaustionAndProcessLimit(t *testing.T) {
	needsOSMemory(t)
	newArena(t)
	SetProcessLimit(2 << 16)
	defer SetProcessLimit(0)
	p := newStill[[1024]byte](t)
	xs := fillUp(t, p)
	SetProcessLimit(3 << 16)
	more := fillUp(t, p)
	assert.Len(t, more, p.Stats().SlotsPerPage)
	p.PutBatch(append(xs, more...))
}

// searching matches a goroutine that waits for the search of another one.
var searching = regexp.MustCompile(`(?m)^goroutine \d+ \[sync\.Mutex\.Lock[^]]*\]:\n(.+\n)*.*\(\*(core\)\.search|Bytes\)\.takeFromKin)\(`)

// waitForSearching returns when n goroutines wait for the search of another one.
func waitForSearching(n int) {
	for buf := make([]byte, 4<<20); ; runtime.Gosched() {
		if len(searching.FindAllIndex(buf[:runtime.Stack(buf, true)], -1)) >= n {
			return
		}
	}
}

// Gets that wait for a search share the next one: if it finds nothing, they all fail, and if it finds
// pages, each takes one.
func TestSearchesAreShared(t *testing.T) {
	const pages = 16
	for _, free := range []int{0, pages} {
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			p := newStill[[1024]byte](t, WithLimit(pages<<16))
			n := p.Stats().SlotsPerPage
			xs := simBatch(p, pages*n)
			var wg group
			var got [pages]*[1024]byte
			var failed atomic.Int64
			searches := searchesOf(&p.core, func() {
				p.core.searches.mu.Lock() // as during a search
				for k := range got {
					wg.Go(func() {
						var err error
						if got[k], err = p.TryGet(); err != nil {
							assert.ErrorIs(t, err, ErrLimit)
							failed.Add(1)
						}
					})
				}
				waitForSearching(pages)
				for k := range free {
					p.Put(xs[k*n])
					xs[k*n] = nil
				}
				p.core.searches.mu.Unlock()
				wg.Wait()
			})
			assert.Equal(t, 1, searches)
			assert.EqualValues(t, pages-free, failed.Load())
			p.PutBatch(append(xs, got[:]...))
		})
	}
}

// A Get does not go by a search that began before it, whether that is under way or has ended: a slot
// may have been put since.
func TestSearchBeganBefore(t *testing.T) {
	if debugging {
		t.Skip("a slot in quarantine makes a search go on")
	}
	for _, underWay := range []bool{true, false} {
		t.Run(fmt.Sprint(underWay), func(t *testing.T) {
			oneP(t)
			newArena(t)
			p := newStill[[400_000]byte](t)
			xs := simBatch(p, p.Stats().SlotsPerPage)
			p.Put(xs[0]) // so that the Put below need not wake the clock, which looks at the arena
			xs[0] = p.Get()
			before := system.Load()
			defer system.Store(before)
			refuse := *before
			commits := 0
			var late group
			search := func() {
				pg, err := p.core.search(ErrLimit)
				if assert.NoError(t, err) {
					p.core.depot.receive(pg)
				}
			}
			refuse.commit = func([]byte) error {
				if commits++; commits == 2 { // the Get has searched
					p.Put(xs[0])
					if underWay {
						late.Go(search)
						waitForSearching(1)
					}
				}
				return errors.New("injected fault")
			}
			system.Store(&refuse)
			_, failed := p.TryGet()
			require.ErrorIs(t, failed, ErrOutOfMemory)
			if !underWay {
				search()
			}
			late.Wait()
			x, err := p.TryGet()
			require.NoError(t, err)
			xs[0] = x
			p.PutBatch(xs)
		})
	}
}

// After a search that found nothing, the next one does not begin before its rest is over. After one
// that found something, there is none.
func TestSearchRests(t *testing.T) {
	if stepping {
		t.Skip("this build has no time")
	}
	p := newStill[[1024]byte](t, WithLimit(1<<16))
	q := &p.core.searches
	xs := fillUp(t, p)
	require.Positive(t, q.rest)
	require.LessOrEqual(t, q.rest, restMost)
	q.rest = 20 * time.Millisecond
	ended, over := q.ended, q.ended.Add(q.rest)
	p.Put(xs[0])
	pg, err := p.core.search(ErrLimit)
	require.NoError(t, err)
	assert.False(t, time.Now().Before(over), "the search began before %v were over", over.Sub(ended))
	assert.Zero(t, q.rest)
	p.core.depot.receive(pg)
	p.PutBatch(xs[1:])
}

// Gets that wait for a search end when the pool is closed.
func TestCloseWhileGetsSearch(t *testing.T) {
	const n = 16
	p := New[[1024]byte](WithLimit(1 << 16))
	xs := simBatch(p, p.Stats().SlotsPerPage)
	p.core.searches.mu.Lock() // as during a search
	var wg group
	for range n {
		wg.Go(func() {
			_, err := p.TryGet()
			assert.ErrorIs(t, err, ErrClosed)
		})
	}
	waitForSearching(n)
	p.PutBatch(xs)
	assert.NoError(t, p.Close())
	p.core.searches.mu.Unlock()
	wg.Wait()
}

// A Get fails at the limit only if there was a moment during the call at which all slots were in
// use, or in the hands of other Gets and Puts. (TestSteps verifies that too.)
func TestLimitIsExact(t *testing.T) {
	for _, procs := range []int{2, 32} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			p := New[[1024]byte](WithLimit(1 << 16))
			slots := int64(p.Stats().SlotsPerPage)
			// used counts the slots that may not be free, and over how often it was more than
			// there are: before a Get begins, and after a Put has ended.
			var used, over, refused atomic.Int64
			var wg group
			for g := range 64 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(g), 1))
					var mine []*[1024]byte
					for range times(2000) {
						if rng.IntN(2) == 0 && len(mine) > 0 {
							p.Put(mine[0])
							used.Add(-1)
							mine = mine[1:]
							continue
						}
						if len(mine) == 2 || rng.IntN(3) == 0 {
							runtime.Gosched()
							continue
						}
						before := over.Load()
						n := used.Add(1)
						if n > slots {
							over.Add(1)
						}
						x, err := p.TryGet()
						if err == nil {
							x[0] = 1
							mine = append(mine, x)
							continue
						}
						if n <= slots && over.Load() == before {
							assert.NoError(t, err, "%d of %d slots were in use", n, slots)
						}
						used.Add(-1)
						refused.Add(1)
					}
					for _, x := range mine {
						p.Put(x)
					}
				})
			}
			wg.Wait()
			t.Logf("%d Gets refused, %d searches", refused.Load(), p.core.searches.begun.Load())
			require.NoError(t, p.core.checkInvariants())
			require.NoError(t, p.Close())
		})
	}
}
