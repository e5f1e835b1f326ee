//go:build !nobytes && !nogoheap

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// Every side hands out slices of the length that was asked for, and puts them all: a Bytes off the
// Go heap with slices out cannot be closed.
func TestBytesLoops(t *testing.T) {
	require.Len(t, loops.NewBytes, len(wire.BytesSides))
	for _, s := range wire.BytesSides {
		for _, sizes := range [][]int32{{100}, {10, 5000, 300, 20_000}} {
			l := loops.NewBytes[s](sizes)
			sum := 0
			for i := range wire.BytesLive {
				sum += int(sizes[i%len(sizes)])
			}
			l.Fill()
			length, capacity := l.Held()
			assert.Equal(t, sum, length, s)
			assert.GreaterOrEqual(t, capacity, length, s)
			l.PingPong(10)
			l.Churn(100)
			if len(sizes) == 1 {
				length, _ = l.Held()
				assert.Equal(t, sum, length, s)
			}
			r := bytesRunner{BytesLoops: l, workload: wire.BytesAcross}
			each := l.BatchLen()
			assert.Equal(t, 10*each, r.run(10*each).pairs, s)
			l.Close()
		}
	}
	assert.Equal(t, 8, loops.NewBytes[wire.BytesOnHeap](bytesSizes(1<<20)).BatchLen(), "not too much on its way")
	assert.Len(t, bytesSizes(0), mixLen)
}

func TestBytes(t *testing.T) {
	for _, size := range []int{1000, 0} {
		r, err := measureBytes(wire.BytesSpec{Size: size, Together: 2, Timing: wire.Timing{
			Slices: 3, Slice: 20 * time.Microsecond, Limit: 20 * time.Millisecond, Rounds: 1, Round: 20 * time.Microsecond,
		}})
		require.NoError(t, err)
		require.Len(t, r.Cells, len(wire.BytesWorkloads))
		for _, c := range r.Cells {
			for _, s := range wire.BytesSides {
				assert.Positive(t, c.NS[s], "%s, %s", c.Workload, s)
				if c.Workload == wire.BytesChurn {
					assert.GreaterOrEqual(t, c.Capacity[s], 1.0, s)
				}
			}
		}
		assert.Positive(t, r.Quickest)
	}
}

func TestBytesMemory(t *testing.T) {
	for _, s := range wire.BytesSides {
		r, err := measureBytesMemory(wire.BytesMemorySpec{Side: s, Slices: 4, Size: 100_000, Idle: time.Millisecond})
		require.NoError(t, err)
		for _, st := range []wire.BytesState{r.Before, r.Burst, r.Idle, r.Trim, r.Freed} {
			assert.Positive(t, st.Resident, s)
		}
		isOurs := s == wire.BytesOnHeap || s == wire.BytesOffHeap
		assert.Equal(t, isOurs, r.Burst.Committed > 0, s)
		assert.Zero(t, r.Trim.Committed, s)
	}
	_, err := measureBytesMemory(wire.BytesMemorySpec{Side: catalog.Channel})
	assert.ErrorContains(t, err, `no bytes study of "channel"`)
}

// The classes cover all lengths, and pages have room for their slots.
func TestBytesWaste(t *testing.T) {
	r, err := measureBytesWaste(wire.BytesWasteSpec{Most: 100_000})
	require.NoError(t, err)
	next := 1
	for _, c := range r.Classes {
		assert.Equal(t, next, c.From)
		next = c.Size + 1
		for _, p := range c.Pages {
			assert.Positive(t, p.Slots, c.Size)
			assert.GreaterOrEqual(t, p.Bytes, p.Slots*c.Size, c.Size)
		}
	}
	assert.Greater(t, next, min(100_000, pool.MaxSlotSize))
}
