package pool

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGeometry(t *testing.T) {
	for size := uintptr(1); size <= MaxSlotSize; size += 1 + size/7 {
		g := geometryOf(size)
		require.GreaterOrEqual(t, uintptr(g.stride), size)
		require.Less(t, uintptr(g.stride), size+minStride)
		require.Zero(t, g.stride%minStride)
		if size <= 512<<10 {
			require.GreaterOrEqual(t, g.slots, uint32(8))
			require.Contains(t, []int{1, 8, 64}, g.granules())
		} else {
			require.EqualValues(t, 1, g.slots)
			require.Less(t, g.pageSize-g.stride, g.stride/8, "waste")
		}
		require.Less(t, g.slots, uint32(parking))
		require.LessOrEqual(t, g.slots*g.stride, g.pageSize)
		require.Zero(t, int(g.pageSize)%granuleSize)

		pg := &page{pageShared: pageShared{base: unsafe.Pointer(unsafe.StringData("base")), stride: g.stride, recip: g.recip},
			pageOwned: pageOwned{reserved: g.slots}}
		for range 200 {
			off := rand.Uint32N(g.pageSize + g.pageSize/2)
			i, ok := pg.indexOf(uintptr(pg.base) + uintptr(off))
			require.Equal(t, off%g.stride == 0 && off/g.stride < g.slots, ok, "stride %d, offset %d", g.stride, off)
			if ok {
				require.Equal(t, off/g.stride, i)
			}
		}
		_, ok := pg.indexOf(uintptr(pg.base) - uintptr(g.stride))
		require.False(t, ok)
	}
}

// A page does not take what a program has left in its memory for its own records.
func TestLinksOnOldMemory(t *testing.T) {
	oneP(t)
	newArena(t)
	old := New[[8192]byte]()
	for range 2 {
		xs := make([]*[8192]byte, 8)
		old.GetBatch(xs)
		for _, x := range xs {
			for k := range x {
				x[k] = 0xff - byte(1-k%2) // as a word, this says taken
			}
		}
		old.PutBatch(xs)
	}
	require.NoError(t, old.Close())
	p := newStill[[64]byte](t)
	x := p.Get()
	requirePanic(t, ErrDoublePut, func() { p.core.put(pointerAt(address(x) + 300*uintptr(p.core.geo.stride))) })
	p.Put(x)
	assert.Zero(t, p.Stats().Live)
	require.NoError(t, p.core.checkInvariants())
}

// A list ends where it leads out of its page, or to a slot that is in use. Two Puts of one slot that
// race can damage a list.
func TestListThatLeadsOutOfThePage(t *testing.T) {
	c, shards := sim(t, 64, 1)
	xs := simFill(t, c, shards[0], 5)
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	for _, word := range []uint16{none, taken, parking, watched, leaving, uint16(pg.reserved)} {
		require.True(t, pg.push(i, taken))
		pg.useLocal()
		*pg.link(i) = word
		if isCounted(word) {
			require.Nil(t, popFree(pg), "the slot with the word %#x", word)
			pg.used++
			*pg.link(i) = taken
		} else {
			require.Equal(t, xs[0], uintptr(popFree(pg)))
		}
		require.Nil(t, popFree(pg), "after the word %#x", word)
	}
	pg.free = none
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, shards[0], xs)
}

// The same for Get, whose fast path does not call popFree.
func TestGetAfterListThatLeadsOutOfThePage(t *testing.T) {
	if watchAll {
		t.Skip("words say watched")
	}
	c, shards := sim(t, 64, 1)
	s := shards[0]
	xs := simFill(t, c, s, int(c.geo.slots))
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	require.True(t, pg.push(i, taken))
	*pg.link(i) = uint16(pg.reserved)
	var first, second uintptr
	on(c, s, func() {
		defer func() { atomic.StoreUint32(&s.busy, 0) }() // so that a Get that crashes ends the test
		first = uintptr(c.get())
		second = uintptr(c.get())
	})
	require.Equal(t, xs[0], first)
	require.NotEqual(t, pg, pageOf(second))
	_, _, ok := c.spec.find(second)
	require.True(t, ok)
	xs = append(xs, second)
	pg.free = none
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, s, xs)
}

// A page whose count says that slots are free, while no list has them, loses these slots. Gets go on
// elsewhere, and a Get at the limit fails instead of trying the page forever. This is what two Puts
// of one slot that race leave behind, step by step: both have seen that it is taken, the owner has
// pushed it, and then the other shard parks it.
func TestSlotOnTwoLists(t *testing.T) {
	if watchAll {
		t.Skip("words say watched")
	}
	c, shards := sim(t, 64, 2, options{limit: 64 << 10})
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, int(c.geo.slots))
	pg := pageOf(xs[0])
	for _, x := range xs[:3] { // the first is parked
		require.True(t, simPut(c, a, x))
	}
	i, _ := pg.indexOf(xs[2])
	*pg.link(i) = taken // as b has seen it
	require.True(t, simPut(c, b, xs[2]))

	got := make(map[uintptr]bool)
	for range 10 {
		x, err := boundedGet(t, c, a)
		if err != nil {
			require.ErrorIs(t, err, ErrLimit)
			break
		}
		require.False(t, got[x], "a slot is handed out twice")
		require.NotContains(t, xs[3:], x, "a slot in use is handed out")
		got[x] = true
	}
	assert.LessOrEqual(t, len(got), 3)
	assert.NotEmpty(t, got)
}

// boundedGet is a Get on s that must not try forever.
func boundedGet(t *testing.T, c *core, s *shard) (uintptr, error) {
	for range 1000 {
		if x, _ := s.get(); x != nil {
			return uintptr(x), nil
		}
		c.settle(s.takeOutbox())
		pg := c.depot.adopt()
		if pg == nil {
			var err error
			if pg, err = c.depot.fresh(); err != nil {
				if pg, err = c.search(err); err != nil {
					return 0, err
				}
			}
		}
		s.attach(pg)
		c.settle(s.takeOutbox())
	}
	require.Fail(t, "Get does not end")
	return 0, nil
}

// A page whose count says that it is empty, while a slot of it is in use, is not put in order: that
// would hand the slot out again.
func TestEmptyPageWithSlotInUse(t *testing.T) {
	if watchAll {
		t.Skip("words say watched")
	}
	c, shards := sim(t, 64, 1)
	s := shards[0]
	xs := simFill(t, c, s, 10)
	pg := pageOf(xs[0])
	pg.used-- // as after two Puts of another slot that raced
	inUse := xs[7]
	for _, x := range append(xs[:7:7], xs[8:]...) {
		require.True(t, simPut(c, s, x))
	}
	for range 2 * c.geo.slots {
		require.NotEqual(t, inUse, simGet(t, c, s))
	}
	require.True(t, simPut(c, s, inUse))
}

// Whatever the words of pages say, a Get ends, and returns a slot of the pool or an error.
func FuzzLinks(f *testing.F) {
	f.Add(uint64(1), false)
	f.Add(uint64(2), true)
	f.Fuzz(func(t *testing.T, seed uint64, limited bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		sizes := []uintptr{8, 64, 100, 1000, 8192}
		size := sizes[rng.IntN(len(sizes))]
		var opts options
		if limited {
			sp, err := newSpec(reflect.ArrayOf(int(size), reflect.TypeFor[byte]()), options{})
			require.NoError(t, err)
			opts.limit = 4 * int64(sp.geo.pageSize)
		}
		c, shards := sim(t, size, 3, opts)
		var held []uintptr
		for range 3000 {
			s := shards[rng.IntN(len(shards))]
			switch rng.IntN(8) {
			case 0, 1, 2:
				x, err := boundedGet(t, c, s)
				if err != nil {
					require.ErrorIs(t, err, ErrLimit)
					require.True(t, limited)
					break
				}
				pg, _, ok := c.find(x)
				require.True(t, ok, "%#x is no slot of the pool", x)
				require.NotNil(t, pg)
				held = append(held, x)
			case 3, 4, 5:
				if len(held) > 0 {
					k := rng.IntN(len(held))
					simPut(c, s, held[k]) // perhaps it was handed out twice, or its word is wrong
					held[k] = held[len(held)-1]
					held = held[:len(held)-1]
				}
			case 6:
				if len(held) > 0 {
					pg := pageOf(held[rng.IntN(len(held))])
					if pg == noPage {
						break
					}
					for range 1 + rng.IntN(4) {
						words := []uint16{none, taken, parking, leaving, uint16(rng.Uint32N(2 * pg.reserved)), uint16(rng.Uint32())}
						*pg.link(rng.Uint32N(pg.reserved)) = words[rng.IntN(len(words))]
					}
				}
			case 7:
				s.tick(rng.IntN(4) == 0)
				c.settle(s.takeOutbox())
				c.depot.tick()
			}
		}
		// A word that says of a slot in use that it is free, and a list that leads there, hand the slot
		// out once more. So used may be above reserved: the page counts as full then.
		for _, pg := range c.depot.pages {
			require.Equal(t, pg.used >= pg.reserved, pg.full())
			require.GreaterOrEqual(t, pg.inUse(), 0)
		}
	})
}

// Of those who want to change a word at the same time, one does. Its neighbour's word stays as the
// neighbour's user writes it.
func TestChangeLink(t *testing.T) {
	if raceEnabled {
		t.Skip("words are not changed atomically")
	}
	c, shards := sim(t, 64, 1)
	pg := pageOf(simGet(t, c, shards[0]))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	words := pg.links[2:4]
	words[0] = taken
	var turn, won, done atomic.Int64
	change := func() {
		if pg.changeLink(3, watched, leaving) {
			won.Add(1)
		}
	}
	rounds := int64(times(50000))
	if testing.Short() {
		rounds /= 5
	}
	go func() {
		for round := int64(1); round <= rounds; round++ {
			for spins := 1; turn.Load() != round; spins++ {
				if spins%1000 == 0 {
					runtime.Gosched()
				}
			}
			change()
			done.Store(round)
		}
	}()
	defer turn.Store(rounds)
	for round := int64(1); round <= rounds; round++ {
		words[1] = watched
		turn.Store(round)
		words[0] = uint16(round)
		for range round % 256 {
			turn.Load() // the other one takes a moment to see it
		}
		change()
		for spins := 1; done.Load() != round; spins++ {
			if spins%1000 == 0 {
				runtime.Gosched()
			}
		}
		require.Equal(t, round, won.Load())
		if words[0] != uint16(round) || words[1] != leaving {
			require.Fail(t, "lost")
		}
	}
}

// More slots may come home than the count says are in use, after Puts that raced. The count ends at
// none.
func TestMoreComeHomeThanWereOut(t *testing.T) {
	c, shards := sim(t, 64, 2)
	xs := simFill(t, c, shards[0], 5)
	pg := pageOf(xs[0])
	pg.used = 1
	simDrain(t, c, shards[1], xs[:3])
	shards[1].flush(0)
	require.EqualValues(t, 3, pg.remoteState().count())
	simTick(c, shards[0], false)
	assert.LessOrEqual(t, pg.used, pg.reserved)
	for range c.geo.slots {
		require.NotContains(t, xs[3:], simGet(t, c, shards[0]), "a slot in use is handed out")
	}
}

// popFree is page.popFree without the second result.
func popFree(pg *page) unsafe.Pointer {
	x, _ := pg.popFree()
	return x
}
