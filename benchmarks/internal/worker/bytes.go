//go:build !nobytes && !nogoheap

package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/bytedance/gopkg/lang/mcache"
	"github.com/valyala/bytebufferpool"
	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// bytesVerbs are the parts of the bytes study.
var bytesVerbs = map[string]func(spec []byte, out io.Writer) error{
	wire.VerbBytes:       study(measureBytes),
	wire.VerbBytesMemory: study(measureBytesMemory),
	wire.VerbBytesWaste:  study(measureBytesWaste),
}

// mixLen is how many sizes of the mix take turns.
const mixLen = 4096

// bytesSizes are those that a specification wants.
func bytesSizes(size int) []int32 {
	if size == 0 {
		return catalog.MixSizes(mixLen)
	}
	return []int32{int32(size)}
}

// A bytesRunner is a workload on one side.
type bytesRunner struct {
	loops.BytesLoops
	workload         wire.BytesWorkload
	garbage          *meter
	length, capacity float64 // sums over runs
}

func (r *bytesRunner) run(n int) (l lap) {
	switch r.workload {
	case wire.BytesPingPong:
		l = timeWorkers(1, n, func(int) { r.PingPong(n) })
	case wire.BytesChurn:
		l = timeWorkers(1, n, func(int) { r.Churn(n) })
		length, capacity := r.Held()
		r.length += float64(length)
		r.capacity += float64(capacity)
	case wire.BytesAcross:
		each := r.BatchLen()
		batches := (n + each - 1) / each
		l = timeWorkers(2, batches*each, func(k int) {
			if k == 0 {
				r.Produce(batches)
			} else {
				r.Consume(batches)
			}
		})
	}
	if r.garbage != nil {
		r.garbage.collectAbove(wire.MostGarbage)
	}
	return l
}

func (r *bytesRunner) close() { r.Close() }

func measureBytes(spec wire.BytesSpec) (wire.Bytes, error) {
	var result wire.Bytes
	noteProbe(spec.Quickest)
	for _, w := range wire.BytesWorkloads {
		result.Cells = append(result.Cells, measureBytesCell(spec, w))
	}
	result.Quickest = time.Duration(quickest.Load())
	return result, nil
}

// measureBytesCell has the sides take turns. make is measured in rounds: most of its cost is
// collections.
func measureBytesCell(spec wire.BytesSpec, w wire.BytesWorkload) wire.BytesCell {
	timing := wire.CellSpec{Timing: spec.Timing, Turn: spec.Turn}
	if w == wire.BytesAcross {
		timing.Slices = spec.Together
	}
	var short, long []*contender
	runners := make(map[catalog.Side]*bytesRunner)
	garbage := &meter{allocated()}
	for _, s := range wire.BytesSides {
		r := &bytesRunner{BytesLoops: loops.NewBytes[s](bytesSizes(spec.Size)), workload: w}
		defer r.close()
		if w == wire.BytesChurn {
			r.Fill()
		}
		runners[s] = r
		c := &contender{side: s, runner: r}
		if s == wire.Make {
			long = append(long, c)
		} else {
			r.garbage = garbage
			short = append(short, c)
		}
	}
	cell := wire.BytesCell{Workload: w, NS: make(map[catalog.Side]float64)}
	cell.Quiet = takeSlices(short, timing, w == wire.BytesAcross)
	for _, c := range short {
		cell.NS[c.side] = c.low(cell.Quiet)
	}
	takeRounds(long, timing)
	for _, c := range long {
		cell.NS[c.side] = median(c.rounds)
	}
	if w == wire.BytesChurn {
		cell.Capacity = make(map[catalog.Side]float64)
		for s, r := range runners {
			cell.Capacity[s] = round(r.capacity / r.length)
		}
	}
	return cell
}

// A bytesSource is a side of the study of memory, in which a call more does not matter.
type bytesSource struct {
	get     func(n int) (b []byte, put func())
	trim    func()                               // nil if there is none
	counted func() (b pool.BytesStats, has bool) // of a Bytes
}

func newBytesSource(s catalog.Side) (bytesSource, error) {
	none := func() (pool.BytesStats, bool) { return pool.BytesStats{}, false }
	of := func(b *pool.Bytes) bytesSource {
		get := func(n int) ([]byte, func()) {
			x := b.Get(n)
			return x, func() { b.Put(x) }
		}
		return bytesSource{get, func() { b.Trim() }, func() (pool.BytesStats, bool) { return b.Stats(), true }}
	}
	switch s {
	case wire.BytesOnHeap:
		return of(pool.NewBytes()), nil
	case wire.BytesOffHeap:
		return of(pool.NewBytes(pool.WithOffHeap())), nil
	case catalog.SyncPool:
		p := &sync.Pool{New: func() any { return new([]byte) }}
		return bytesSource{func(n int) ([]byte, func()) {
			x := p.Get().(*[]byte)
			if cap(*x) < n {
				*x = make([]byte, n)
			}
			*x = (*x)[:n]
			return *x, func() { p.Put(x) }
		}, nil, none}, nil
	case catalog.ByteBuffer:
		p := new(bytebufferpool.Pool)
		return bytesSource{func(n int) ([]byte, func()) {
			x := p.Get()
			if cap(x.B) < n {
				x.B = make([]byte, n)
			}
			x.B = x.B[:n]
			return x.B, func() { p.Put(x) }
		}, nil, none}, nil
	case wire.Mcache:
		return bytesSource{func(n int) ([]byte, func()) {
			x := mcache.Malloc(n)
			return x, func() { mcache.Free(x) }
		}, nil, none}, nil
	case wire.Make:
		return bytesSource{func(n int) ([]byte, func()) { return make([]byte, n), func() {} }, nil, none}, nil
	}
	return bytesSource{}, fmt.Errorf("no bytes study of %q", s)
}

// state is what the process has, and what a Bytes counts.
func (src bytesSource) state() (st wire.BytesState, err error) {
	st.Resident, err = residentMiB()
	st.Heap = heapMiB()
	if counted, has := src.counted(); has {
		st.Committed = round(float64(counted.CommittedBytes) / (1 << 20))
	}
	return st, err
}

// measureBytesMemory gets slices and puts them in a process that has done nothing else.
func measureBytesMemory(spec wire.BytesMemorySpec) (wire.BytesMemory, error) {
	result := wire.BytesMemory{BytesMemorySpec: spec}
	src, err := newBytesSource(spec.Side)
	if err != nil {
		return result, err
	}
	puts := make([]func(), spec.Slices)
	runtime.GC()
	for _, step := range []struct {
		do func()
		to *wire.BytesState
	}{
		{func() {}, &result.Before},
		{func() { src.burst(puts, spec.Size) }, &result.Burst},
		{func() { idle(spec.Idle) }, &result.Idle},
		{src.trimIfAny, &result.Trim},
		{debug.FreeOSMemory, &result.Freed},
	} {
		step.do()
		if *step.to, err = src.state(); err != nil {
			return result, err
		}
	}
	return result, nil
}

// burst gets slices, writes a byte on every page of the system, and puts all.
func (src bytesSource) burst(puts []func(), size int) {
	for i := range puts {
		b, put := src.get(size)
		for at := 0; at < len(b); at += pageStep {
			b[at] = 1
		}
		puts[i] = put
	}
	for _, put := range puts {
		put()
	}
	clear(puts)
}

func (src bytesSource) trimIfAny() {
	if src.trim != nil {
		src.trim()
	}
}

// measureBytesWaste gets a slice of each class.
func measureBytesWaste(spec wire.BytesWasteSpec) (wire.BytesWaste, error) {
	var result wire.BytesWaste
	for kind, b := range []*pool.Bytes{pool.NewBytes(), pool.NewBytes(pool.WithOffHeap())} {
		var xs [][]byte
		for n := 1; n <= min(spec.Most, pool.MaxSlotSize); {
			x := b.Get(n)
			if kind == 0 {
				result.Classes = append(result.Classes, wire.BytesClass{From: n, Size: cap(x)})
			}
			xs = append(xs, x)
			n = cap(x) + 1
		}
		for i, c := range b.Stats().Classes {
			if result.Classes[i].Size != c.Size || c.Pages == 0 {
				return result, fmt.Errorf("class %d has %d bytes in %d pages, and the slice %d", i, c.Size, c.Pages, result.Classes[i].Size)
			}
			result.Classes[i].Pages[kind] = wire.Paging{Bytes: int(c.MappedBytes) / c.Pages, Slots: c.SlotsPerPage}
		}
		for _, x := range xs {
			b.Put(x)
		}
		loops.Check(b.Close())
	}
	return result, nil
}
