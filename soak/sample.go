package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/procfs"

	"github.com/warmpage/pool"
)

// A sample is what was measured between two ticks, or at its end. It is a line of the csv file.
type sample struct {
	Seconds float64 // from the start
	Phase   string  // as in phaseNames

	Resident  int64 // bytes of the process, 0 if the system does not say
	Committed int64 // Memory.Committed: pages that may have memory
	InUse     int64 // Memory.InUse: pages that pools hold
	GoHeap    int64 // Memory.GoHeap: pages on the Go heap
	Reserved  int64 // Memory.Reserved: address space
	Live      int   // slots in use in all pools
	Heap      int64 // bytes of objects that the last collection found in use
	Objects   int64 // on the Go heap, those that are garbage included

	Goroutines, Procs int
	CPU               float64 // seconds of processor time, 0 if the system does not say

	Requests, Gets, Refused, Mistakes, Renewed uint64 // since the sample before

	GetPut  latency // a Get and a Put
	Control latency // something that takes about as long, without pools
	Request latency // from a client to a handler and back
	Echo    latency // from when a goroutine is to wake up, to another and back, without pools
}

// A latency has quantiles in nanoseconds.
type latency struct{ P50, P99, Max int64 }

func (x sample) cpuOfRequest() float64 { return x.CPU / float64(max(x.Requests, 1)) }

// row returns the names of the columns, and the values of x.
func (x sample) row() (names, values []string) {
	var add func(prefix string, v reflect.Value)
	add = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			name := prefix + v.Type().Field(i).Name
			switch f := v.Field(i); f.Kind() {
			case reflect.Struct:
				add(name, f)
			case reflect.Float64:
				names, values = append(names, name), append(values, fmt.Sprintf("%.3f", f.Float()))
			default:
				names, values = append(names, name), append(values, fmt.Sprint(f.Interface()))
			}
		}
	}
	add("", reflect.ValueOf(x))
	return names, values
}

// A recorder collects latencies.
type recorder struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newRecorder() *recorder {
	return &recorder{h: hdrhistogram.New(1, int64(time.Minute), 2)}
}

func (r *recorder) record(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// It returns an error if d is a minute or more.
	if r.h.RecordValue(int64(d)) != nil {
		_ = r.h.RecordValue(int64(time.Minute))
	}
}

// take returns what was recorded since the last call.
func (r *recorder) take() latency {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.h.Reset()
	return latency{r.h.ValueAtQuantile(50), r.h.ValueAtQuantile(99), r.h.Max()}
}

// A meter takes samples.
type meter struct {
	s    *soak
	heap []metrics.Sample

	// What the counters were at the last sample.
	cpu                                        float64
	requests, gets, refused, mistakes, renewed uint64
}

func newMeter(s *soak) *meter {
	m := &meter{s: s, heap: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/objects:objects"}}}
	_, m.cpu = readProcess()
	return m
}

// readProcess returns the resident memory of the process, and the processor time that it has had,
// both 0 if the system does not say.
func readProcess() (resident int64, cpu float64) {
	self, err := procfs.NewProc(os.Getpid())
	if err != nil {
		return 0, 0
	}
	st, err := self.Stat()
	if err != nil {
		return 0, 0
	}
	return int64(st.ResidentMemory()), st.CPUTime()
}

var phaseNames = map[phase]string{steady: "steady", settling: "settling", burst: "burst", cooling: "cooling", idle: "idle"}

func (m *meter) sample(ph phase) sample {
	s := m.s
	mem := pool.ReadMemory()
	metrics.Read(m.heap)
	x := sample{
		Seconds: time.Since(s.began).Seconds(), Phase: phaseNames[ph],
		Committed: mem.Committed, InUse: mem.InUse, GoHeap: mem.GoHeap, Reserved: mem.Reserved,
		Heap: int64(m.heap[0].Value.Uint64()), Objects: int64(m.heap[1].Value.Uint64()),
		Goroutines: runtime.NumGoroutine(), Procs: runtime.GOMAXPROCS(0),
		GetPut: s.getPut.take(), Control: s.control.take(), Request: s.request.take(), Echo: s.echo.take(),
	}
	for _, st := range pool.ReadStats() {
		x.Live += st.Live
	}
	x.Resident, x.CPU = readProcess()
	x.CPU, m.cpu = x.CPU-m.cpu, x.CPU
	since := func(now uint64, last *uint64) uint64 {
		defer func() { *last = now }()
		return now - *last
	}
	x.Requests = since(s.requests.Load(), &m.requests)
	x.Gets = since(s.gets.Load(), &m.gets)
	x.Refused = since(s.refused.Load(), &m.refused)
	x.Mistakes = since(s.mistakes.Load(), &m.mistakes)
	x.Renewed = since(s.renewed.Load(), &m.renewed)
	return x
}

// summary returns a line about samples that follow each other.
func summary(xs []sample) string {
	last := xs[len(xs)-1]
	var requests, gets, refused, mistakes, renewed uint64
	var cpu float64
	var worst time.Duration
	for _, x := range xs {
		requests += x.Requests
		gets += x.Gets
		refused += x.Refused
		mistakes += x.Mistakes
		renewed += x.Renewed
		cpu += x.CPU
		worst = max(worst, time.Duration(x.Request.Max))
	}
	median := func(of func(sample) int64) time.Duration {
		return time.Duration(medianOf(xs, func(x sample) float64 { return float64(of(x)) }))
	}
	inMiB := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/mib) }
	return strings.Join([]string{
		fmt.Sprintf("%6.0f s", last.Seconds),
		"resident " + inMiB(last.Resident) + " MiB",
		"pools " + inMiB(last.Committed) + " + " + inMiB(last.GoHeap) + " MiB",
		"heap " + inMiB(last.Heap) + " MiB",
		fmt.Sprintf("%d goroutines", last.Goroutines),
		fmt.Sprintf("%d requests", requests),
		fmt.Sprintf("%d Gets", gets),
		fmt.Sprintf("%d refused", refused),
		fmt.Sprintf("%d mistakes", mistakes),
		fmt.Sprintf("%d pools renewed", renewed),
		fmt.Sprintf("%.1f s of CPU", cpu),
		fmt.Sprintf("p99 of Get+Put %v, of a request %v (at most %v)", median(func(x sample) int64 { return x.GetPut.P99 }),
			median(func(x sample) int64 { return x.Request.P99 }).Round(time.Microsecond), worst.Round(time.Microsecond)),
	}, ", ")
}
