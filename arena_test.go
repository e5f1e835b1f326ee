package pool

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newArena makes an arena apart from that of the process, and its pages are
// found by pageOf all the same.
func newArena(t *testing.T) *arena {
	arenaInit.Do(initArena)
	before := theArena
	theArena = new(arena)
	t.Cleanup(func() { theArena = before })
	return theArena
}

// purgeZeroes says that what the system took back is zero when it is used again, which is not
// promised on Windows.
const purgeZeroes = runtime.GOOS != "windows"

func TestArenaRuns(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	owner := make(map[uintptr]int) // granule by address
	type held struct {
		run
		id int
	}
	var runs []held
	var purged atomic.Int64
	id := 0
	for step := range 3000 {
		if step%500 < 300 {
			n := []int{1, 1, 1, 8, 8, 64}[rand.IntN(6)]
			r, err := a.alloc(n)
			require.NoError(t, err)
			id++
			mem := r.mem(n)
			require.Zero(t, (addressOf(mem)-addressOf(r.chunk.mem))%uintptr(n*granuleSize), "aligned")
			for g := range n {
				at := addressOf(mem) + uintptr(g*granuleSize)
				require.Zero(t, owner[at], "granule in two runs")
				owner[at] = id
				if r.zeroed {
					require.Zero(t, mem[g*granuleSize])
				}
				mem[g*granuleSize] = 1
			}
			runs = append(runs, held{r, id})
		} else if len(runs) > 0 {
			k := rand.IntN(len(runs))
			r := runs[k]
			runs = append(runs[:k], runs[k+1:]...)
			for g := range int(r.n) {
				delete(owner, addressOf(r.mem(int(r.n)))+uintptr(g*granuleSize))
			}
			a.free(r.run, &purged)
		}
		if step%100 == 99 {
			before := purged.Load()
			assert.Equal(t, a.purgeFrom(&purged), purged.Load()-before)
		}
	}
	assert.Positive(t, purged.Load())
	for _, r := range runs {
		a.free(r.run, &purged)
	}
	a.purgeFrom(&purged)
	for _, ch := range a.open {
		assert.Equal(t, purgeZeroes, ch.dirty == [len(ch.dirty)]uint64{})
		r, err := a.alloc(64)
		require.NoError(t, err)
		assert.Equal(t, purgeZeroes, r.zeroed)
	}
}

// What was released is reused before anything is purged, and purged after its
// delay without any call.
func TestArenaDelay(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	var purged atomic.Int64
	r, err := a.alloc(1)
	require.NoError(t, err)
	assert.True(t, r.zeroed)
	a.free(r, &purged)
	again, err := a.alloc(1)
	require.NoError(t, err)
	assert.Equal(t, r.first, again.first)
	assert.False(t, again.zeroed)
	a.free(again, &purged)
	assert.Eventually(t, func() bool { return purged.Load() == granuleSize }, 5*purgeDelay, 10*time.Millisecond)
	again, err = a.alloc(1)
	require.NoError(t, err)
	assert.Equal(t, purgeZeroes, again.zeroed)
}

// The timer purges what has waited for long enough, and no more.
func TestArenaPurgesTheOld(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	a.armed = true // the timer is the test
	var purged atomic.Int64
	one, err := a.alloc(1)
	require.NoError(t, err)
	other, err := a.alloc(1)
	require.NoError(t, err)
	a.free(one, &purged)
	a.free(other, &purged)
	a.released[1][0].at = time.Now().Add(-2 * purgeDelay)
	a.purgeOld()
	assert.EqualValues(t, granuleSize, purged.Load())
	require.Len(t, a.released[1], 1)
	assert.Equal(t, other.first, a.released[1][0].first)
}

// What a program has left in memory is not taken for the records of a page.
func TestLinksOnOldMemory(t *testing.T) {
	oneP(t)
	newArena(t)
	old := New[[8192]byte]()
	for range 2 {
		xs := make([]*[8192]byte, 8)
		old.GetBatch(xs)
		for _, x := range xs {
			for k := range x {
				x[k] = 0xff - byte(1-k%2) // words that say taken
			}
		}
		old.PutBatch(xs)
	}
	require.NoError(t, old.Close())
	p := newStill[[64]byte](t)
	x := p.Get()
	requirePanic(t, ErrDoublePut, func() { p.core.put(pointerAt(address(x) + 700*uintptr(p.core.geo.stride))) })
	p.Put(x)
	assert.Zero(t, p.Stats().Live)
	require.NoError(t, p.core.checkInvariants())
}

// A pool whose pages lie in another region than the first works the same.
func TestPoolInLaterRegion(t *testing.T) {
	newArena(t)
	p := newStill[[64]byte](t)
	x := p.Get()
	assert.Same(t, noPage, pageOfMain(*word(&x)))
	p.Put(x)
	assert.Panics(t, func() { p.Put(x) })
	churnCorrectIn(t, p)
	p.Trim()
}

func churnCorrectIn(t *testing.T, p *Pool[[64]byte]) {
	xs := make([]*[64]byte, 3000)
	for round := range 5 {
		p.GetBatch(xs)
		for i, x := range xs {
			require.Equal(t, [64]byte{}, *x)
			fill(x[:], round, i)
		}
		for i, x := range xs {
			require.True(t, intact(x[:], round, i))
		}
		p.PutBatch(xs[:1000])
		for _, x := range xs[1000:] {
			p.Put(x)
		}
	}
}

// The rest of a region that is no whole chunk is not handed out.
func TestPartialChunk(t *testing.T) {
	arenaInit.Do(initArena)
	a := new(arena)
	ch := a.newChunk(make([]byte, 5*granuleSize))
	for i := range 5 {
		require.Equal(t, i, ch.find(1))
		ch.busy[0] |= mask(i, 1)
	}
	assert.Equal(t, -1, ch.find(1))
	assert.Equal(t, -1, ch.find(8))
	assert.Equal(t, -1, ch.find(64))
}
