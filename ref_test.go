package pool

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A linked object is a pooled type whose values refer to each other.
type linked struct {
	next, prev Ref[linked]
	quote      Ref[quote] // of another pool
}

func TestRef(t *testing.T) {
	oneP(t)
	p, other := newStill[linked](t), newStill[linked](t)
	require.EqualValues(t, 8, unsafe.Sizeof(Ref[linked]{}))
	require.NoError(t, CheckType[linked]())
	var zero Ref[linked]
	assert.True(t, zero.IsZero())
	assert.Nil(t, p.Deref(zero))
	assert.False(t, p.PutRef(zero))
	assert.Equal(t, zero, p.Ref(nil))
	assert.Equal(t, "ref(nil)", zero.String())

	x, y := p.Get(), p.Get()
	r, q := p.Ref(x), p.Ref(y)
	assert.False(t, r.IsZero())
	assert.NotEqual(t, r, q)
	assert.Equal(t, r, p.Ref(x), "one slot, one Ref")
	assert.NotEqual(t, r.String(), q.String())
	assert.Same(t, x, p.Deref(r))
	assert.Same(t, y, p.Deref(q))
	assert.Nil(t, other.Deref(r), "another pool's")
	assert.False(t, other.PutRef(r))
	theirs := other.Get()
	theirRef := other.Ref(theirs)
	assert.Nil(t, p.Deref(theirRef))
	assert.NotEqual(t, r, theirRef)
	x.next, y.prev = q, r
	assert.Same(t, x, p.Deref(p.Deref(x.next).prev))
	quotes := newStill[quote](t)
	x.quote = quotes.Ref(quotes.Get())
	assert.NotNil(t, quotes.Deref(x.quote))
	assert.True(t, quotes.PutRef(x.quote))
	byRef := map[Ref[linked]]int{r: 1, q: 2, theirRef: 3}
	assert.Equal(t, 2, byRef[p.Ref(y)])

	p.Put(x)
	assert.Nil(t, p.Deref(r), "put")
	again := p.Get()
	require.Same(t, x, again, "the same slot")
	assert.Nil(t, p.Deref(r), "and another object")
	fresh := p.Ref(again)
	assert.NotEqual(t, r, fresh)
	generation := fresh.id >> 32
	assert.True(t, p.PutRef(fresh))
	assert.False(t, p.PutRef(fresh))
	next := p.Ref(p.Get())
	assert.EqualValues(t, 1, next.id>>32-generation, "one generation a Put")
	require.True(t, p.PutRef(next))
	assert.Nil(t, p.Deref(fresh))
	p.PutBatch([]*linked{y})
	assert.Nil(t, p.Deref(q), "put in a batch")
	other.Put(theirs)
}

func TestRefMisuse(t *testing.T) {
	p, other := newStill[quote](t), newStill[quote](t)
	x := p.Get()
	requirePanic(t, ErrForeignPut, func() { other.Ref(x) })
	requirePanic(t, ErrForeignPut, func() { p.Ref(new(quote)) })
	requirePanic(t, ErrForeignPut, func() { p.Ref((*quote)(unsafe.Pointer(&x.price))) })
	p.Put(x)
	requirePanic(t, ErrDoublePut, func() { p.Ref(x) })
	requirePanic(t, ErrDoublePut, func() { p.Put(x) })

	q := New[quote]()
	x = q.Get()
	r := q.Ref(x)
	q.Put(x)
	require.NoError(t, q.Close())
	assert.Nil(t, q.Deref(r))
	assert.False(t, q.PutRef(r))
	requirePanic(t, ErrClosed, func() { q.Ref(x) })
	requirePanic(t, ErrClosed, func() {
		for range q.All() {
			t.Error("nothing is left")
		}
	})
}

// A Ref stays stale when its slot's page has been released and the memory, and the
// numbers, are another page's.
func TestRefOutlivesPage(t *testing.T) {
	for _, size := range []uintptr{8, 64, 9000} {
		c, shards := sim(t, size, 1)
		stale := make(map[uint64]bool)
		for range 5 {
			xs := simFill(t, c, shards[0], int(c.geo.slots)+3)
			for _, x := range xs {
				id := c.ref(x)
				require.False(t, stale[id], "a Ref is used again")
				require.Equal(t, x, uintptr(c.deref(id)))
				stale[id] = true
			}
			for _, x := range xs {
				c.endRefs(x)
				require.True(t, simPut(c, shards[0], x))
			}
			for id := range stale {
				require.Nil(t, c.deref(id))
			}
			c.trim()
			require.Empty(t, c.depot.pages)
			for id := range stale {
				require.Nil(t, c.deref(id))
			}
		}
		require.NotEmpty(t, refs.free, "units are used again")
	}
}

// Generations wrap, and leave out 0; units whose generations have come far are
// given up.
func TestRefWrap(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	x := p.Get()
	p.Ref(x)
	pg := pageOf(uintptr(unsafe.Pointer(x)))
	u := pg.refs.Load()
	i, _ := pg.indexOf(uintptr(unsafe.Pointer(x)))
	u.gens[i].Store(math.MaxUint32 - 1)
	seen := make(map[Ref[quote]]bool)
	for k := range 6 {
		r := p.Ref(x)
		require.False(t, seen[r])
		seen[r] = true
		require.Same(t, x, p.Deref(r))
		if k%2 == 0 {
			p.Put(x)
		} else {
			require.True(t, p.PutRef(r))
		}
		require.Nil(t, p.Deref(r))
		x = p.Get()
	}
	u.gens[i].Store(1 << 31)
	p.Put(x)
	p.Trim()
	requireGivenUp(t, u)
}

// A pool that never takes a Ref has nothing of it.
func TestNoRefs(t *testing.T) {
	p := newStill[quote](t)
	xs := simBatch(p, 5000)
	p.PutBatch(xs[1:])
	p.Put(xs[0])
	assert.False(t, p.core.hasRefs.Load())
	for _, pg := range p.core.depot.pages {
		assert.Nil(t, pg.refs.Load())
	}
}

// Of many goroutines that put by one Ref, one does; and who follows Refs of slots
// that others put sees the slot or nothing, never another object.
func TestRefConcurrent(t *testing.T) {
	if raceEnabled {
		t.Skip("who puts a slot that others look at by its Ref has a race, and is told so")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[atomic.Uint64]()
	const slots = 512
	var table [slots]atomic.Uint64 // Refs, of objects that hold their Ref's id
	place := func(rng *rand.Rand) {
		x := p.Get()
		r := p.Ref(x)
		x.Store(r.id)
		if old := table[rng.IntN(slots)].Swap(r.id); old != 0 {
			p.PutRef(Ref[atomic.Uint64]{old})
		}
	}
	var puts, derefs, wrong atomic.Int64
	var wg group
	for g := range 64 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 3000 {
				switch id := table[rng.IntN(slots)].Load(); rng.IntN(4) {
				case 0:
					place(rng)
				case 1:
					if id != 0 && p.PutRef(Ref[atomic.Uint64]{id}) {
						puts.Add(1)
					}
				default:
					if x := p.Deref(Ref[atomic.Uint64]{id}); x != nil {
						derefs.Add(1)
						// It may have been put since, and even handed out again; then its
						// Ref is stale by now.
						if x.Load() != id && p.Deref(Ref[atomic.Uint64]{id}) != nil {
							wrong.Add(1)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	assert.Positive(t, puts.Load())
	assert.Positive(t, derefs.Load())
	assert.Zero(t, wrong.Load())
	require.NoError(t, p.core.checkInvariants())
	live := p.Stats().Live
	n := 0
	for r, x := range p.All() {
		n++
		assert.Equal(t, r.id, x.Load())
		assert.True(t, p.PutRef(r))
	}
	assert.Equal(t, live, n)
	require.NoError(t, p.Close())
}

func TestPutRefOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[quote]()
	for range 500 {
		r := p.Ref(p.Get())
		var won atomic.Int64
		var wg group
		for range 8 {
			wg.Go(func() {
				if p.PutRef(r) {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
	}
	require.NoError(t, p.Close())
}

func TestAll(t *testing.T) {
	p := newStill[[64]byte](t)
	for range p.All() {
		t.Error("nothing is in use")
	}
	xs := simBatch(p, 3000)
	live := make(map[*[64]byte]bool)
	for k, x := range xs {
		if k%3 == 0 {
			p.Put(x)
		} else {
			live[x] = true
		}
	}
	seen := make(map[*[64]byte]bool)
	for r, x := range p.All() {
		require.True(t, live[x])
		require.False(t, seen[x], "comes once")
		require.Same(t, x, p.Deref(r))
		seen[x] = true
	}
	assert.Len(t, seen, len(live))

	n := 0
	for range p.All() {
		if n++; n == 10 {
			break
		}
	}
	n = 0
	for r, x := range p.All() { // each is put, and with it the next one
		n++
		delete(live, x)
		p.PutRef(r)
		for y := range live {
			delete(live, y)
			p.Put(y)
			break
		}
	}
	assert.Equal(t, len(seen)/2, n)
	assert.Zero(t, p.Stats().Live)
}

// All never yields the Ref of a slot that is free: a Put ends the generation and
// frees the slot in one, as far as others can see.
func TestAllAgainstPut(t *testing.T) {
	needsPreemption(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := New[quote]()
	p.PutRef(p.Ref(p.Get()))
	var last atomic.Uint64
	var loops atomic.Int64
	var stop atomic.Bool
	var wg group
	wg.Go(func() {
		for !stop.Load() {
			for r := range p.All() {
				last.Store(r.id)
			}
			loops.Add(1)
		}
	})
	for k := 0; k < 100_000 || loops.Load() < 100 || last.Load() == 0; k++ {
		if x := p.Get(); k%3 == 0 {
			p.PutRef(p.Ref(x))
		} else {
			p.Put(x)
		}
		if r := (Ref[quote]{last.Load()}); !assert.Nil(t, p.Deref(r), "nothing is in use") {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	assert.NotZero(t, last.Load())
	require.NoError(t, p.Close())
}

// A slot that waits in a parking lot is not in use.
func TestRefOfParkedSlot(t *testing.T) {
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 3)
	require.True(t, simPut(c, shards[1], xs[0]))
	requirePanic(t, ErrDoublePut, func() { c.ref(xs[0]) })
	c.ref(xs[1])
}

// A slot whose generation has wrapped does not meet its old ones again sooner for
// what its neighbours' are.
func TestRefWrapOfNeighbour(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	x, y := p.Get(), p.Get()
	p.Ref(x)
	pg := pageOf(uintptr(unsafe.Pointer(x)))
	u := pg.refs.Load()
	i, _ := pg.indexOf(uintptr(unsafe.Pointer(x)))
	j, _ := pg.indexOf(uintptr(unsafe.Pointer(y)))
	u.gens[i].Store(math.MaxUint32)
	u.gens[j].Store(1<<31 - 3)
	p.Put(x)
	p.Put(y)
	require.Less(t, u.gens[i].Load(), uint32(3), "wrapped")
	p.Trim()
	requireGivenUp(t, u)
}

// requireGivenUp fails if the number of a unit that was dropped may be used again.
func requireGivenUp(t *testing.T, u *refUnit) {
	require.Nil(t, refs.entry(u.number).Load())
	for _, f := range refs.free {
		require.NotEqual(t, u.number, f.number)
	}
}

// All does not come to a page that has been released since the loop began. The page's memory can be
// another pool's by then.
func TestAllAfterPageIsReleased(t *testing.T) {
	for _, size := range []uintptr{64, 1000} { // with its words in the page, and outside of it
		c, shards := sim(t, size, 1)
		x := simGet(t, c, shards[0])
		pages := c.allPages()
		require.Len(t, pages, 1)
		require.True(t, simPut(c, shards[0], x))
		shards[0].flush(0)
		shards[0].discardEmpty()
		c.settle(shards[0].takeOutbox())
		require.Equal(t, noPage, pageOf(x), "released")
		if size == 1000 {
			*pages[0].link(0) = taken // the words of such a page may say anything
		}

		other, theirs := sim(t, size, 1)
		require.Equal(t, x, simGet(t, other, theirs[0]), "the arena uses the memory again")
		require.Empty(t, c.liveRefs(pages[0]))
		require.True(t, simPut(other, theirs[0], x))
	}
}
