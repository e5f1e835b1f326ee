package pool

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// FuzzPool reads its input as operations on a pool with a few simulated shards:
// which shard acts is chosen by the input, not by the scheduler. An oracle knows
// what is live and what it holds; after each step no slot may be handed out
// twice, contents must be intact, the live count exact, and the invariants hold.
func FuzzPool(f *testing.F) {
	f.Add([]byte{0x03, 0, 0, 0, 1, 1, 1, 0x20, 0x20, 0x30})
	f.Add([]byte{0x01, 0x70, 0x71, 0x80, 0x81, 0x42, 0x50, 0x60, 0x61})
	f.Add([]byte("\x02pppppqqqqq\x80\x90\x81\x91\x40\x50\x41\x51\x60"))
	f.Add([]byte("\x80pppp\x10\x35\x36\x37\x31\xc1\xc5\x35\x36\x37\x31\x35\x36\xc2\x51\x52"))
	f.Add([]byte("\x2appppppppp\x42\x12\x13\x31\x35\x84\x85\x12\x16\x51\x62\x62\xe0\xed"))
	f.Add([]byte("\x6bpqrs\x41\x82\x85\x61\x61\x61\x12\xb0\xb0\xb0\xb0\xb0\xb0\xb0\xb0\xb0\xb0\xb0\xb0p"))
	f.Add([]byte("\x00p\x10p\x20p\x30\xa0\xa1\xa2\xa3PPPPPQQQQQQ@@@@@@@@@@@@@@@@`ppp"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 1500 {
			return
		}
		sizes := []uintptr{64, 8, 1000, 5000, 8192, 20000, 300000}
		size := sizes[int(ops[0])%len(sizes)]
		opts := options{localChecks: ops[0] >= 128}
		if ops[0]&32 != 0 && pinned { // see on
			opts.limit = 3 * int64(geometryOf(size).pageSize)
		}
		if ops[0]&64 != 0 {
			opts.warmPages = 2
		}
		c, shards := sim(t, size, 4, opts)
		f := fuzzer{takesRefs: ops[0]&16 != 0, t: t, c: c, size: size, live: make(map[uintptr]uint64), refs: make(map[uintptr]uint64)}
		for _, op := range ops[1:] {
			f.step(shards[op&3], op)
			require.NoError(t, c.checkInvariants(), "after %#x", op)
			require.Equal(t, len(f.live), c.stats().Live, "after %#x", op)
			f.checkRefs()
		}
	})
}

type fuzzer struct {
	t     *testing.T
	c     *core
	size  uintptr
	live  map[uintptr]uint64 // what each slot holds
	order []uintptr          // the keys of live, in the order of their Gets
	refs  map[uintptr]uint64 // of some of live
	stale []uint64           // Refs of slots that were put
	stamp uint64

	takesRefs bool
}

// step does op on shard s. The upper four bits choose what, the middle two how
// much or which.
func (f *fuzzer) step(s *shard, op byte) {
	which := int(op >> 2 & 3)
	switch op >> 4 {
	case 0:
		f.get(s)
	case 1, 2: // by the fast paths
		if f.c.maxPages > 0 && which&1 == 0 {
			on(f.c, s, f.tryGet)
		} else if f.room(1) {
			on(f.c, s, func() { f.got(uintptr(f.c.get())) })
		}
	case 3, 4:
		if len(f.order) > 0 {
			f.put(s, []int{0, len(f.order) - 1, len(f.order) / 2, int(f.stamp) % len(f.order)}[which])
		}
	case 5:
		simTick(f.c, s, false)
	case 6:
		simTick(f.c, s, true)
	case 7: // about enough to fill pages
		for range []int{17, 64, 200, 1100}[which] {
			f.get(s)
		}
	case 14: // in batches
		if n := []int{1, 2, 33, 64}[which]; f.room(n) {
			on(f.c, s, func() { f.getBatch(n) })
		}
	case 15:
		n := min([]int{1, 2, 33, 64}[which], len(f.order))
		on(f.c, s, func() { f.putBatch(n) })
	case 8, 9: // put many, oldest or newest first
		for range min([]int{17, 64, 200, 1100}[which], len(f.order)) {
			f.put(s, (len(f.order)-1)*int(op>>4&1))
		}
	case 10:
		f.c.trim()
	case 11:
		f.c.heart.mu.Lock()
		f.c.tickAll()
		f.c.heart.mu.Unlock()
	case 12: // misuse: a second Put, a Put inside a slot
		if len(f.order) > 0 {
			x := f.order[which%len(f.order)]
			require.False(f.t, simPut(f.c, s, x+4))
			f.put(s, which%len(f.order))
			require.False(f.t, simPut(f.c, s, x))
			on(f.c, s, func() {
				defer func() { require.ErrorIs(f.t, recover().(error), ErrDoublePut) }()
				f.c.put(x)
			})
		}
	case 13:
		s.flush(uint32(which))
		f.c.do(s.takeChores())
	default:
		f.c.heart.mu.Lock()
		f.c.releasePartial(false)
		f.c.heart.mu.Unlock()
	}
}

func (f *fuzzer) get(s *shard) {
	switch {
	case f.c.maxPages > 0:
		on(f.c, s, func() { f.tryGet() })
	case len(f.live)*int(f.size) <= 64<<20:
		f.got(simGet(f.t, f.c, s))
	}
}

// room reports whether the limit allows n slots more.
func (f *fuzzer) room(n int) bool {
	return f.c.maxPages == 0 || len(f.live)+n <= f.c.maxPages*int(f.c.geo.slots)
}

// tryGet gets a slot, which fails exactly if all that the limit allows are out.
func (f *fuzzer) tryGet() {
	x, _, err := f.c.tryGet()
	if all := f.c.maxPages * int(f.c.geo.slots); f.c.maxPages > 0 && len(f.live) == all {
		require.ErrorIs(f.t, err, ErrLimit)
		return
	}
	require.NoError(f.t, err, "%d slots out", len(f.live))
	f.got(uintptr(x))
}

// got notes a slot that was handed out.
func (f *fuzzer) got(x uintptr) {
	if _, ok := f.live[x]; ok {
		f.t.Fatalf("slot %#x was handed out twice", x)
	}
	f.stamp++
	f.live[x] = f.stamp
	if f.takesRefs && f.stamp%3 == 0 {
		f.refs[x] = f.c.ref(x)
	}
	f.order = append(f.order, x)
	for _, word := range f.ends(x) {
		binary.NativeEndian.PutUint64(word, f.stamp)
	}
}

func (f *fuzzer) put(s *shard, k int) {
	x := f.order[k]
	f.putting(x)
	f.order = append(f.order[:k], f.order[k+1:]...)
	if f.stamp%2 == 0 {
		require.True(f.t, simPut(f.c, s, x))
	} else {
		on(f.c, s, func() { f.c.put(x) })
	}
}

// putting notes that a slot is about to be put.
func (f *fuzzer) putting(x uintptr) {
	for _, word := range f.ends(x) {
		if binary.NativeEndian.Uint64(word) != f.live[x] {
			f.t.Fatalf("slot %#x has been overwritten", x)
		}
	}
	delete(f.live, x)
	if id, ok := f.refs[x]; ok {
		require.EqualValues(f.t, x, uintptr(f.c.deref(id)))
		f.stale = append(f.stale, id)
		delete(f.refs, x)
		f.c.outdate(x) // as the Put does that is about to come
	}
}

// checkRefs looks at some Refs of slots in use, and of slots that were put.
func (f *fuzzer) checkRefs() {
	n := 0
	for x, id := range f.refs {
		require.EqualValues(f.t, x, uintptr(f.c.deref(id)))
		if n++; n == 10 {
			break
		}
	}
	for k := range min(20, len(f.stale)) {
		require.Nil(f.t, f.c.deref(f.stale[k*len(f.stale)/20]))
	}
}

func (f *fuzzer) getBatch(n int) {
	xs := make([]unsafe.Pointer, n)
	got, _, err := f.c.getBatch(xs)
	require.NoError(f.t, err)
	require.Equal(f.t, n, got)
	for _, x := range xs {
		f.got(uintptr(x))
	}
}

// putBatch puts the n slots that were got last.
func (f *fuzzer) putBatch(n int) {
	var xs []unsafe.Pointer
	for _, x := range f.order[len(f.order)-n:] {
		f.putting(x)
		pg := pageOf(x)
		i, _ := pg.indexOf(x)
		xs = append(xs, pg.slot(i))
	}
	f.order = f.order[:len(f.order)-n]
	f.c.putBatch(xs)
}

// ends returns the first and the last word of a slot.
func (f *fuzzer) ends(x uintptr) [2][]byte {
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	b := unsafe.Slice((*byte)(pg.slot(i)), f.size)
	return [2][]byte{b[:8], b[len(b)-8:]}
}
