package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/bytebufferpool"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// Every side hands out objects of the right size that nobody else has, zeroed if
// it says so, and does the same work on their bytes.
func TestContract(t *testing.T) {
	w, err := catalog.Find("ping-pong")
	require.NoError(t, err)
	for _, v := range comparedVariants() {
		t.Run(fmt.Sprintf("%s/%d/%s", v.Side, v.Size, v.Mode), func(t *testing.T) {
			make := makerOf(v)
			require.NotNil(t, make)
			switch r := make(w, 1).(type) {
			case pingPong[*loops.Obj16]:
				checkContract(t, v, r.crew[0])
			case pingPong[*loops.Obj64]:
				checkContract(t, v, r.crew[0])
			case pingPong[*loops.Obj256]:
				checkContract(t, v, r.crew[0])
			case pingPong[*loops.Obj1024]:
				checkContract(t, v, r.crew[0])
			case pingPong[*bytebufferpool.ByteBuffer]:
				checkContract(t, v, r.crew[0])
			case pingPong[uint32]:
				checkContract(t, v, r.crew[0])
			default:
				t.Fatalf("no case for %T", r)
			}
		})
	}
}

// comparedVariants are those that the comparison wants: each side with each size, in the modes that
// it has in any workload.
func comparedVariants() (all []loops.Variant) {
	for _, s := range catalog.GoSides {
		for _, m := range catalog.Modes {
			takesPart := func(w catalog.Workload) bool { return catalog.TakesPart(s, w, m) }
			if !slices.ContainsFunc(catalog.Workloads, takesPart) {
				continue
			}
			for _, size := range catalog.Sizes {
				all = append(all, loops.Variant{Side: s, Size: size, Mode: m})
			}
		}
	}
	return all
}

// There are no other loops.
func TestVariants(t *testing.T) {
	all := comparedVariants()
	assert.Len(t, all, len(catalog.Sizes)*(len(catalog.Modes)*len(catalog.GoSides)-1), "GetBatch is never raw")
	for _, s := range catalog.HeapSides {
		v := loops.Variant{Side: s, Size: catalog.HeapSize, Mode: catalog.Pointers}
		assert.NotNil(t, makerOf(v), v)
		all = append(all, v)
	}
	assert.Equal(t, len(all), loops.Variants())
}

func checkContract[H any](t *testing.T, v loops.Variant, l loops.Loops[H]) {
	const n = 200
	lines := uint64(max(1, v.Size/64))
	value := func(i int) uint64 { // what getAll writes into the object
		if v.Side == catalog.PoolBatch {
			return uint64(i % catalog.BatchLen)
		}
		return uint64(i)
	}
	xs := make([]H, n)
	order := indexes(n, catalog.Shuffled)

	l.GetAll(xs)
	for i, x := range xs { // spoil all of it
		b := bytesOf(l.Object(x))
		require.Len(t, b, v.Size)
		for k := range b {
			b[k] = byte(i) | 1
		}
	}
	for i, x := range xs {
		for _, b := range bytesOf(l.Object(x)) {
			require.Equal(t, byte(i)|1, b, "object %d shares memory with another", i)
		}
	}
	l.PutAll(xs, order)
	spoiled := l.Total()

	l.GetAll(xs)
	var sum uint64
	for i, x := range xs {
		words := unsafe.Slice((*uint64)(unsafe.Pointer(&bytesOf(l.Object(x))[0])), v.Size/8)
		for k, word := range words {
			switch {
			case k%8 == 0:
				require.Equal(t, value(i), word, "object %d, word %d", i, k)
			case v.Mode == catalog.Zeroed:
				require.Zero(t, word, "object %d, word %d", i, k)
			}
		}
		sum += lines * value(i)
	}
	l.PutAll(xs, order)
	assert.Equal(t, sum, l.Total()-spoiled, "getAll and putAll")

	before := l.Total()
	l.PingPong(10)
	assert.Equal(t, 45*lines, l.Total()-before, "pingPong")
	l.Close()
}

// bytesOf returns the bytes of what x points to, of whichever kind.
func bytesOf(x any) []byte {
	if b, ok := x.(*bytebufferpool.ByteBuffer); ok {
		return b.B
	}
	v := reflect.ValueOf(x)
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size())
}

// Each workload runs on each side that takes part in it, and puts what it got: a
// pool with objects out cannot be closed.
func TestCells(t *testing.T) {
	for _, w := range catalog.Workloads {
		for _, m := range catalog.Modes {
			spec := wire.CellSpec{Workload: w.Name, Size: 64, Mode: m, Turn: 3, Timing: wire.Timing{
				Slices: 3, Slice: 20 * time.Microsecond, Limit: 50 * time.Millisecond, Rounds: 1, Round: 20 * time.Microsecond,
			}}
			for _, s := range catalog.GoSides {
				if catalog.TakesPart(s, w, m) {
					spec.Sides = append(spec.Sides, s)
				}
			}
			cell, err := measureCell(spec)
			require.NoError(t, err)
			assert.Len(t, cell.NS, len(spec.Sides))
			for _, s := range spec.Sides {
				assert.Positive(t, cell.NS[s], "%s, %s, %s", w.Name, m, s)
			}
			assert.Positive(t, cell.Quickest)
			assert.Contains(t, cell.NS, catalog.SyncPool, "ratios are to it")
		}
	}
}

// More goroutines than processors, as in the growth study.
func TestGoroutines(t *testing.T) {
	g, err := measureGoroutines(wire.GoroutinesSpec{
		Workload: "exchange", Procs: 4, Goroutines: []int{1, 8}, Rounds: 1, Target: 50 * time.Microsecond,
	})
	require.NoError(t, err)
	for _, s := range wire.GoroutineSides {
		require.Len(t, g.NS[s], 2, s)
		assert.Positive(t, g.NS[s][1], s)
	}
}

func TestLive(t *testing.T) {
	for _, h := range wire.Holders {
		l, err := measureLive(wire.LiveSpec{Holder: h, Objects: 10_001})
		require.NoError(t, err)
		assert.Positive(t, l.FillNS, h)
		assert.Positive(t, l.ChurnNS, h)
		assert.Positive(t, l.GCMillis, h)
	}
	_, err := measureLive(wire.LiveSpec{Holder: "nobody", Objects: 1})
	assert.ErrorContains(t, err, `no holder "nobody"`)
}

func TestMemory(t *testing.T) {
	for _, s := range []catalog.Side{catalog.Pool, catalog.SyncPool} {
		m, err := measureMemory(wire.MemorySpec{Side: s, Objects: 1000, Idle: 120 * time.Millisecond})
		require.NoError(t, err)
		assert.Greater(t, len(m.Samples), 2)
		assert.Positive(t, m.Samples[0].MiB)
		require.Len(t, m.Bursts, 2)
		assert.Less(t, m.Bursts[0].To, m.Bursts[1].From)
	}
}

func TestStops(t *testing.T) {
	sides := []catalog.Side{catalog.Pool, catalog.SyncPool, catalog.FreeList}
	r, err := measureStops(wire.StopsSpec{Sides: sides, Turns: 2, Stops: 3})
	require.NoError(t, err)
	for _, s := range append(sides, wire.Idle) {
		assert.Positive(t, r.Sides[s].Median, s)
		assert.LessOrEqual(t, r.Sides[s].Median, r.Sides[s].P99, s)
	}
	_, err = measureStops(wire.StopsSpec{Sides: []catalog.Side{catalog.PoolBatch, "nobody"}})
	assert.ErrorContains(t, err, `no side "nobody"`)
}

// A helper that has gone is replaced, and all of a team run at the same time.
func TestTeam(t *testing.T) {
	var team team
	for range 3 {
		var here atomic.Int32
		team.do(2, func(int) {
			for here.Add(1); here.Load() < 2; {
			}
		})
		assert.EqualValues(t, 2, here.Load())
		for team.helpers[0].state.Load() != gone {
			runtime.Gosched()
		}
	}
}

// The figure of a side is that of its quiet slices, if there are enough, and of the
// half in which workers ended together.
func TestLow(t *testing.T) {
	old := quickest.Swap(1000)
	defer quickest.Store(old)
	quiet, noisy := time.Microsecond, 2*time.Microsecond
	c := contender{slices: []lap{
		{pairs: 1, took: 50, probe: quiet},
		{pairs: 1, took: 60, probe: quiet, gap: 1},
		{pairs: 1, took: 10, probe: quiet, gap: 9},
		{pairs: 1, took: 20, probe: quiet, gap: 9},
		{pairs: 1, took: 30, probe: noisy},
	}}
	assert.Equal(t, 4, leastQuiet([]*contender{&c}))
	assert.Equal(t, 50.0, c.low(true))
	assert.Equal(t, 30.0, c.low(false))
}

func TestLengthen(t *testing.T) {
	c := contender{n: 10, slices: []lap{{took: 40}, {took: 40}, {took: 900}}}
	assert.False(t, c.lengthen(70))
	assert.Len(t, c.slices, 3)
	assert.True(t, c.lengthen(100))
	assert.Equal(t, 25, c.n)
	assert.Empty(t, c.slices)
}

// Modes differ in what they count, as Stats documents it.
func TestPromotion(t *testing.T) {
	// The slots that were put first wait for the next Gets, and keep one page or two in use.
	for size, emptied := range map[int]float64{64: 3, 1024: 2} {
		spec := wire.PromotionSpec{Size: size, Pages: 4, Order: catalog.FIFO, Rounds: 3, Target: 200 * time.Microsecond}
		r, err := measurePromotion(spec)
		require.NoError(t, err)
		for _, m := range wire.PromotionModes {
			require.Contains(t, r.Modes, m)
			assert.Positive(t, r.Modes[m].NS, m)
		}
		for _, m := range []wire.PromotionMode{wire.Reset, wire.Move} {
			assert.Equal(t, wire.PromotionCounts{Promotions: emptied}, r.Modes[m].Counts, m)
		}
		none := r.Modes[wire.None].Counts
		assert.Positive(t, none.SlowGets)
		assert.Equal(t, emptied, none.Releases)
		assert.Zero(t, none.Promotions)
	}
	_, err := measurePromotion(wire.PromotionSpec{Size: 16})
	assert.ErrorContains(t, err, "no promotion study of 16 bytes")
}

func TestServe(t *testing.T) {
	question := `{"workload":"ping-pong","size":16,"mode":"raw","sides":["pool"],"slices":1,"slice":1000,"limit":1000000}` + "\n"
	var out bytes.Buffer
	require.NoError(t, run([]string{wire.VerbCells}, strings.NewReader(question+question), &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var cell wire.Cell
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &cell))
	assert.Positive(t, cell.NS[catalog.Pool])

	bad := strings.Replace(question, "ping-pong", "pong", 1)
	assert.ErrorContains(t, run([]string{wire.VerbCells}, strings.NewReader(bad), &out), `no workload "pong"`)
	assert.ErrorContains(t, run([]string{"juggle", "{}"}, nil, &out), `no study "juggle"`)
	assert.ErrorContains(t, run(nil, nil, &out), "started by the driver")
}

func TestIndexes(t *testing.T) {
	assert.Equal(t, []int32{0, 1, 2}, indexes(3, catalog.FIFO))
	assert.Equal(t, []int32{2, 1, 0}, indexes(3, catalog.LIFO))
	assert.ElementsMatch(t, indexes(100, catalog.FIFO), indexes(100, catalog.Shuffled))
	assert.NotEqual(t, indexes(100, catalog.FIFO), indexes(100, catalog.Shuffled))
}

func TestMedian(t *testing.T) {
	assert.Equal(t, 2.0, median([]float64{9, 1, 2}))
	assert.Equal(t, 2.5, median([]float64{9, 1, 2, 3}))
}
