package pool

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If there are no more numbers for Refs, Ref and All panic, and the pool goes on without.
func TestNoMoreRefs(t *testing.T) {
	p := New[linked]()
	x := p.Get()
	refs.mu.Lock()
	next, free := refs.next, refs.free
	refs.next, refs.free = maxUnits, nil
	refs.mu.Unlock()
	defer func() {
		refs.mu.Lock()
		refs.next, refs.free = next, append(free, refs.free...)
		refs.mu.Unlock()
	}()
	requirePanic(t, ErrLimit, func() { p.Ref(x) })
	requirePanic(t, ErrLimit, func() { p.GetRef() })
	requirePanic(t, ErrLimit, func() {
		for range p.All() {
			t.Error("a slot without a Ref")
		}
	})
	for _, s := range p.core.shards.Load().present() {
		require.True(t, s.mu.TryLock(), "a shard stays seized")
		s.mu.Unlock()
	}
	require.Equal(t, 1, p.Live())
	p.Put(x)
	require.NoError(t, p.Close())
}

// A Put on the fast path passes over generation 0 too.
func TestRefWrapByPut(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	p.Put(p.Get())
	x := p.Get()
	p.Ref(x)
	pg := pageOf(address(x))
	i, _ := pg.indexOf(address(x))
	pg.firstUnit().gens[i] = math.MaxUint32
	stale := p.Ref(x)
	p.Put(x)
	require.Nil(t, p.Deref(stale))
	x = p.Get()
	require.Same(t, x, p.Deref(p.Ref(x)))
	p.Put(x)
}

// Numbers whose generations come near their end are not used again.
func TestRefNearItsEnd(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	x := p.Get()
	p.Ref(x)
	pg := pageOf(address(x))
	u := pg.firstUnit()
	i, _ := pg.indexOf(address(x))
	u.gens[i] = 1 << 31
	p.Put(x)
	p.Trim()
	requireGivenUp(t, u)
}

// A linked object is a pooled type whose values refer to each other.
type linked struct {
	next, prev Ref[linked]
	quote      Ref[quote] // in another pool
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
	assert.Equal(t, r, p.Ref(x), "all Refs of a slot are equal")
	assert.NotEqual(t, r.String(), q.String())
	assert.Same(t, x, p.Deref(r))
	assert.Same(t, y, p.Deref(q))
	assert.Nil(t, other.Deref(r), "another pool made it")
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
	assert.Nil(t, p.Deref(r), "its slot was put")
	again := p.Get()
	require.Same(t, x, again, "the same slot")
	assert.Nil(t, p.Deref(r), "the slot has another object now")
	fresh := p.Ref(again)
	assert.NotEqual(t, r, fresh)
	generation := fresh.id >> 32
	assert.True(t, p.PutRef(fresh))
	assert.False(t, p.PutRef(fresh))
	next := p.Ref(p.Get())
	assert.EqualValues(t, 1, next.id>>32-generation, "each Put raises the generation by one")
	require.True(t, p.PutRef(next))
	assert.Nil(t, p.Deref(fresh))
	p.PutBatch([]*linked{y})
	assert.Nil(t, p.Deref(q), "its slot was put in a batch")
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
			t.Error("All comes to a slot of a closed pool")
		}
	})
}

// A Ref stays stale when its slot's page is released and another page gets the memory and the
// numbers.
func TestRefOutlivesPage(t *testing.T) {
	for _, size := range []uintptr{8, 64, 9000} {
		c, shards := sim(t, size, 1)
		stale := make(map[uint64]bool)
		for range 5 {
			xs := simFill(t, c, shards[0], int(c.geo.slots)+3)
			for _, x := range xs {
				id := c.ref(pointerAt(x))
				require.False(t, stale[id], "a new Ref is equal to a stale one")
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
			c.trim("Trim")
			require.Empty(t, c.depot.pages)
			for id := range stale {
				require.Nil(t, c.deref(id))
			}
		}
		require.NotEmpty(t, refs.free, "units can be used again")
	}
}

// Generations wrap and skip 0. Units whose generations have come far are not used again.
func TestRefWrap(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	x := p.Get()
	p.Ref(x)
	pg := pageOf(uintptr(unsafe.Pointer(x)))
	u := pg.firstUnit()
	i, _ := pg.indexOf(uintptr(unsafe.Pointer(x)))
	u.gens[i] = math.MaxUint32 - 1
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
	u.gens[i] = 1 << 31
	p.Put(x)
	p.Trim()
	requireGivenUp(t, u)
}

// A pool has no records of Refs until somebody asks it for a Ref.
func TestNoRefs(t *testing.T) {
	p := newStill[quote](t)
	xs := simBatch(p, 5000)
	p.PutBatch(xs[1:])
	p.Put(xs[0])
	assert.False(t, p.core.hasRefs.Load())
	for _, pg := range p.core.depot.pages {
		assert.Nil(t, pg.firstUnit())
	}
}

// Goroutines that follow Refs of slots that others put see the object or nothing, and never another
// object.
func TestRefConcurrent(t *testing.T) {
	if raceEnabled {
		t.Skip("to put a slot that others look at by its Ref is a data race, and the detector reports it")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[atomic.Uint64]()
	const slots = 512
	var table [slots]atomic.Uint64 // ids of Refs; each object holds the id of its own Ref
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
						// The slot may have been put since, and even handed out again. Then the Ref
						// is stale by now.
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

// Of many goroutines that put by one Ref, exactly one does.
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
		t.Error("All comes to a slot that is not in use")
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
		require.False(t, seen[x], "All comes to a slot twice")
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
	for r, x := range p.All() { // puts each slot, and another one with it
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

// All never yields a valid Ref of a free slot: for others, a Put ends the generation and frees the
// slot in one step.
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
		if r := (Ref[quote]{last.Load()}); !assert.Nil(t, p.Deref(r), "no slot is in use") {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	assert.NotZero(t, last.Load())
	require.NoError(t, p.Close())
}

// A parked slot is not in use.
func TestRefOfParkedSlot(t *testing.T) {
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 3)
	require.True(t, simPut(c, shards[1], xs[0]))
	requirePanic(t, ErrDoublePut, func() { c.ref(pointerAt(xs[0])) })
	c.ref(pointerAt(xs[1]))
}

// A unit is not used again after the generation of one of its slots has wrapped, even if the
// generations of the others have not come far.
func TestRefWrapOfNeighbour(t *testing.T) {
	oneP(t)
	p := newStill[quote](t)
	x, y := p.Get(), p.Get()
	p.Ref(x)
	pg := pageOf(uintptr(unsafe.Pointer(x)))
	u := pg.firstUnit()
	i, _ := pg.indexOf(uintptr(unsafe.Pointer(x)))
	j, _ := pg.indexOf(uintptr(unsafe.Pointer(y)))
	u.gens[i] = math.MaxUint32
	u.gens[j] = 1<<31 - 3
	p.Put(x)
	p.Put(y)
	require.Less(t, u.gen(i), uint32(3), "the generation has wrapped")
	p.Trim()
	requireGivenUp(t, u)
}

// requireGivenUp requires that the number of a unit, which was dropped, is not used again.
func requireGivenUp(t *testing.T, u *refUnit) {
	require.Nil(t, refs.entry(u.number).Load())
	for _, f := range refs.free {
		require.NotEqual(t, u.number, f.number)
	}
}

// All does not come to the slots of a page that is released during the loop. The page's memory can
// be another pool's by then.
func TestAllAfterPageIsReleased(t *testing.T) {
	for _, size := range []uintptr{64, 1000} { // with words inside and outside of the page
		c, shards := sim(t, size, 1)
		x := simGet(t, c, shards[0])
		pages := c.allPages()
		require.Len(t, pages, 1)
		require.True(t, simPut(c, shards[0], x))
		shards[0].flush(0)
		shards[0].discardEmpty(shards[0].discard)
		c.settle(shards[0].takeOutbox())
		require.Equal(t, noPage, pageOf(x), "released")
		if size == 1000 {
			*pages[0].link(0) = taken // because the words of such a page may say anything
		}

		other, theirs := sim(t, size, 1)
		require.Equal(t, x, simGet(t, other, theirs[0]), "the arena uses the memory again")
		require.Empty(t, c.liveRefs(pages[0]))
		require.True(t, simPut(other, theirs[0], x))
	}
}

// Each Put of a slot raises its generation by one, whichever way the slot goes.
func TestGenerationPerPut(t *testing.T) {
	oneP(t)
	for _, opts := range [][]Option{nil, {WithProfile(1)}, {WithGuardSampling(1)}} {
		p := newStill[[64]byte](t, opts...)
		held := simBatch(p, 3*p.Stats().SlotsPerPage) // some own, some of pages that nobody owns
		keep := held
		var x *[64]byte
		puts := map[string]func(){
			"Put":      func() { p.Put(x) },
			"PutBatch": func() { p.PutBatch([]*[64]byte{x}) },
			"PutRef":   func() { require.True(t, p.PutRef(p.Ref(x))) },
		}
		for name, put := range puts {
			for round := range 8 {
				x, keep = keep[len(keep)-1], keep[:len(keep)-1]
				for range round { // so that the lot is empty, and has slots
					p.Put(keep[0])
					keep = keep[1:]
				}
				before := p.Ref(x).id
				addr := address(x)
				put()
				pg, i, ok := p.core.find(addr)
				require.True(t, ok)
				after := pg.firstUnit().id(i)
				assert.Equal(t, uint32(before), uint32(after))
				assert.EqualValues(t, 1, after>>32-before>>32, "%s %d", name, round)
			}
		}
		p.PutBatch(keep)
	}
}

// fewUnits leaves so many units for pages that get their first Ref, until the test ends.
func fewUnits(t *testing.T, n uint32) {
	refs.mu.Lock()
	defer refs.mu.Unlock()
	next, free := refs.next, refs.free
	refs.next, refs.free = maxUnits-n, nil
	refs.table[(maxUnits-1)/unitStep].Store(new([unitStep]atomic.Pointer[refUnit]))
	t.Cleanup(func() {
		refs.mu.Lock()
		defer refs.mu.Unlock()
		others := slices.DeleteFunc(refs.free, func(f freeUnit) bool { return f.number >= maxUnits-n })
		refs.next, refs.free = next, append(free, others...)
	})
}

// When the process has as many pages with Refs as it may have, whatever needs another one fails. It
// takes nothing from those that need less, and works again when pages with Refs have been released.
func TestFewUnitsLeft(t *testing.T) {
	oneP(t)
	p, q := newStill[[8]byte](t), newStill[[64]byte](t)
	x := p.Get()
	units := (p.Stats().SlotsPerPage-1)/unitSlots + 1
	require.Greater(t, units, 1)
	fewUnits(t, uint32(units-1))
	for range 3 {
		requirePanic(t, ErrLimit, func() { p.Ref(x) })
		requirePanic(t, ErrLimit, func() { p.GetRef() })
		requirePanic(t, ErrLimit, func() {
			for range p.All() {
				t.Error("a slot without a Ref")
			}
		})
		require.Equal(t, 1, p.Stats().Live)
		require.NoError(t, p.core.checkInvariants())
	}
	for range 3 {
		var xs []*[64]byte // each in a page of its own
		for range units - 1 {
			batch := simBatch(q, q.Stats().SlotsPerPage)
			require.Same(t, batch[0], q.Deref(q.Ref(batch[0])))
			xs = append(xs, batch...)
		}
		y := simBatch(q, q.Stats().SlotsPerPage)
		requirePanic(t, ErrLimit, func() { q.Ref(y[0]) })
		q.PutBatch(append(xs, y...))
		q.Trim()
	}
	p.Put(x)
}
