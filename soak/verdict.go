package main

import (
	"fmt"
	"slices"
)

// A line is a number that must not rise in the course of a run. Its median over the last third of
// the samples is compared with that over the first third.
type line struct {
	name   string
	phase  string // samples of this phase count
	of     func(sample) float64
	unit   float64 // for messages
	suffix string

	// The last median may be factor times the first one, and slack more.
	factor, slack float64

	// atRate says that samples with fewer requests than are to be do not count: less is in use then.
	atRate bool

	// control is nil, or what rises as well if the machine is to blame. The line is flat as well if it
	// has risen by no more than factor times as much.
	control func(sample) float64
}

// Times that are measured depend on what else the machine does: the median of a phase doubles when
// another program starts. So they have controls, which the same second has measured in the same
// program. Processor time has none, and shows what a control hides that the pools slow down as well.
var lines = []line{
	bytesLine("resident memory", "steady", 1.10, 8*mib, func(x sample) int64 { return x.Resident }),
	bytesLine("resident memory when idle", "idle", 1.10, 8*mib, func(x sample) int64 { return x.Resident }),
	bytesLine("the pools' memory off the Go heap", "steady", 1.10, 6*mib, func(x sample) int64 { return x.Committed }),
	bytesLine("the pools' memory off the Go heap when idle", "idle", 1.10, 4*mib, func(x sample) int64 { return x.Committed }),
	bytesLine("the pools' memory on the Go heap", "steady", 1.10, 4*mib, func(x sample) int64 { return x.GoHeap }),
	bytesLine("the Go heap", "steady", 1.10, 4*mib, func(x sample) int64 { return x.Heap }),
	bytesLine("address space", "steady", 1.10, 300*mib, func(x sample) int64 { return x.Reserved }),
	{name: "slots in use", phase: "steady", atRate: true, factor: 1.20, slack: 2000, unit: 1,
		of: func(x sample) float64 { return float64(x.Live) }},
	{name: "goroutines", phase: "steady", factor: 1.20, slack: 20, unit: 1,
		of: func(x sample) float64 { return float64(x.Goroutines) }},
	{name: "processor time of a request", phase: "steady", factor: 2, slack: 5e-6, unit: 1e-6, suffix: " us",
		of: sample.cpuOfRequest},
	{name: "p99 of a Get and a Put", phase: "steady", factor: 2, slack: 500, unit: 1e3, suffix: " us",
		of:      func(x sample) float64 { return float64(x.GetPut.P99) },
		control: func(x sample) float64 { return float64(x.Control.P99) }},
	{name: "p50 of a request", phase: "steady", factor: 2, slack: 100e3, unit: 1e3, suffix: " us",
		of:      func(x sample) float64 { return float64(x.Request.P50) },
		control: func(x sample) float64 { return float64(x.Echo.P50) }},
	// A handler that the system suspends while it holds a lock stops the others for some milliseconds.
	{name: "p99 of a request", phase: "steady", factor: 2, slack: 10e6, unit: 1e3, suffix: " us",
		of:      func(x sample) float64 { return float64(x.Request.P99) },
		control: func(x sample) float64 { return float64(x.Echo.P99) }},
}

func bytesLine(name, phase string, factor, slack float64, of func(sample) int64) line {
	return line{name: name, phase: phase, atRate: phase == "steady", factor: factor, slack: slack, unit: mib, suffix: " MiB",
		of: func(x sample) float64 { return float64(of(x)) }}
}

// thirds returns what counts of the first and the last third of xs.
func (l line) thirds(xs []sample, cfg config) (first, last []sample) {
	n := len(xs)
	enough := 0.9 * float64(cfg.rate) * cfg.interval.Seconds()
	other := func(x sample) bool {
		return x.Phase != l.phase || l.atRate && float64(x.Requests) < enough
	}
	return slices.DeleteFunc(slices.Clone(xs[:n/3]), other), slices.DeleteFunc(slices.Clone(xs[n-n/3:]), other)
}

// medianOf returns the median of what of returns, 0 if there are no samples.
func medianOf(xs []sample, of func(sample) float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	values := make([]float64, len(xs))
	for i, x := range xs {
		values[i] = of(x)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// check returns what the line does, and whether that is flat.
func (l line) check(xs []sample, cfg config) (text string, flat bool) {
	first, last := l.thirds(xs, cfg)
	if len(first) == 0 || len(last) == 0 {
		return fmt.Sprintf("%-44s was not judged: the machine did not keep up with the requests", l.name), true
	}
	a, b := medianOf(first, l.of), medianOf(last, l.of)
	flat = b <= a*l.factor+l.slack*cfg.tolerance
	text = fmt.Sprintf("%-44s %9.1f %9.1f%s", l.name, a/l.unit, b/l.unit, l.suffix)
	if l.control != nil {
		ca, cb := medianOf(first, l.control), medianOf(last, l.control)
		text += fmt.Sprintf("   (without pools %.1f %.1f)", ca/l.unit, cb/l.unit)
		flat = flat || b*ca <= a*cb*l.factor
	}
	return text, flat
}

// verdict returns a text about each line, and an error for each that rises. xs are the samples after
// the warm-up.
func verdict(xs []sample, cfg config) (texts []string, wrong []error) {
	for _, l := range lines {
		text, flat := l.check(xs, cfg)
		texts = append(texts, text)
		if !flat {
			wrong = append(wrong, fmt.Errorf("not flat: %s; at most %.2f times and %.1f%s more are allowed", text, l.factor, cfg.tolerance*l.slack/l.unit, l.suffix))
		}
	}
	return texts, append(wrong, checkBursts(xs, cfg.tolerance)...)
}

// backSlack is how much more than before a burst may be left after it.
const backSlack = 2 * mib

// checkBursts returns an error if memory does not come back after bursts. In most of them, the pools
// must have less off the Go heap at the end of the idle phase that follows than in the steady phase
// before. Refusals and late sweeps make single bursts differ.
func checkBursts(xs []sample, tolerance float64) []error {
	var bursts, back int
	var before, peak, worst int64
	for _, x := range xs {
		switch {
		case x.Phase == "steady" && peak == 0:
			before = x.Committed
		case x.Phase == "burst" && before > 0:
			peak = max(peak, x.Committed)
		case x.Phase == "idle" && peak > 0:
			bursts++
			if float64(x.Committed) <= float64(before)+backSlack*tolerance {
				back++
			}
			worst = max(worst, x.Committed-before)
			before, peak = 0, 0
		}
	}
	if back*2 < bursts {
		return []error{fmt.Errorf("after %d of %d bursts, memory did not come back: the pools had up to %.1f MiB more when idle than before", bursts-back, bursts, float64(worst)/mib)}
	}
	return nil
}
