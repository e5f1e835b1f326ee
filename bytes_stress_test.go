package pool

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A bytesStress has goroutines get, grow, put and forget slices of a Bytes, and put those of others.
type bytesStress struct {
	t      *testing.T
	b      *Bytes
	ops    atomic.Int64
	forgot atomic.Int64
	shared [8]chan heldBytes
}

// heldBytes is a slice in use, which its holder has written to up to its length.
type heldBytes struct {
	s     []byte
	round int
	cut   int // how much of what was written is before s
}

// hold writes to a slice that the caller has got.
func (w *bytesStress) hold(s []byte, round int) heldBytes {
	fill(s, round, 0)
	return heldBytes{s: s, round: round}
}

// check fails the test if somebody else has written to a slice.
func (w *bytesStress) check(h heldBytes) {
	if !intact(h.s, h.round, 0) {
		w.t.Errorf("a slice of %d bytes was written to by somebody else", len(h.s))
	}
}

// put gives back a slice, by any part of it.
func (w *bytesStress) put(h heldBytes, rng *rand.Rand) {
	w.check(h)
	s := h.s
	switch rng.IntN(4) {
	case 0:
		if cap(s) == 0 || cap(s) > MaxSlotSize { // nothing, or no slot
			return
		}
		w.b.Put(s[rng.IntN(min(len(s)+1, cap(s))):][:0])
	case 1:
		if !w.b.TryPut(s) {
			w.t.Error("TryPut says that a slice in use is not of b")
		}
	default:
		w.b.Put(s)
	}
}

// grow appends to a slice, by Grow or by append alone, which leaves its slot to the collector.
func (w *bytesStress) grow(h heldBytes, rng *rand.Rand, forget bool) heldBytes {
	w.check(h)
	n := rng.IntN(2*len(h.s) + 20)
	if forget && rng.IntN(8) == 0 {
		s := append(h.s, make([]byte, n)...)
		if w.b.TryPut(s); cap(s) != cap(h.s) {
			w.forgot.Add(1)
		}
		return w.get(rng)
	}
	s, err := func() (s []byte, err error) {
		err = caught(func() error { s = w.b.Grow(h.s, n); return nil })
		return s, err
	}()
	if err != nil {
		if !errors.Is(err, ErrLimit) {
			w.t.Error(err)
		}
		return h
	}
	w.check(heldBytes{s: s, round: h.round})
	return w.hold(s[:len(s)+n], h.round)
}

// get gets a slice of any length, or none at the limit.
func (w *bytesStress) get(rng *rand.Rand) heldBytes {
	n := rng.IntN(1 << rng.IntN(14))
	if rng.IntN(1000) == 0 {
		n = rng.IntN(100_000)
	}
	w.ops.Add(1)
	s, err := w.b.TryGet(n)
	if err != nil {
		if !errors.Is(err, ErrLimit) {
			w.t.Error(err)
		}
		return heldBytes{}
	}
	return w.hold(s, rng.IntN(1000))
}

func (w *bytesStress) work(seed uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(seed, 1))
	forget := !w.b.options.offHeap
	var held []heldBytes
	for time.Now().Before(until) {
		for range 100 {
			switch op := rng.IntN(10); {
			case op < 4 && len(held) < 64 || len(held) == 0:
				held = append(held, w.get(rng))
			case op < 6:
				k := rng.IntN(len(held))
				held[k] = w.grow(held[k], rng, forget)
			case op < 7:
				c := w.shared[rng.IntN(len(w.shared))]
				select {
				case h := <-c:
					held = append(held, h)
				default:
				}
				k := rng.IntN(len(held))
				select {
				case c <- held[k]:
					held[k] = held[len(held)-1]
					held = held[:len(held)-1]
				default:
				}
			case forget && op == 7 && rng.IntN(8) == 0:
				w.check(held[len(held)-1])
				held = held[:len(held)-1]
				w.forgot.Add(1)
			default:
				k := rng.IntN(len(held))
				w.put(held[k], rng)
				held[k] = held[len(held)-1]
				held = held[:len(held)-1]
			}
		}
	}
	for _, h := range held {
		w.check(h)
		w.b.Put(h.s)
	}
}

func stressBytes(t *testing.T, opts ...Option) {
	w := &bytesStress{t: t, b: NewBytes(opts...)}
	for i := range w.shared {
		w.shared[i] = make(chan heldBytes, 1)
	}
	amid(stressTime(), w.work, func() {
		w.b.Trim()
		st := w.b.Stats()
		if limit := w.b.family.limit; limit != 0 && w.b.family.used.Load() > limit {
			t.Errorf("pages take %d bytes, and the limit is %d", w.b.family.used.Load(), limit)
		}
		if st.Live < 0 {
			t.Errorf("%d slots are in use", st.Live)
		}
	})
	for _, c := range w.shared {
		select {
		case h := <-c:
			w.check(h)
			w.b.Put(h.s)
		default:
		}
	}
	requireSound(t, w.b)
	st := w.b.Stats()
	t.Log(w.ops.Load(), "slices,", st.Live, "live,", st.Lost, "lost,", st.FailedGets, "refused")
	assert.Positive(t, w.ops.Load())
	assert.LessOrEqual(t, int64(st.Live)+int64(st.Lost), w.forgot.Load(), "all others were put")
	if w.b.options.offHeap {
		assert.Zero(t, w.forgot.Load())
		w.b.Trim()
		assert.Zero(t, w.b.Stats().MappedBytes)
	}
	require.NoError(t, w.b.Close())
	assert.Zero(t, w.b.family.used.Load())
}

func TestBytesStress(t *testing.T) {
	t.Run("heap", func(t *testing.T) { stressBytes(t, WithProfile(100_000)) })
	t.Run("off-heap", func(t *testing.T) { stressBytes(t, WithOffHeap(), WithGuardSampling(50), WithProfile(100_000)) })
	t.Run("heap, limit", func(t *testing.T) { stressBytes(t, WithLimit(4<<20)) })
	t.Run("off-heap, limit", func(t *testing.T) { stressBytes(t, WithOffHeap(), WithLimit(8<<20)) })
}
