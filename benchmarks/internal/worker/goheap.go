//go:build !nogoheap

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// heapVerbs are the studies of the goheap study.
var heapVerbs = map[string]func(spec []byte, out io.Writer) error{
	wire.VerbWarm:        study(measureWarm),
	wire.VerbForgotten:   study(measureForgotten),
	wire.VerbCollections: study(measureCollections),
	wire.VerbRetention:   study(measureRetention),
	wire.VerbLosses:      study(measureLosses),
}

func study[S, R any](measure func(S) (R, error)) func([]byte, io.Writer) error {
	return func(spec []byte, out io.Writer) error { return answer(spec, out, measure) }
}

// A heapSource is a side of the studies in which a call more does not matter.
type heapSource struct {
	get   func() *loops.Obj96
	put   func(*loops.Obj96)
	stats func() pool.Stats // zero if the side is no pool of this library
}

func newHeapSource(s catalog.Side) (heapSource, error) {
	noStats := func() pool.Stats { return pool.Stats{} }
	switch s {
	case catalog.Pool:
		p := loops.NewCleared()
		return heapSource{p.Get, p.Put, p.Stats}, nil
	case catalog.SyncPool:
		p := &sync.Pool{New: func() any { return new(loops.Obj96) }}
		return heapSource{func() *loops.Obj96 { return p.Get().(*loops.Obj96) }, func(x *loops.Obj96) { p.Put(x) }, noStats}, nil
	case catalog.New:
		return heapSource{func() *loops.Obj96 { return new(loops.Obj96) }, func(*loops.Obj96) {}, noStats}, nil
	}
	return heapSource{}, fmt.Errorf("no goheap study of %q", s)
}

// measureWarm counts how many objects are made after collections that none was in use in.
func measureWarm(spec wire.WarmSpec) (wire.Warm, error) {
	var made atomic.Int64
	count := func(x *loops.Obj96) {
		made.Add(1)
		loops.MakeBuffer(x)
	}
	var get func() *loops.Obj96
	var put func(*loops.Obj96)
	switch spec.Side {
	case catalog.Kept, wire.KeptWarm:
		opts := []pool.Option{pool.WithGoHeap(), pool.WithInit(count)}
		if spec.Side == wire.KeptWarm {
			// On each P, a page may be in part what another P has the rest of.
			pages := spec.Objects/loops.NewCleared().Stats().SlotsPerPage + 1 + runtime.GOMAXPROCS(0)
			opts = append(opts, pool.WithWarmPages(pages))
		}
		p := pool.New[loops.Obj96](opts...)
		get, put = p.Get, p.Put
	case catalog.SyncPool:
		p := &sync.Pool{New: func() any {
			x := new(loops.Obj96)
			count(x)
			return x
		}}
		get, put = func() *loops.Obj96 { return p.Get().(*loops.Obj96) }, func(x *loops.Obj96) { p.Put(x) }
	default:
		return wire.Warm{}, fmt.Errorf("no goheap study of warm objects of %q", spec.Side)
	}
	xs := make([]*loops.Obj96, spec.Objects)
	for i := range xs {
		xs[i] = get()
		xs[i].N[0] = 1
	}
	for i, x := range xs {
		put(x)
		xs[i] = nil
	}
	for range spec.Collections {
		time.Sleep(spec.Pause)
		runtime.GC()
	}
	result := wire.Warm{WarmSpec: spec}
	made.Store(0)
	for i := range xs {
		xs[i] = get()
	}
	result.Made = int(made.Load())
	for range warmMore {
		xs = append(xs, get())
	}
	for _, x := range xs {
		result.There += int(x.N[0])
		put(x)
	}
	return result, nil
}

// warmMore Gets come after those of as many objects as were put: the last page has some more slots.
const warmMore = 200

// forgottenCollections are enough for all that is dropped.
const forgottenCollections = 3

func measureForgotten(spec wire.ForgottenSpec) (wire.Forgotten, error) {
	src, err := newHeapSource(spec.Side)
	if err != nil {
		return wire.Forgotten{}, err
	}
	result := wire.Forgotten{ForgottenSpec: spec}
	xs := make([]*loops.Obj96, spec.Objects)
	note := func() {
		st := src.stats()
		result.States = append(result.States, wire.HeapState{MiB: heapMiB(), Live: st.Live, Lost: st.Lost})
	}
	collectHeap()
	note()
	for i := range xs {
		xs[i] = src.get()
	}
	note()
	clear(xs)
	for range forgottenCollections {
		collectHeap()
		note()
	}
	runtime.KeepAlive(xs)
	return result, nil
}

// measureCollections holds all objects. Each has pointers to two others.
func measureCollections(spec wire.CollectionsSpec) (wire.Collections, error) {
	src, err := newHeapSource(spec.Side)
	if err != nil {
		return wire.Collections{}, err
	}
	xs := make([]*loops.Obj96, spec.Objects)
	for i := range xs {
		xs[i] = src.get()
		if i > 0 {
			xs[i].Next, xs[i].Other = xs[i-1], xs[i/2]
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	var took, cpu, pauses []float64
	for range spec.Rounds {
		before, start := gcSeconds(), time.Now()
		runtime.GC()
		took = append(took, time.Since(start).Seconds()*1e3)
		cpu = append(cpu, (gcSeconds()-before)*1e3)
		var st debug.GCStats
		debug.ReadGCStats(&st)
		pauses = append(pauses, float64(st.Pause[0])/float64(time.Microsecond))
	}
	runtime.KeepAlive(xs)
	runtime.KeepAlive(src) // or the pool ends with the last Get
	return wire.Collections{
		CollectionsSpec: spec, Millis: median(took), CPUMillis: median(cpu),
		PauseUS: median(pauses), LowUS: round(quantile(pauses, 0.1)),
	}, nil
}

// measureRetention holds what is left of the objects.
func measureRetention(spec wire.RetentionSpec) (wire.Retention, error) {
	src, err := newHeapSource(spec.Side)
	if err != nil {
		return wire.Retention{}, err
	}
	xs := make([]*loops.Obj96, spec.Objects)
	collectHeap()
	before := heapMiB()
	for i := range xs {
		xs[i] = src.get()
		if spec.Buffer > 0 {
			xs[i].Buf = make([]byte, spec.Buffer)
		}
	}
	collectHeap()
	result := wire.Retention{RetentionSpec: spec, FullMiB: round(heapMiB() - before)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range xs {
		if rng.Float64() < spec.Share {
			xs[i] = nil
		}
	}
	for range forgottenCollections {
		collectHeap()
	}
	result.LeftMiB = round(heapMiB() - before)
	runtime.KeepAlive(xs)
	runtime.KeepAlive(src)
	return result, nil
}

// lossesSamples are how often measureLosses looks at the heap.
const lossesSamples = 10

// measureLosses replaces random ones of the live objects.
func measureLosses(spec wire.LossesSpec) (wire.Losses, error) {
	src, err := newHeapSource(spec.Side)
	if err != nil {
		return wire.Losses{}, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	result := wire.Losses{LossesSpec: spec}
	xs := make([]*loops.Obj96, spec.Live)
	for i := range xs {
		xs[i] = src.get()
	}
	note := func() {
		collectHeap()
		result.MiB = append(result.MiB, heapMiB())
	}
	note()
	rng, share := uint64(1), uint64(spec.Share*(1<<32))
	for r := 1; r <= spec.Rounds; r++ {
		for range spec.Gets {
			rng = loops.Xorshift(rng)
			x := &xs[rng%uint64(len(xs))]
			if rng>>32 < share {
				result.Forgot++
			} else {
				src.put(*x)
			}
			*x = src.get()
		}
		if r%spec.CollectEvery == 0 {
			result.MostMiB = max(result.MostMiB, heapMiB())
			runtime.GC()
		}
		if r*lossesSamples/spec.Rounds != (r-1)*lossesSamples/spec.Rounds {
			note()
		}
	}
	result.Lost = src.stats().Lost
	result.Records = round(float64(pool.ReadMemory().Records) / (1 << 20))
	runtime.KeepAlive(xs)
	return result, nil
}

// collectHeap collects garbage, and waits for cleanups.
func collectHeap() {
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
}

// heapMiB returns how much the Go heap has in objects, those included that were not swept yet.
func heapMiB() float64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return round(float64(sample[0].Value.Uint64()) / (1 << 20))
}

// gcSeconds returns what all collections have taken of processors, idle ones included.
func gcSeconds() float64 {
	sample := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}
