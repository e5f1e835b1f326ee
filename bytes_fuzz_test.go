package pool

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzBytes does what its input says to a Bytes, and compares that with a model: slices in use hold
// what was written to them, no two of them overlap, and the counts are right.
func FuzzBytes(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 0, 200, 2, 0, 0, 3, 100, 0, 1, 0, 0})
	f.Add([]byte{1, 0, 255, 255, 3, 0, 200, 3, 0, 200, 4, 0, 7, 5, 0, 0, 6, 0, 0, 2, 0, 0})
	f.Add([]byte{2, 0, 200, 14, 0, 200, 14, 0, 200, 14, 1, 0, 1, 7, 0, 0, 0, 0, 3})
	f.Add([]byte{3, 0, 200, 14, 0, 200, 14, 3, 200, 14, 6, 0, 0, 7, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) { runBytes(t, input) })
}

// runBytes runs one input of FuzzBytes. The first byte has the options. Then an operation has three
// bytes: what to do, and two for a length, or for which slice and which part of it.
func runBytes(t testing.TB, input []byte) {
	if len(input) == 0 || len(input) > 300 {
		return
	}
	var opts []Option
	if input[0]&1 != 0 {
		opts = append(opts, WithOffHeap(), WithGuardSampling(4))
	}
	if input[0]&2 != 0 {
		opts = append(opts, WithLimit(1<<20))
	}
	b := NewBytes(opts...)
	m := &bytesModel{t: t, b: b}
	for input = input[1:]; len(input) >= 3; input = input[3:] {
		m.do(input[0], int(input[1]), int(input[2]))
		m.check()
	}
	for len(m.held) > 0 {
		m.put(0, 0)
	}
	m.check()
	b.Trim()
	requireSound(t, b)
	assert.Zero(t, b.family.used.Load())
	require.NoError(t, b.Close())
}

// A bytesModel knows which slices of b are in use.
type bytesModel struct {
	t     testing.TB
	b     *Bytes
	held  []heldBytes
	round int
	last  []byte // was put last
}

func (m *bytesModel) do(op byte, x, y int) {
	n := x << (y % 12)
	if len(m.held) == 0 {
		op = op % 2 * 7
	}
	switch op % 8 {
	case 0, 1:
		if len(m.held) < 64 {
			m.get(n)
		}
	case 2:
		m.put(x, y)
	case 3:
		m.grow(x, y*y/4)
	case 4: // of a part
		h := &m.held[x%len(m.held)]
		if cut := y % (len(h.s) + 1); cap(h.s[cut:]) != 0 {
			h.s, h.cut = h.s[cut:], h.cut+cut
		}
	case 5:
		h := m.held[x%len(m.held)]
		require.True(m.t, m.b.Owns(h.s))
		require.False(m.t, m.b.TryPut(bytes.Clone(append(h.s, 1))))
	case 6:
		m.b.Trim()
		m.last = nil
	case 7:
		if cap(m.last) != 0 {
			requirePanicTB(m.t, ErrDoublePut, func() { m.b.Put(m.last) })
			requirePanicTB(m.t, ErrDoublePut, func() { m.b.TryPut(m.last) })
		}
	}
}

// get gets a slice of n bytes, unless the limit forbids it.
func (m *bytesModel) get(n int) {
	s, err := m.b.TryGet(n)
	if err != nil {
		require.True(m.t, errors.Is(err, ErrLimit) && m.b.family.limit != 0, err)
		return
	}
	require.Len(m.t, s, n)
	m.last = nil
	m.hold(s)
}

func (m *bytesModel) hold(s []byte) {
	m.round++
	fill(s, m.round, 0)
	m.held = append(m.held, heldBytes{s: s, round: m.round})
}

// take takes slice k out of held.
func (m *bytesModel) take(k int) heldBytes {
	k %= len(m.held)
	h := m.held[k]
	m.held[k] = m.held[len(m.held)-1]
	m.held = m.held[:len(m.held)-1]
	return h
}

// put puts a part of slice k.
func (m *bytesModel) put(k, part int) {
	h := m.take(k)
	s := h.s[part%(len(h.s)+1):]
	if cap(s) == 0 {
		s = h.s
	}
	if part%2 == 0 {
		m.b.Put(s)
	} else {
		require.True(m.t, m.b.TryPut(s))
	}
	m.last = s
}

// grow appends n bytes to slice k.
func (m *bytesModel) grow(k, n int) {
	h := m.take(k)
	room := cap(h.s) - len(h.s)
	var s []byte
	if err := caught(func() error { s = m.b.Grow(h.s, n); return nil }); err != nil {
		require.True(m.t, errors.Is(err, ErrLimit) && m.b.family.limit != 0, err)
		m.held = append(m.held, h)
		return
	}
	m.last = nil
	require.Len(m.t, s, len(h.s))
	require.GreaterOrEqual(m.t, cap(s)-len(s), n)
	require.True(m.t, h.intactIn(s))
	if n <= room {
		require.True(m.t, addressOf(s[:1]) == addressOf(h.s[:1]))
	}
	if cap(s) > MaxSlotSize {
		require.False(m.t, m.b.Owns(s))
		return // it is the collector's
	}
	m.hold(s[:len(s)+n])
}

// intactIn reports whether s, a copy of h.s, holds what was written.
func (h heldBytes) intactIn(s []byte) bool {
	for k := range s {
		if s[k] != canary(h.round, 0, h.cut+k) {
			return false
		}
	}
	return true
}

// check compares b with the model.
func (m *bytesModel) check() {
	st := m.b.Stats()
	require.Equal(m.t, len(m.held), st.Live)
	byPlace := make(map[uintptr]int)
	for _, h := range m.held {
		require.True(m.t, h.intactIn(h.s), "somebody has written to %d bytes of round %d", len(h.s), h.round)
		_, slot, err := m.b.findAny("check", h.s)
		require.NoError(m.t, err)
		byPlace[uintptr(slot)]++
	}
	require.Len(m.t, byPlace, len(m.held), "no two have the same slot")
	if limit := m.b.family.limit; limit != 0 {
		require.LessOrEqual(m.t, st.MappedBytes, limit)
	}
}

// requirePanicTB is requirePanic in a fuzz test.
func requirePanicTB(t testing.TB, want error, f func()) {
	require.ErrorIs(t, caught(func() error { f(); return nil }), want)
}

// Some random inputs, in every test run.
func TestBytesModel(t *testing.T) {
	n := times(200)
	if testing.Short() {
		n = n/5 + 1
	}
	eachInput(t, n, func(input []byte) { runBytes(t, input) })
}
