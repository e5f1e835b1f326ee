package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool"
)

const mib = 1 << 20

// A phase says how many requests there are.
type phase byte

const (
	steady   phase = 's'
	settling phase = 't' // as many as in a steady phase, which begins; its samples do not count
	burst    phase = 'b' // ten times as many
	cooling  phase = 'c' // none, before an idle phase; its samples do not count
	idle     phase = 'i' // none
)

// A config says what to run.
type config struct {
	seed     uint64
	interval time.Duration // from one sample to the next
	samples  int
	warmUp   int     // samples that do not count
	cycle    []phase // of a sample each, over and over
	clients  int
	rate     int // requests a second in steady phases

	// tolerance multiplies the slack of each line. Medians of few samples differ more.
	tolerance float64

	patience time.Duration // how long to wait for memory and goroutines at the end

	leak func(*soak) // called with each sample: for tests
}

// A soak is a run.
type soak struct {
	config
	began time.Time

	phase    atomic.Int32 // the current one
	stopping atomic.Bool  // no new work is to begin
	cancel   context.CancelCauseFunc

	getPut, control, request, echo *recorder

	requests atomic.Uint64 // that were answered
	gets     atomic.Uint64
	refused  atomic.Uint64 // Gets, at a limit
	renewed  atomic.Uint64 // pools that were made and closed
	mistakes atomic.Uint64 // that were made, and found

	got, put, lost atomic.Uint64 // of the pools that have ended

	lowUntil atomic.Int64 // in nanoseconds from began: until then, the process limit may refuse memory

	faults struct {
		sync.Mutex
		list []error
		more int
	}
}

// processLimit is the bound of all pools that are off the Go heap: several times what they need.
const processLimit = 512 * mib

func newSoak(cfg config) *soak {
	return &soak{config: cfg, getPut: newRecorder(), control: newRecorder(), request: newRecorder(), echo: newRecorder()}
}

// fault notes a fault, and ends the run.
func (s *soak) fault(err error) {
	s.faults.Lock()
	defer s.faults.Unlock()
	if len(s.faults.list) < 10 {
		s.faults.list = append(s.faults.list, fmt.Errorf("after %v: %w", time.Since(s.began).Round(time.Millisecond), err))
	} else {
		s.faults.more++
	}
	s.cancel(errors.New("a fault was found"))
}

// survived counts v, which recover has returned, if it is a refusal that is to be expected. It panics
// with any other panic. bounded says that the pool has a bound of its own.
func (s *soak) survived(v any, bounded bool) {
	if v == nil {
		return
	}
	err, ok := v.(error)
	if !ok || !errors.Is(err, pool.ErrLimit) {
		panic(v)
	}
	if !bounded && time.Since(s.began) > time.Duration(s.lowUntil.Load()) {
		s.fault(fmt.Errorf("a pool refuses memory: %w", err))
	}
	s.refused.Add(1)
}

// count adds the counters of a pool that has ended.
func (s *soak) count(got, put, lost uint64) {
	s.got.Add(got)
	s.put.Add(put)
	s.lost.Add(lost)
}

// run runs until the last sample is taken, ctx ends, or a fault is found. It calls each with each
// sample, and returns what is wrong at the end.
func (s *soak) run(ctx context.Context, each func(sample)) (samples []sample, wrong []error) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	defer pool.SetProcessLimit(pool.SetProcessLimit(processLimit))
	// Pools have a part for each P. To make all of these belongs to the warm-up.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(maxProcs()))

	samples = make([]sample, 0, s.samples) // before heap objects are counted
	start := readLevels()
	s.began = time.Now()
	samples = s.serve(ctx, samples, each)

	s.faults.Lock()
	defer s.faults.Unlock()
	wrong = s.faults.list
	if s.faults.more > 0 {
		wrong = append(wrong, fmt.Errorf("and %d more", s.faults.more))
	}
	if len(wrong) == 0 {
		wrong = checkEnd(start, s.patience)
	}
	return samples, wrong
}

// serve makes the pools and what uses them, and takes the samples. All pools are closed when it
// returns.
func (s *soak) serve(ctx context.Context, samples []sample, each func(sample)) []sample {
	srv := newServer(s)
	var around sync.WaitGroup // what runs beside the server
	for _, f := range []func(*soak){renew, mistake, disturb, keepEcho} {
		around.Go(func() { f(s) })
	}
	srv.start()
	m := newMeter(s)
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for i := 0; i < s.samples && ctx.Err() == nil; i++ {
		ph := s.cycle[i%len(s.cycle)]
		s.phase.Store(int32(ph))
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		if s.leak != nil {
			s.leak(s)
		}
		x := m.sample(ph)
		samples = append(samples, x)
		each(x)
	}
	s.stopping.Store(true)
	around.Wait()
	srv.stop()
	return samples
}

// Levels are what has to be the same at the end as at the start.
type levels struct {
	memory      pool.Memory
	pools       int // that are open
	goroutines  int
	heapObjects uint64
	heapBytes   uint64
}

func readLevels() levels {
	pool.TrimAll()
	debug.FreeOSMemory()
	runtime.GC() // what finalizers and cleanups have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return levels{pool.ReadMemory(), len(pool.ReadStats()), runtime.NumGoroutine(), m.HeapObjects, m.HeapAlloc}
}

// What may remain on the Go heap: records of the library that are never freed, and what the Go
// runtime keeps for goroutines and timers.
const (
	objectsLeft = 4000
	bytesLeft   = 2 * mib
)

// checkEnd waits until everything has been given back, and returns what has not.
func checkEnd(start levels, patience time.Duration) (wrong []error) {
	for until := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		end := readLevels()
		wrong = nil
		check := func(what string, end, start, slack int64) {
			if end > start+slack {
				wrong = append(wrong, fmt.Errorf("%d %s at the end, and %d at the start", end, what, start))
			}
		}
		check("pools are open", int64(end.pools), int64(start.pools), 0)
		check("bytes of pages are in use", end.memory.InUse, start.memory.InUse, 0)
		if isOffHeap() {
			check("bytes of pages may have memory", end.memory.Committed, start.memory.Committed, 0)
			check("bytes are on the Go heap", int64(end.heapBytes), int64(start.heapBytes), bytesLeft)
		}
		check("bytes of pages are on the Go heap", end.memory.GoHeap, start.memory.GoHeap, 0)
		check("goroutines are there", int64(end.goroutines), int64(start.goroutines), 0)
		check("objects are on the Go heap", int64(end.heapObjects), int64(start.heapObjects), objectsLeft)
		if len(wrong) == 0 || time.Now().After(until) {
			return wrong
		}
	}
}

// isOffHeap reports whether pools give memory back. With the race detector, and on some systems, all
// pages are on the Go heap, and those that were ever used stay.
func isOffHeap() bool {
	p := pool.New[node]()
	_ = p.Close() // no slot is in use
	return p.Stats().OffHeap
}

// sleep waits for d, or less if the run ends. It reports whether the run goes on.
func (s *soak) sleep(d time.Duration) bool {
	for until := time.Now().Add(d); !s.stopping.Load(); {
		left := time.Until(until)
		if left <= 0 {
			return true
		}
		time.Sleep(min(left, 50*time.Millisecond))
	}
	return false
}
