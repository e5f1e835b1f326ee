package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Words of different pages do not overlap, and are 0 at first. What nobody uses goes back.
func TestWords(t *testing.T) {
	a := newArena(t)
	t.Cleanup(stopClock())
	type held struct {
		wordBlock
		fill byte
	}
	var blocks []held
	for step := range 20_000 {
		if step%2000 < 1300 {
			slots := []uint32{8, 33, 100, 1024, 1024, 1024, 3000, 8192}[rand.IntN(8)]
			b, err := a.allocWords(slots)
			require.NoError(t, err)
			require.GreaterOrEqual(t, b.n, 2*slots)
			require.Zero(t, b.at%64)
			require.False(t, inSlot0(addressOf(b.mem())))
			fill := byte(1 + rand.IntN(255))
			for i, word := range b.mem() {
				if word != 0 {
					t.Fatalf("byte %d of a new block is %d", i, word)
				}
				b.mem()[i] = fill
			}
			blocks = append(blocks, held{b, fill})
		} else if len(blocks) > 0 {
			k := rand.IntN(len(blocks))
			b := blocks[k]
			blocks[k] = blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			for i, word := range b.mem() {
				if word != b.fill {
					t.Fatalf("byte %d of a block has changed from %d to %d", i, b.fill, word)
				}
			}
			b.release()
		}
		switch step % 1000 {
		case 300:
			a.purgeWords(true)
			require.Zero(t, a.words.idle)
		case 600:
			a.now += purgeDelay
			a.purgeWords(false)
			require.Zero(t, a.words.idle)
		}
	}
	for _, b := range blocks {
		b.release()
	}
	if offHeap {
		assert.Positive(t, a.words.bytes())
		assert.Positive(t, a.words.idle)
		a.purgeWords(true)
		assert.Zero(t, a.words.bytes())
	}
}

// wordBlocks returns n blocks for the words of 1,000 slots.
func wordBlocks(t *testing.T, a *arena, n int) (blocks []wordBlock) {
	for range n {
		b, err := a.allocWords(1000)
		require.NoError(t, err)
		blocks = append(blocks, b)
	}
	return blocks
}

// A block is not used again as long as few others have been given back.
func TestWordsRest(t *testing.T) {
	a := newArena(t)
	t.Cleanup(stopClock())
	blocks := wordBlocks(t, a, blocksAtRest+1)
	for k, b := range blocks {
		other, err := a.allocWords(1000)
		require.NoError(t, err)
		require.NotContains(t, blocks[:k], other)
		b.release()
	}
	b, err := a.allocWords(1000)
	require.NoError(t, err)
	assert.Equal(t, blocks[0], b, "the one that has rested longest")
}

// Words that nobody uses go back by time, like runs.
func TestWordsDelay(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	t.Cleanup(stopClock())
	for range 2 {
		b, err := a.allocWords(1024)
		require.NoError(t, err)
		b.release()
		for range purgeDelay - 1 {
			a.tick()
		}
		assert.Positive(t, a.words.bytes())
		for range purgeEvery {
			a.tick()
		}
		assert.Zero(t, a.words.bytes())
		assert.False(t, a.isWaiting())
	}
}

// The system may refuse to take words back. Then they are not taken for zero, and the system is not
// asked again and again.
func TestWordsNotPurged(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	t.Cleanup(stopClock())
	blocks := wordBlocks(t, a, blocksAtRest+1)
	for _, b := range blocks {
		b.mem()[7] = 1
		b.release()
	}
	require.True(t, a.isWaiting())
	fail := true
	failing(t, func(call string) bool { return call == "purge" && fail })
	a.purgeWords(true)
	assert.False(t, a.isWaiting())
	assert.Positive(t, a.words.bytes())
	b := wordBlocks(t, a, 1)[0]
	assert.Equal(t, blocks[0], b)
	assert.Zero(t, b.mem()[7])
	b.release()
	fail = false
	a.purgeWords(true)
	assert.Zero(t, a.words.bytes())
}

// What a purge may have lost is not used again.
func TestWordsLost(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	t.Cleanup(stopClock())
	blocks := wordBlocks(t, a, 3*blocksAtRest)
	for _, b := range blocks[1:] {
		b.release()
	}
	before := system.Load()
	lossy := *before
	lossy.purge = func([]byte) (gone, zeroed, lost bool) { return false, false, true }
	system.Store(&lossy)
	a.purgeWords(true)
	system.Store(before)
	require.False(t, a.isWaiting())
	lost := a.words.spans[0].lost
	require.NotZero(t, lost)
	for _, b := range wordBlocks(t, a, 3*blocksAtRest) {
		require.False(t, b.span == a.words.spans[0] && b.units()&lost != 0)
		defer b.release()
	}
	a.purgeWords(true)
	assert.Equal(t, lost, a.words.spans[0].lost, "not purged again")
}

// Words come and go with pages. A pool of small objects takes a twentieth more than they do, at most.
func TestRecords(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	oneP(t)
	newArena(t)
	t.Cleanup(stopClock())
	p := newStill[[64]byte](t)
	n := times(300_000)
	xs := simBatch(p, n)
	m := ReadMemory()
	assert.Positive(t, m.Records)
	if redZone == 0 {
		assert.InDelta(t, n*64, m.Committed, 1<<16)
		assert.Less(t, m.Committed+m.Records, int64(n*64*105/100))
	}
	p.PutBatch(xs)
	p.Trim()
	assert.Zero(t, ReadMemory().Records)
	assert.Zero(t, ReadMemory().Committed)
}

// stale are slots of one size that their program has put, and has kept.
type stale struct {
	size  uintptr
	get   func() // gets a page of slots
	leave func() // puts them and closes the pool
	write func(b byte)
}

func staleOf[T any](t *testing.T) *stale {
	var p *Pool[T]
	var xs []*T
	s := &stale{size: uintptr(len(view(new(T))))}
	s.get = func() {
		p = New[T]()
		xs = simBatch(p, p.Stats().SlotsPerPage)
	}
	s.leave = func() {
		p.PutBatch(xs)
		require.NoError(t, p.Close())
	}
	s.write = func(b byte) {
		for _, x := range xs {
			for i := range view(x) {
				view(x)[i] = b
			}
		}
	}
	return s
}

// A late write to all slots of a page changes no record, whatever slots the page has by then.
func TestLateWritesMissTheRecords(t *testing.T) {
	if watchAll {
		t.Skip("this build finds late writes")
	}
	oneP(t)
	kinds := []*stale{
		staleOf[[1]byte](t), staleOf[[8]byte](t), staleOf[[40]byte](t), staleOf[[64]byte](t), staleOf[[72]byte](t),
		staleOf[[500]byte](t), staleOf[[512]byte](t), staleOf[[520]byte](t), staleOf[[1024]byte](t), staleOf[[4096]byte](t),
		staleOf[[8192]byte](t), staleOf[[9000]byte](t), staleOf[[60_000]byte](t), staleOf[[100_000]byte](t), staleOf[[MaxSlotSize]byte](t),
	}
	a := newArena(t)
	if brief() { // writing takes long
		kinds = kinds[:len(kinds)-3]
	}
	for _, late := range kinds {
		for _, user := range kinds {
			for _, b := range []byte{0, 0xff, 0xfe} {
				if b != 0xff && max(late.size, user.size) == MaxSlotSize {
					continue // writing takes long
				}
				late.get()
				late.leave()
				a.purge(func(released) bool { return true })

				c := new(core)
				initCore(c, user.size, fmt.Sprintf("%d bytes after %d", user.size, late.size), options{})
				c.stopClock()
				out := make(map[uintptr]bool)
				var n uint32
				get := func() uintptr {
					x := uintptr(c.get())
					require.False(t, out[x], "%s: handed out twice", c.spec)
					out[x] = true
					return x
				}
				var xs []uintptr
				for ; n < c.geo.slots; n++ {
					xs = append(xs, get())
				}
				for _, x := range xs[n/2:] {
					c.put(pointerAt(x))
					delete(out, x)
				}
				late.write(b)
				require.NoError(t, c.checkInvariants(), c.spec)
				for range n - n/2 {
					get()
				}
				for x := range out {
					c.put(pointerAt(x))
				}
				require.NoError(t, c.checkInvariants(), c.spec)
				require.NoError(t, c.close(), c.spec)
			}
		}
	}
}

// A Get does not fail because words are at rest: they are used early if there are no others.
func TestRestingWordsAreUsed(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	t.Cleanup(stopClock())
	blocks := wordBlocks(t, a, 2)
	failing(t, func(string) bool { return true })
	a.words.cut = spanSize // as if the span were used up
	_, err := a.allocWords(1000)
	require.ErrorIs(t, err, ErrOutOfMemory)
	blocks[1].release()
	blocks[0].release()
	assert.Equal(t, []wordBlock{blocks[1], blocks[0]}, wordBlocks(t, a, 2))
}

// Address space that the system refuses to commit is not reserved again and again.
func TestCommitRefused(t *testing.T) {
	needsOSMemory(t)
	a := newArena(t)
	p, q := newStill[[64]byte](t), newStill[[32]byte](t)
	p.Put(p.Get())
	fail := true
	failing(t, func(call string) bool { return call == "commit" && fail })
	a.words.cut = spanSize // as if the span were used up
	var reserved int64
	for k := range 20 {
		_, err := q.TryGet()
		require.ErrorIs(t, err, ErrOutOfMemory)
		if k == 0 {
			reserved = ReadMemory().Reserved
		}
	}
	assert.Equal(t, reserved, ReadMemory().Reserved)
	fail = false
	q.Put(q.Get())
}

// A Get that gets no memory for words fails, and the memory for the page is free again.
func TestNoMemoryForWords(t *testing.T) {
	needsOSMemory(t)
	newArena(t)
	p := newStill[[64]byte](t)
	q := newStill[[32]byte](t) // its page takes memory from the same region
	p.Put(p.Get())
	fail := true
	failing(t, func(call string) bool { return call == "reserve" && fail })
	theArena.words.cut = spanSize // as if the span were used up
	_, err := q.TryGet()
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.ErrorContains(t, err, "records")
	fail = false
	q.Put(q.Get())
	q.Trim()
	p.Trim()
	assert.Zero(t, ReadMemory().Committed)
}

// wordsInUse returns how many units have words of pages, each counted as often as it has some.
func (a *arena) wordsInUse() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.words.spans {
		for _, users := range s.users {
			n += int(users)
		}
	}
	return n
}
