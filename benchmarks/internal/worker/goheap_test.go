//go:build !nogoheap

package main

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// Every side hands out objects that nobody else has, and that hold what its name says.
func TestHeapContract(t *testing.T) {
	require.EqualValues(t, catalog.HeapSize, unsafe.Sizeof(loops.Obj96{}))
	for _, s := range catalog.HeapSides {
		t.Run(string(s), func(t *testing.T) {
			l := loops.New[*loops.Obj96](loops.Variant{Side: s, Size: catalog.HeapSize, Mode: catalog.Pointers})
			checkHeapContract(t, s, l)
		})
	}
}

func checkHeapContract(t *testing.T, s catalog.Side, l loops.Loops[*loops.Obj96]) {
	const n = 200
	xs := make([]*loops.Obj96, n)
	order := indexes(n, catalog.Shuffled)
	l.GetAll(xs)
	seen := make(map[*loops.Obj96]bool)
	for i, x := range xs {
		require.False(t, seen[x])
		seen[x] = true
		require.EqualValues(t, i, x.N[0])
		x.Name, x.Buf = "used", append(x.Buf, 1)
	}
	l.PutAll(xs, order)
	assert.EqualValues(t, n*(n-1), l.Total())
	l.GetAll(xs)
	used := 0
	for _, x := range xs {
		keeps := s == catalog.Kept || s == catalog.Reset || s == catalog.SyncPool
		if x.Name == "used" {
			used++
			require.True(t, keeps)
			require.Equal(t, s == catalog.Reset, len(x.Buf) == 0)
		}
		if keeps {
			require.Equal(t, loops.BufferCap, cap(x.Buf))
		} else {
			require.Zero(t, cap(x.Buf))
		}
	}
	if s == catalog.Kept || s == catalog.Reset { // a collection may have emptied sync.Pool
		assert.Greater(t, used, n/2, "some of the others are of the last page")
	}
	l.PutAll(xs, order)
	before := l.Total()
	l.PingPong(10)
	assert.EqualValues(t, 90, l.Total()-before)
	l.Close()
}

func TestHeapCells(t *testing.T) {
	for _, w := range catalog.HeapWorkloads {
		spec := wire.CellSpec{
			Workload: w.Name, Size: catalog.HeapSize, Mode: catalog.Pointers, Sides: catalog.HeapSides,
			Timing: wire.Timing{Slices: 3, Slice: 20 * time.Microsecond, Limit: 50 * time.Millisecond, Rounds: 1, Round: 20 * time.Microsecond},
		}
		cell, err := measureCell(spec)
		require.NoError(t, err)
		for _, s := range catalog.HeapSides {
			assert.Positive(t, cell.NS[s], "%s, %s", w.Name, s)
		}
	}
}

func TestWarm(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // with another P, some objects may be that one's
	for _, s := range wire.WarmSides {
		w, err := measureWarm(wire.WarmSpec{Side: s, Objects: 1000, Collections: 3, Pause: 200 * time.Millisecond})
		require.NoError(t, err)
		if s == wire.KeptWarm {
			assert.Equal(t, 1000, w.There)
			assert.LessOrEqual(t, w.Made, warmMore)
		} else {
			assert.Zero(t, w.There, s)
			assert.Equal(t, 1000, w.Made, s)
		}
	}
	_, err := measureWarm(wire.WarmSpec{Side: catalog.New})
	assert.Error(t, err)
}

// What the program has dropped goes, and the pool says how much that was.
func TestForgotten(t *testing.T) {
	const n = 100_000
	for _, s := range wire.HeapSides {
		f := inProcess[wire.Forgotten](t, wire.VerbForgotten, wire.ForgottenSpec{Side: s, Objects: n})
		require.Len(t, f.States, 2+forgottenCollections)
		full, last := f.States[1], f.States[len(f.States)-1]
		assert.Greater(t, full.MiB, f.States[0].MiB+8, s)
		assert.Less(t, last.MiB, f.States[0].MiB+1, s)
		if s == catalog.Pool {
			assert.Equal(t, n, full.Live)
			assert.Equal(t, n, last.Live+int(last.Lost))
			assert.Greater(t, last.Lost, uint64(n-1000))
		}
	}
}

func TestCollections(t *testing.T) {
	for _, s := range wire.HeapSides {
		c, err := measureCollections(wire.CollectionsSpec{Side: s, Objects: 10_000, Rounds: 3})
		require.NoError(t, err)
		assert.Positive(t, c.Millis, s)
		assert.Positive(t, c.PauseUS, s)
		assert.LessOrEqual(t, c.LowUS, c.PauseUS, s)
	}
}

// One slot keeps a page, and nothing else keeps anything.
func TestRetention(t *testing.T) {
	for _, buffer := range []int{0, 256} {
		for _, s := range wire.HeapSides {
			spec := wire.RetentionSpec{Side: s, Objects: 20_000, Buffer: buffer, Share: 0.9}
			r := inProcess[wire.Retention](t, wire.VerbRetention, spec)
			left := r.LeftMiB / r.FullMiB
			if s == catalog.Pool {
				assert.Greater(t, left, 0.9)
			} else {
				assert.Less(t, left, 0.3, s)
			}
		}
	}
}

func TestLosses(t *testing.T) {
	for _, share := range []float64{0, 0.5, 1} {
		for _, s := range wire.HeapSides {
			spec := wire.LossesSpec{Side: s, Share: share, Live: 100, Rounds: 20, Gets: 1000, CollectEvery: 2}
			t.Run(fmt.Sprint(s, share), func(t *testing.T) {
				l, err := measureLosses(spec)
				require.NoError(t, err)
				require.Len(t, l.MiB, 1+lossesSamples)
				assert.InDelta(t, share*20_000, float64(l.Forgot), 500)
				assert.LessOrEqual(t, l.Lost, l.Forgot)
				if s == catalog.Pool {
					assert.GreaterOrEqual(t, int(l.Lost), int(l.Forgot)-2000)
				}
			})
		}
	}
}

func TestNoHeapSide(t *testing.T) {
	for verb, study := range heapVerbs {
		assert.ErrorContains(t, study([]byte(`{"side":"nobody"}`), nil), `"nobody"`, verb)
	}
}
