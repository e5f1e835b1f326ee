package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// A phase is what one side did.
type phase struct {
	plan    plan
	samples []sample
	totals  totals
}

func (ph *phase) add(m message) {
	if m.Sample != nil {
		ph.samples = append(ph.samples, *m.Sample)
	}
	if m.Totals != nil {
		ph.totals = *m.Totals
	}
}

// at returns the last sample of that moment, or an empty one.
func (ph *phase) at(why moment) sample {
	var last sample
	for _, s := range ph.samples {
		if s.Moment == why {
			last = s
		}
	}
	return last
}

func (ph *phase) peak() int64 {
	var top int64
	for _, s := range ph.samples {
		top = max(top, s.Resident)
	}
	return top
}

// above returns how much more was resident at s than at the start.
func (ph *phase) above(s sample) int64 { return s.Resident - ph.at(atStart).Resident }

// backAfter returns how long after the last Put the phase was within limit of the
// start and stayed so.
func (ph *phase) backAfter(limit int64) (d time.Duration, ok bool) {
	last := ph.at(allBack)
	for _, s := range ph.samples {
		switch {
		case s.At < last.At:
		case ph.above(s) > limit:
			ok = false
		case !ok:
			d, ok = s.At-last.At, true
		}
	}
	return d, ok
}

const (
	// promised is how much more than at the start may be resident 5 s after the
	// last Put: the library keeps at most a few pages that long, and the Go runtime
	// has needs of its own.
	promised = 32 * mib

	// leastLimit is for small bursts, of which all would be within promised: what a
	// Go process may gain without a burst.
	leastLimit = 4 * mib
)

// limit is promised, or half of what the objects of a small burst take.
func (p plan) limit() int64 { return min(promised, max(leastLimit, p.payload()/2)) }

// check returns an error that lists what the library promises and ph does not
// show. A memory that was never taken would come back, too, so it also wants to
// have seen the bursts.
func check(ph phase) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("  "+format, args...)) }
	outs := 0
	for _, s := range ph.samples {
		switch s.Moment {
		case allOut:
			outs++
			if s.Pool.Live != ph.plan.Objects {
				fail("at the top of burst %d the pool counts %d slots out, want %d", s.Burst, s.Pool.Live, ph.plan.Objects)
			}
			// Less than leastLimit may be there already, in what the Go runtime has free.
			if s.Known && ph.plan.payload() > leastLimit && ph.above(s) < ph.plan.payload()/2 {
				fail("at the top of burst %d only %s above the start are resident, want about %s", s.Burst, inMiB(ph.above(s)), inMiB(ph.plan.payload()))
			}
		case allBack:
			if s.Pool.Live != 0 {
				fail("after burst %d the pool counts %d slots out, want 0", s.Burst, s.Pool.Live)
			}
		}
	}
	if outs != ph.plan.Bursts {
		fail("%d bursts were seen, want %d", outs, ph.plan.Bursts)
	}
	if end := ph.at(atEnd); end.Known && ph.above(end) > ph.plan.limit() {
		fail("%v after the last Put %s above the start are resident, want at most %s",
			ph.plan.Settle, inMiB(ph.above(end)), inMiB(ph.plan.limit()))
	}
	return errors.Join(errs...)
}

func printIntroduction(out io.Writer, p plan) {
	fmt.Fprintf(out, `A burst gets %d objects of %d bytes (%s), writes to each, and puts
them all back. There are %d, with %v between them. The two sides do the same, one
after the other, each in a process of its own. There is a line a second, and one
at the top and at the end of each burst. Sizes are in MiB.
`, p.Objects, objectSize, inMiB(p.payload()), p.Bursts, p.Pause)
	if p.GC > 0 {
		fmt.Fprintf(out, "Each process runs a collection every %v.\n", p.GC)
	}
}

// lines prints the text chart of one side as its samples come.
type lines struct {
	out    io.Writer
	plan   plan
	step   int64 // bytes for one #
	second time.Duration
}

const barWidth = 32

func newLines(out io.Writer, p plan) *lines {
	return &lines{out: out, plan: p}
}

// barStep returns the smallest power of two, at least 1 MiB, such that barWidth
// of it make top.
func barStep(top int64) int64 {
	step := int64(mib)
	for step*barWidth < top {
		step *= 2
	}
	return step
}

// bar returns a # for each step in n, rounded, and a > at the end if that is more
// than there is room for.
func bar(n, step int64) string {
	count := (n + step/2) / step
	if count > barWidth {
		return strings.Repeat("#", barWidth-1) + ">"
	}
	return strings.Repeat("#", int(max(count, 0)))
}

// print prints s if it is of a moment to be seen, or the first one of a second.
func (l *lines) print(s sample) {
	if s.Moment == atStart {
		// Room for what sync.Pool has around its objects, too; see bar.
		l.step = barStep(s.Resident + l.plan.payload()*7/4)
		l.printHead(s.Known)
	}
	second := s.At.Truncate(time.Second)
	if s.Moment == atBurst || s.Moment == between && second == l.second {
		return
	}
	l.second = second
	note := ""
	switch s.Moment {
	case atStart:
		note = "  start"
	case allOut, allBack:
		note = fmt.Sprintf("  burst %d: %s", s.Burst, s.Moment)
	case atEnd:
		note = fmt.Sprintf("  %v after the last Put", l.plan.Settle)
		defer l.printMemory(s)
	}
	fmt.Fprintf(l.out, "%5.1f%9.1f  %-*s%s%s\n", s.At.Seconds(), mebibytes(s.Resident), barWidth, bar(s.Resident, l.step), l.columns(s), note)
}

func (l *lines) printHead(known bool) {
	what := "resident memory of the process"
	if !known {
		what = fmt.Sprintf("what the Go heap holds (resident memory is not known on %s)", runtime.GOOS)
		if l.plan.Side == thisPool {
			what = fmt.Sprintf("what the pool holds (resident memory is not known on %s)", runtime.GOOS)
		}
	}
	fmt.Fprintf(l.out, "\n%s: %s, one # for %d MiB\n\n", l.plan.Side, what, l.step/mib)
	from, columns := "  Go heap (runtime/metrics)", fmt.Sprintf("%9s%8s%9s%5s", "objects", "idle", "released", "GCs")
	if l.plan.Side == thisPool {
		from = fmt.Sprintf("%9s  %-38s |  %s", "", "Stats of the pool", "pool.ReadMemory")
		columns = fmt.Sprintf("%9s%7s%6s%8s%8s%9s   |%10s%7s", "live", "pages", "warm", "mapped", "purged", "releases", "committed", "warm")
	}
	fmt.Fprintf(l.out, "%14s  %*s%s\n", "", barWidth, "", from)
	fmt.Fprintf(l.out, "%5s%9s  %*s%s\n", "s", "MiB", barWidth, "", columns)
}

// columns returns what the allocator says of itself.
func (l *lines) columns(s sample) string {
	if h := s.GoHeap; l.plan.Side != thisPool {
		return fmt.Sprintf("%9.1f%8.1f%9.1f%5d", mebibytes(h.Objects), mebibytes(h.Idle), mebibytes(h.Released), h.Cycles)
	}
	st, m := s.Pool, s.Memory
	return fmt.Sprintf("%9d%7d%6d%8.1f%8.1f%9d   |%10.1f%7.1f", st.Live, st.Pages, st.WarmPages,
		mebibytes(st.MappedBytes), mebibytes(st.PurgedBytes), st.Releases, mebibytes(m.Committed), mebibytes(m.Warm))
}

// printMemory prints the rest of what the process's pools have in the end. What is
// reserved costs no memory.
func (l *lines) printMemory(s sample) {
	if m := s.Memory; l.plan.Side == thisPool {
		fmt.Fprintf(l.out, `
Warm are empty pages: those that the pool keeps are counted in its Stats, those
that it has released, until they are purged, in pool.ReadMemory. That says in the
end: %.1f in use, %.1f purged in %d system calls; %.0f of addresses are reserved.
`, mebibytes(m.InUse), mebibytes(m.Purged), m.SystemCalls, mebibytes(m.Reserved))
	}
}

func mebibytes(n int64) float64 { return float64(n) / mib }

func inMiB(n int64) string { return fmt.Sprintf("%.1f MiB", mebibytes(n)) }

// printSummary prints the table at the end.
func printSummary(out io.Writer, phases []phase) {
	p := phases[0].plan
	row := func(label string, cell func(ph phase) string) {
		fmt.Fprintf(out, "%-38s", label)
		for _, ph := range phases {
			fmt.Fprintf(out, "%18s", cell(ph))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	row("", func(ph phase) string { return string(ph.plan.Side) })
	what := "resident"
	if !phases[0].at(atStart).Known {
		what = "held, as it says itself"
	}
	row(what+" at the start", func(ph phase) string { return inMiB(ph.at(atStart).Resident) })
	row("  peak", func(ph phase) string { return inMiB(ph.peak()) })
	row(fmt.Sprintf("  %v after the last Put", p.Settle), func(ph phase) string { return inMiB(ph.at(atEnd).Resident) })
	row(fmt.Sprintf("  within %s of the start", inMiB(p.limit())), func(ph phase) string {
		if d, ok := ph.backAfter(p.limit()); ok {
			return fmt.Sprintf("after %.1f s", d.Seconds())
		}
		return fmt.Sprintf("not in %v", p.Settle)
	})
	row("allocations (Mallocs)", func(ph phase) string { return fmt.Sprint(ph.totals.Mallocs) })
	row("GC cycles", func(ph phase) string { return fmt.Sprint(ph.totals.Cycles) })
	row("  pauses in all", func(ph phase) string { return ph.totals.Pause.Round(time.Microsecond).String() })
	fmt.Fprint(out, `
Allocations are those of the whole process. The pool allocates a record for each
page that it takes; a few thousand on either side are the samples.
`)
	if p.GC == 0 {
		fmt.Fprint(out, `
Nothing else allocates here, so that no collection runs in the pauses, and
sync.Pool keeps what it has. In a program that does other things it loses its
objects to the second collection after each burst, and the Go runtime returns
their memory to the system bit by bit: -gc 1s shows that.
`)
	}
}
