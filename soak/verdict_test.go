package main

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flat returns the samples of a run whose lines are flat, with some noise and some outliers.
func flat() []sample {
	rng := rand.New(rand.NewPCG(1, 2))
	noisy := func(n float64) int64 {
		if rng.IntN(10) == 0 {
			n *= 3
		}
		return int64(n * (0.95 + 0.1*rng.Float64()))
	}
	xs := make([]sample, 300)
	for i := range xs {
		ph := usual.cycle[i%len(usual.cycle)]
		pages := map[phase]float64{idle: 10 * mib, burst: 400 * mib}[ph]
		if pages == 0 {
			pages = 100 * mib
		}
		xs[i] = sample{
			Phase: phaseNames[ph], Committed: noisy(pages),
			Resident: noisy(200 * mib), GoHeap: noisy(20 * mib), Heap: noisy(50 * mib), Reserved: 1000 * mib,
			Live: int(noisy(20_000)), Goroutines: int(noisy(100)), CPU: float64(noisy(1000)) / 5000, Requests: 5000,
			GetPut: latency{P99: noisy(2000)}, Control: latency{P99: noisy(300)},
			Request: latency{P50: noisy(200e3), P99: noisy(20e6)}, Echo: latency{P50: noisy(2e6), P99: noisy(3e6)},
		}
	}
	return xs
}

func TestVerdict(t *testing.T) {
	_, wrong := verdict(flat(), usual)
	require.Empty(t, wrong)

	// Each line rises, alone, to nine times as much in the course of the run.
	for name, field := range map[string]func(x *sample, f float64){
		"resident memory":                             func(x *sample, f float64) { x.Resident = int64(f * float64(x.Resident)) },
		"resident memory when idle":                   func(x *sample, f float64) { x.Resident = int64(f * float64(x.Resident)) },
		"the pools' memory off the Go heap":           func(x *sample, f float64) { x.Committed = int64(f * float64(x.Committed)) },
		"the pools' memory off the Go heap when idle": func(x *sample, f float64) { x.Committed = int64(f * float64(x.Committed)) },
		"the pools' memory on the Go heap":            func(x *sample, f float64) { x.GoHeap = int64(f * float64(x.GoHeap)) },
		"the Go heap":                                 func(x *sample, f float64) { x.Heap = int64(f * float64(x.Heap)) },
		"address space":                               func(x *sample, f float64) { x.Reserved = int64(f * float64(x.Reserved)) },
		"slots in use":                                func(x *sample, f float64) { x.Live = int(f * float64(x.Live)) },
		"goroutines":                                  func(x *sample, f float64) { x.Goroutines = int(f * float64(x.Goroutines)) },
		"processor time of a request":                 func(x *sample, f float64) { x.CPU *= f },
		"p99 of a Get and a Put":                      func(x *sample, f float64) { x.GetPut.P99 = int64(f * float64(x.GetPut.P99)) },
		"p50 of a request":                            func(x *sample, f float64) { x.Request.P50 = int64(f * float64(x.Request.P50)) },
		"p99 of a request":                            func(x *sample, f float64) { x.Request.P99 = int64(f * float64(x.Request.P99)) },
	} {
		xs := flat()
		for i := range xs {
			field(&xs[i], 1+8*float64(i)/float64(len(xs)))
		}
		_, wrong := verdict(xs, usual)
		require.ErrorContains(t, errors.Join(wrong...), "not flat: "+name+" ")
	}
}

// The machine is to blame where what has no pools in it rises as well.
func TestVerdictOnSlowMachine(t *testing.T) {
	xs := flat()
	for i := range xs {
		f := 1 + int64(5*i/len(xs))
		xs[i].GetPut.P99 *= f
		xs[i].Control.P99 *= f
		xs[i].Request.P50 *= f
		xs[i].Request.P99 *= f
		xs[i].Echo.P50 *= f
		xs[i].Echo.P99 *= f
	}
	_, wrong := verdict(xs, usual)
	assert.Empty(t, wrong)
	for i := range xs {
		xs[i].GetPut.P99 *= 1 + int64(5*i/len(xs))
	}
	_, wrong = verdict(xs, usual)
	require.Len(t, wrong, 1)
	assert.ErrorContains(t, wrong[0], "p99 of a Get and a Put")
}

// Memory that a burst takes and that stays is found, even if it is no more after the next burst.
func TestVerdictOnBursts(t *testing.T) {
	xs := flat()
	for i := range xs {
		if xs[i].Phase == "idle" {
			xs[i].Committed = 150 * mib
		}
	}
	_, wrong := verdict(xs, usual)
	require.Len(t, wrong, 1)
	assert.ErrorContains(t, wrong[0], "memory did not come back")
}

// When the machine does not keep up with the requests, less is in use. Such seconds do not count.
func TestVerdictOnFewRequests(t *testing.T) {
	xs := flat()
	for i := range xs {
		if i < 200 && i%3 != 0 && xs[i].Phase != "idle" {
			xs[i].Requests /= 2
			xs[i].CPU /= 2
			xs[i].Resident /= 2
			xs[i].Committed /= 2
			xs[i].Live /= 2
		}
	}
	_, wrong := verdict(xs, usual)
	assert.Empty(t, wrong)
	for i := range xs {
		if xs[i].Phase == "steady" {
			xs[i].Requests, xs[i].CPU = 1000, xs[i].CPU*(1+float64(5*i/len(xs)))
		}
	}
	texts, wrong := verdict(xs, usual)
	assert.Contains(t, strings.Join(texts, "\n"), "was not judged")
	require.Len(t, wrong, 1)
	assert.ErrorContains(t, wrong[0], "processor time", "it is judged all the same")
}
