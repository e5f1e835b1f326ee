//go:build !nogoheap

package main

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// largeVerbs are the parts of the large study.
var largeVerbs = map[string]func(spec []byte, out io.Writer) error{
	wire.VerbLarge:       study(measureLarge),
	wire.VerbLargeMemory: study(measureLargeMemory),
}

// A largeStudy is what there is for one size.
type largeStudy struct {
	check  func() error // nil if a pool can have slots of that size
	bursts func(wire.LargeSpec) (wire.Large, error)
	memory func(wire.LargeMemorySpec) (wire.LargeMemory, error)
}

func largeStudyOf[T any]() largeStudy {
	return largeStudy{pool.CheckType[T], measureBursts[T], measureBurstMemory[T]}
}

var largeStudies = map[int]largeStudy{
	1 << 10:   largeStudyOf[[1 << 10]byte](),
	4 << 10:   largeStudyOf[[4 << 10]byte](),
	16 << 10:  largeStudyOf[[16 << 10]byte](),
	64 << 10:  largeStudyOf[[64 << 10]byte](),
	200 << 10: largeStudyOf[[200 << 10]byte](),
	512 << 10: largeStudyOf[[512 << 10]byte](),
	1 << 20:   largeStudyOf[[1 << 20]byte](),
}

func measureLarge(spec wire.LargeSpec) (wire.Large, error) {
	s, ok := largeStudies[spec.Size]
	if !ok {
		return wire.Large{}, fmt.Errorf("no large study of %d bytes", spec.Size)
	}
	if err := s.check(); err != nil {
		return wire.Large{Skipped: err.Error(), Quickest: spec.Quickest}, nil
	}
	return s.bursts(spec)
}

func measureLargeMemory(spec wire.LargeMemorySpec) (wire.LargeMemory, error) {
	s, ok := largeStudies[spec.Size]
	if !ok {
		return wire.LargeMemory{}, fmt.Errorf("no large study of %d bytes", spec.Size)
	}
	if err := s.check(); err != nil {
		return wire.LargeMemory{LargeMemorySpec: spec, Skipped: err.Error()}, nil
	}
	return s.memory(spec)
}

// burster does bursts on one side. It loops itself, so that Get and Put are inlined.
type burster[T any] interface {
	bursts(times int, xs []*T, step uintptr)
	stats() pool.Stats // zero if the side is no pool of this library
	close()
}

// touch writes a byte at every multiple of step.
func touch[T any](x *T, step uintptr) {
	for at := uintptr(0); at < unsafe.Sizeof(*x); at += step {
		*(*byte)(unsafe.Add(unsafe.Pointer(x), at)) = byte(at)
	}
}

type poolBursts[T any] struct{ *pool.Pool[T] }

func (b poolBursts[T]) bursts(times int, xs []*T, step uintptr) {
	p := b.Pool
	for range times {
		for i := range xs {
			x := p.GetNoZero()
			touch(x, step)
			xs[i] = x
		}
		for _, x := range xs {
			p.Put(x)
		}
	}
}

func (b poolBursts[T]) stats() pool.Stats { return b.Stats() }
func (b poolBursts[T]) close()            { loops.Check(b.Close()) }

type syncBursts[T any] struct{ *sync.Pool }

func (b syncBursts[T]) bursts(times int, xs []*T, step uintptr) {
	p := b.Pool
	for range times {
		for i := range xs {
			x := p.Get().(*T)
			touch(x, step)
			xs[i] = x
		}
		for _, x := range xs {
			p.Put(x)
		}
	}
}

func (b syncBursts[T]) stats() pool.Stats { return pool.Stats{} }
func (b syncBursts[T]) close()            {}

func newBurster[T any](s catalog.Side) (burster[T], error) {
	switch s {
	case catalog.Pool:
		return poolBursts[T]{pool.New[T]()}, nil
	case wire.OnGoHeap:
		return poolBursts[T]{pool.New[T](pool.WithGoHeap())}, nil
	case catalog.SyncPool:
		return syncBursts[T]{&sync.Pool{New: func() any { return new(T) }}}, nil
	}
	return nil, fmt.Errorf("no large study of %q", s)
}

// A burstRunner is a runner on one side.
type burstRunner[T any] struct {
	burster[T]
	xs      []*T
	step    uintptr
	garbage *meter
	done    int // bursts
}

func (r *burstRunner[T]) run(n int) lap {
	times := max(1, (n+len(r.xs)-1)/len(r.xs))
	l := timeWorkers(1, times*len(r.xs), func(int) { r.bursts(times, r.xs, r.step) })
	r.done += times
	clear(r.xs) // or they would keep what sync.Pool lets go
	r.garbage.collectAbove(wire.MostGarbage)
	return l
}

// measureBursts has the sides take turns for each kind of burst.
func measureBursts[T any](spec wire.LargeSpec) (wire.Large, error) {
	var result wire.Large
	noteProbe(spec.Quickest)
	for _, n := range spec.Objects {
		for _, step := range spec.Steps {
			cell, err := measureBurst[T](spec, n, step)
			if err != nil {
				return result, err
			}
			result.Cells = append(result.Cells, cell)
		}
	}
	result.Quickest = time.Duration(quickest.Load())
	return result, nil
}

// warmBursts come before anything is counted.
const warmBursts = 10

func measureBurst[T any](spec wire.LargeSpec, n, step int) (wire.LargeCell, error) {
	var all []*contender
	var runners []*burstRunner[T]
	garbage := &meter{allocated()}
	for _, s := range wire.LargeSides {
		b, err := newBurster[T](s)
		if err != nil {
			return wire.LargeCell{}, err
		}
		defer b.close()
		r := &burstRunner[T]{burster: b, xs: make([]*T, n), step: uintptr(step), garbage: garbage}
		for range warmBursts {
			r.run(n)
		}
		r.done = 0
		runners = append(runners, r)
		all = append(all, &contender{side: s, runner: r})
	}
	before := make([]pool.Stats, len(all))
	for i, r := range runners {
		before[i] = r.stats()
	}
	timing := wire.CellSpec{Timing: spec.Timing, Turn: spec.Turn}
	cell := wire.LargeCell{Objects: n, Step: step, Sides: make(map[catalog.Side]wire.LargeCost)}
	cell.Quiet = takeSlices(all, timing, false)
	for i, c := range all {
		after := runners[i].stats()
		cost := wire.LargeCost{NS: c.low(cell.Quiet)}
		if gets := after.Gets - before[i].Gets; gets > 0 {
			cost.Slow = share(after.SlowGets-before[i].SlowGets, gets)
			cost.Releases = share(after.Releases-before[i].Releases, uint64(runners[i].done))
		}
		cell.Sides[c.side] = cost
	}
	return cell, nil
}

// share returns a quotient of counts. It may be small, so it has more digits than a time.
func share(n, of uint64) float64 {
	const digits = 1e6
	return float64(int64(float64(n)/float64(of)*digits+0.5)) / digits
}

// pageStep is the size of a page of the system, or less.
const pageStep = 4096

// measureBurstMemory does bursts in a process that has done nothing else. Each writes a byte on
// every page of the system.
func measureBurstMemory[T any](spec wire.LargeMemorySpec) (wire.LargeMemory, error) {
	result := wire.LargeMemory{LargeMemorySpec: spec}
	b, err := newBurster[T](spec.Side)
	if err != nil {
		return result, err
	}
	defer b.close()
	xs := make([]*T, spec.Objects)
	runtime.GC()
	if result.Resident[0], err = residentMiB(); err != nil {
		return result, err
	}
	b.bursts(spec.Bursts, xs, pageStep)
	clear(xs)
	if result.Resident[1], err = residentMiB(); err != nil {
		return result, err
	}
	result.Heap[0] = heapMiB()
	time.Sleep(spec.Idle)
	if result.Resident[2], err = residentMiB(); err != nil {
		return result, err
	}
	result.Committed = round(float64(b.stats().CommittedBytes) / (1 << 20))
	for i := 1; i < len(result.Heap); i++ {
		collectHeap()
		result.Heap[i] = heapMiB()
	}
	return result, nil
}

func residentMiB() (float64, error) {
	bytes, err := resident()
	return round(float64(bytes) / (1 << 20)), err
}
