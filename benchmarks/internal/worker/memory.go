package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	sampleEvery = 50 * time.Millisecond
	gcEvery     = time.Second // while idle, as in a process that does other things
)

// measureMemory gets a lot of objects and puts them all, is idle, does that again
// and is idle again; what is resident is sampled all the time.
func measureMemory(spec wire.MemorySpec) (wire.Memory, error) {
	if spec.Side != catalog.Pool && spec.Side != catalog.SyncPool {
		return wire.Memory{}, fmt.Errorf("no memory study of %q", spec.Side)
	}
	l := loops.New[*loops.Obj64](small(spec.Side))
	result := wire.Memory{Side: spec.Side}
	xs := make([]*loops.Obj64, spec.Objects)
	start := time.Now()
	stop := sample(start, &result.Samples)
	idle(spec.Idle / 8) // so that the chart begins before the first burst
	for range 2 {
		from := time.Now()
		l.GetAll(xs)
		putChunks(l, xs)
		took := time.Since(from)
		clear(xs) // or xs would keep what sync.Pool lets go
		result.Bursts = append(result.Bursts, wire.Interval{From: round(from.Sub(start).Seconds()), To: round(time.Since(start).Seconds())})
		result.BurstNS = append(result.BurstNS, round(float64(took)/float64(len(xs))))
		idle(spec.Idle)
	}
	return result, stop()
}

// idle passes the time with nothing but a collection now and then.
func idle(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(gcEvery, time.Until(end)))
		runtime.GC()
	}
}

// sample writes to samples until stop is called.
func sample(start time.Time, samples *[]wire.Sample) (stop func() error) {
	var failed error
	var done sync.WaitGroup
	quit := make(chan struct{})
	done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for failed == nil {
			var bytes int64
			bytes, failed = resident()
			*samples = append(*samples, wire.Sample{Seconds: round(time.Since(start).Seconds()), MiB: round(float64(bytes) / (1 << 20))})
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() error {
		close(quit)
		done.Wait()
		return failed
	}
}
