package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A growthPlan is how far the growth study goes.
type growthPlan struct {
	rounds  int
	target  time.Duration // of a round
	maxLive int
}

const (
	// maxOnHeap is where objects that the collector sees end: beyond, the table
	// would say the same for many times the time.
	maxOnHeap = 10_000_000

	bytesPerLive = 90        // what one takes with its pointer and all
	nsPerLive    = 600       // all that is done to one
	spareBytes   = 512 << 20 // what the machine is left with
)

var (
	goroutines         = []int{1, 2, 4, 8, 16, 32}
	goroutineProcs     = []int{2, 32}
	goroutineWorkloads = []string{"churn-64-parallel", "exchange"}
)

// liveSpecs are the processes of the second half, each with a number of live
// objects.
func (p growthPlan) liveSpecs() []wire.LiveSpec {
	var all []wire.LiveSpec
	for n := 1000; n <= p.maxLive; n *= 10 {
		for _, h := range wire.Holders {
			if n <= maxOnHeap || h == wire.PoolOffHeap {
				all = append(all, wire.LiveSpec{Holder: h, Objects: n})
			}
		}
	}
	return all
}

func expectLive(s wire.LiveSpec) time.Duration {
	return 20*time.Millisecond + time.Duration(s.Objects)*nsPerLive
}

func (p growthPlan) expectGoroutines() time.Duration {
	const warmUp = 2
	return time.Duration(len(goroutines)*len(wire.GoroutineSides)*(p.rounds+warmUp)) * p.target
}

func (p growthPlan) expectAll() time.Duration {
	sum := time.Duration(len(goroutineProcs)*len(goroutineWorkloads)) * p.expectGoroutines()
	for _, s := range p.liveSpecs() {
		sum += expectLive(s)
	}
	return sum
}

func measureGrowth(ctx context.Context, p growthPlan, worker string, pr *progress) (*Growth, error) {
	g := new(Growth)
	for _, w := range goroutineWorkloads {
		for _, procs := range goroutineProcs {
			rows, err := p.measureGoroutines(ctx, worker, w, procs, pr)
			if err != nil {
				return nil, err
			}
			g.Goroutines = append(g.Goroutines, rows...)
		}
	}
	for _, s := range p.liveSpecs() {
		pr.step(fmt.Sprintf("growth: %d live objects, %s", s.Objects, s.Holder), expectLive(s))
		if need, have := int64(s.Objects)*bytesPerLive+spareBytes, availableMemory(); have > 0 && need > have {
			g.Skipped = fmt.Sprintf("%d live objects: they take %d MiB, and %d are available", s.Objects, need>>20, have>>20)
			continue
		}
		r, err := once[wire.Live](ctx, worker, wire.VerbLive, s)
		if err != nil {
			return nil, err
		}
		g.Live = append(g.Live, r)
	}
	return g, nil
}

func (p growthPlan) measureGoroutines(ctx context.Context, worker, workload string, procs int, pr *progress) ([]GoroutinesRow, error) {
	pr.step(fmt.Sprintf("growth: %s on 1 to 32 goroutines, GOMAXPROCS %d", workload, procs), p.expectGoroutines())
	spec := wire.GoroutinesSpec{Workload: workload, Procs: procs, Goroutines: goroutines, Rounds: p.rounds, Target: p.target}
	r, err := once[wire.Goroutines](ctx, worker, wire.VerbGoroutines, spec)
	if err != nil {
		return nil, err
	}
	var rows []GoroutinesRow
	for i, n := range goroutines {
		row := GoroutinesRow{Workload: workload, GOMAXPROCS: procs, Goroutines: n, PairsPerS: make(map[catalog.Side]float64)}
		for s, ns := range r.NS {
			row.PairsPerS[s] = 1e9 / ns[i]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// availableMemory returns how many bytes a process could have now, 0 if that is
// not known.
func availableMemory() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("MemAvailable:")); ok {
			kib, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return kib << 10
		}
	}
	return 0
}
