package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/perf/benchfmt"
)

// measured is what benchmarks have shown of one side: medians over rounds, by benchmark, and what the
// garbage collector did in all of them.
type measured struct {
	ns, bytes, allocs map[string][]float64
	gcs               int
	pauses            []float64 // milliseconds that a collection stopped the world
	peak              float64   // MiB resident
}

// compared is the outcome of the benchmarks of both sides, as ratios after to before.
type compared struct {
	benchmarks                int
	ns                        float64 // geometric mean
	slowest, fastest          float64
	allocsBefore, allocsAfter float64 // allocations of all benchmarks, one operation each
	before, after             measured
}

// compare runs the benchmarks of p on both sides in turn, so many rounds.
func compare(ctx context.Context, p port, before, after side, rounds int) (compared, error) {
	pkg := cmp.Or(p.benchIn, p.packages[0])
	sides := []side{before, after}
	results := make([]measured, len(sides))
	for i, s := range sides {
		binary := filepath.Join(s.dir, "bench.test")
		if _, stderr, err := goIn(ctx, s.dir, "test", "-vet=off", "-c", "-o", binary, pkg); err != nil {
			return compared{}, fmt.Errorf("%s: %w: %s", p.name, err, stderr)
		}
		results[i] = measured{ns: map[string][]float64{}, bytes: map[string][]float64{}, allocs: map[string][]float64{}}
	}
	for round := range rounds {
		for k := range sides {
			i := (k + round) % len(sides)
			if err := results[i].run(ctx, p, filepath.Join(sides[i].dir, pkg), filepath.Join(sides[i].dir, "bench.test")); err != nil {
				return compared{}, err
			}
		}
	}
	return ratios(results[0], results[1]), nil
}

// run runs the benchmarks once and adds what they print.
func (m *measured) run(ctx context.Context, p port, dir, binary string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench="+p.bench, "-test.benchtime=100ms", "-test.benchmem", "-test.short")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GODEBUG=gctrace=1", "PORTS_REPORT="+os.DevNull)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: benchmarks: %w: %s", p.name, err, last(stdout.String()+stderr.String(), 500))
	}
	m.readTrace(stderr.Bytes())
	m.peak = max(m.peak, peakMiB(cmd.ProcessState))
	reader := benchfmt.NewReader(&stdout, p.name)
	for reader.Scan() {
		r, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := string(r.Name)
		for unit, values := range map[string]map[string][]float64{"sec/op": m.ns, "B/op": m.bytes, "allocs/op": m.allocs} {
			if v, ok := r.Value(unit); ok {
				values[name] = append(values[name], v)
			}
		}
	}
	return reader.Err()
}

// gcLine matches what GODEBUG=gctrace=1 prints of a collection: the first and the last of the times
// stop the world.
var gcLine = regexp.MustCompile(`(?m)^gc \d+ @.*: ([\d.]+)\+[\d.]+\+([\d.]+) ms clock`)

func (m *measured) readTrace(text []byte) {
	for _, found := range gcLine.FindAllSubmatch(text, -1) {
		first, _ := strconv.ParseFloat(string(found[1]), 64)
		second, _ := strconv.ParseFloat(string(found[2]), 64)
		m.gcs++
		m.pauses = append(m.pauses, first+second)
	}
}

func ratios(before, after measured) compared {
	c := compared{before: before, after: after, slowest: 0, fastest: math.Inf(1)}
	sum := 0.0
	for name, ns := range before.ns {
		if after.ns[name] == nil {
			continue
		}
		r := median(after.ns[name]) / median(ns)
		sum += math.Log(r)
		c.benchmarks++
		c.slowest, c.fastest = max(c.slowest, r), min(c.fastest, r)
		c.allocsBefore += median(before.allocs[name])
		c.allocsAfter += median(after.allocs[name])
	}
	c.ns = math.Exp(sum / float64(c.benchmarks))
	return c
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which a share q of the values is.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// last returns the end of a text.
func last(text string, n int) string { return text[max(0, len(text)-n):] }
