package pool

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// The profile pool_live: who holds the slots in use. The stack of a sampled Get (sample.go) is kept
// until the slot is Put. It stands for as many slots as there are Gets for each sample on average.

// addSample notes that a sampled Get returned the slot at addr.
func (w *watches) addSample(addr uintptr) {
	s := callers()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.samples == nil {
		w.samples = make(map[uintptr]stack)
	}
	w.samples[addr] = s
}

// dropSample notes that a watched slot was put.
func (w *watches) dropSample(addr uintptr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.samples, addr)
}

// dropSamples forgets the slots of a page that the collector has taken.
func (w *watches) dropSamples(pg *page) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range pg.reserved {
		delete(w.samples, pg.addressOf(i))
	}
}

// forgetSamples forgets the slots of all pages.
func (w *watches) forgetSamples() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.samples)
}

// A liveSample is what one stack of one pool has in use.
type liveSample struct {
	pool   string
	frames []runtime.Frame
	slots  float64
	bytes  float64
}

// liveSamples returns the profile, in the order of pools and stacks.
func liveSamples() []liveSample {
	var all []liveSample
	for _, c := range openPools() {
		all = append(all, c.watches.live()...)
	}
	return all
}

// live returns the pool's part of the profile.
func (w *watches) live() []liveSample {
	byStack := make(map[string]*liveSample)
	w.mu.Lock()
	stacks := slices.Collect(maps.Values(w.samples))
	w.mu.Unlock()
	for _, st := range stacks {
		// Stacks are the same if they are so from the program's frames on.
		var key strings.Builder
		frames := slices.Collect(st.frames())
		for _, f := range frames {
			fmt.Fprintf(&key, "%x:%d ", f.PC, f.Line) // functions in line share a PC
		}
		s := byStack[key.String()]
		if s == nil {
			s = &liveSample{pool: cmp.Or(w.spec.name, w.spec.typeName), frames: frames}
			byStack[key.String()] = s
		}
		s.slots += w.spec.sampler.mean
		s.bytes += w.spec.sampler.mean * float64(w.spec.geo.stride)
	}
	var all []liveSample
	for _, key := range slices.Sorted(maps.Keys(byStack)) {
		all = append(all, *byStack[key])
	}
	return all
}

// WriteProfile writes the profile pool_live of all open pools with [WithProfile] to w. If debug is
// 0, it writes pprof's format, compressed by gzip, and otherwise text. The profile has two values
// for each stack, the slots in use and their bytes, both estimated from the samples. The label pool
// has the name of the pool, or its type if it has no name. WriteProfile returns the error that w
// returned, if any. It is safe for concurrent use.
//
// It writes what pprof.Lookup("pool_live").WriteTo writes, for programs that do not use
// [runtime/pprof].
func WriteProfile(w io.Writer, debug int) error {
	samples := liveSamples()
	if debug == 0 {
		return writeProto(w, samples)
	}
	return writeText(w, samples)
}

// writeText writes the profile in the form of the runtime's profiles: a line of totals, then each
// stack.
func writeText(w io.Writer, samples []liveSample) error {
	var slots, bytes float64
	for _, s := range samples {
		slots += s.slots
		bytes += s.bytes
	}
	tw := tabwriter.NewWriter(w, 1, 8, 1, '\t', 0)
	var b strings.Builder
	fmt.Fprintf(&b, "pool_live profile: %.0f slots, %.0f bytes\n", slots, bytes)
	for _, s := range samples {
		fmt.Fprintf(&b, "\n%.0f slots, %.0f bytes of %s\n", s.slots, s.bytes, s.pool)
		for _, f := range s.frames {
			fmt.Fprintf(&b, "#\t%#x\t%s\t%s:%d\n", f.PC, f.Function, f.File, f.Line)
		}
	}
	if _, err := io.WriteString(tw, b.String()); err != nil {
		return err
	}
	return tw.Flush()
}
