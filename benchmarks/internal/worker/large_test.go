//go:build !nogoheap

package main

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// Every side hands out objects that nobody else has, writes where it should, and puts them all.
func TestBursts(t *testing.T) {
	for _, s := range wire.LargeSides {
		b, err := newBurster[[16 << 10]byte](s)
		require.NoError(t, err)
		xs := make([]*[16 << 10]byte, 8)
		b.bursts(2, xs, 4096)
		seen := make(map[*[16 << 10]byte]bool)
		for _, x := range xs {
			seen[x] = true
		}
		assert.Len(t, seen, len(xs), s)
		if st := b.stats(); s != catalog.SyncPool {
			assert.EqualValues(t, 2*len(xs), st.Gets, s)
			assert.Zero(t, st.Live, s)
			assert.Equal(t, s == catalog.Pool, st.OffHeap)
		}
		b.close()
	}
	_, err := newBurster[[1]byte](catalog.Channel)
	assert.ErrorContains(t, err, `no large study of "channel"`)
}

func TestTouch(t *testing.T) {
	var x [10000]byte
	for i := range x {
		x[i] = 1
	}
	touch(&x, 4096)
	assert.Equal(t, []byte{0, 0, 0, 1}, []byte{x[0], x[4096], x[8192], x[4095]})
	x[0], x[4096] = 1, 1
	touch(&x, unsafe.Sizeof(x))
	assert.Equal(t, []byte{0, 1}, []byte{x[0], x[4096]})
}

func TestLarge(t *testing.T) {
	spec := wire.LargeSpec{Size: 4 << 10, Objects: []int{1, 8}, Steps: []int{4 << 10}, Timing: wire.Timing{
		Slices: 3, Slice: 20 * time.Microsecond, Limit: 20 * time.Millisecond,
	}}
	r, err := measureLarge(spec)
	require.NoError(t, err)
	require.Len(t, r.Cells, len(spec.Objects))
	for _, c := range r.Cells {
		for _, s := range wire.LargeSides {
			assert.Positive(t, c.Sides[s].NS, s)
			assert.Less(t, c.Sides[s].Slow, 0.5, "after a warm-up")
		}
	}
	assert.Positive(t, r.Quickest)

	spec.Size = 1 << 20
	r, err = measureLarge(spec)
	require.NoError(t, err)
	if pool.MaxSlotSize < spec.Size {
		assert.Contains(t, r.Skipped, "MaxSlotSize")
		assert.Empty(t, r.Cells)
	} else {
		assert.NotEmpty(t, r.Cells)
	}
	spec.Size++
	_, err = measureLarge(spec)
	assert.ErrorContains(t, err, "no large study of 1048577 bytes")
}

func TestLargeMemory(t *testing.T) {
	for _, s := range wire.LargeSides {
		r, err := measureLargeMemory(wire.LargeMemorySpec{Side: s, Size: 16 << 10, Objects: 64, Bursts: 2, Idle: time.Millisecond})
		require.NoError(t, err)
		assert.Positive(t, r.Resident[0])
		assert.Positive(t, r.Heap[2])
		if s == catalog.Pool {
			assert.Positive(t, r.Committed)
		}
	}
}
