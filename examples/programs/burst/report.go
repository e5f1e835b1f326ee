package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/columns"
)

// A phase is the run of one side, and its results.
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

// at returns the last sample of the given moment, or an empty one if there is none.
func (ph *phase) at(why moment) sample {
	var last sample
	for _, s := range ph.samples {
		if s.Moment == why {
			last = s
		}
	}
	return last
}

// peak returns the most resident memory of any sample, in bytes.
func (ph *phase) peak() int64 {
	var top int64
	for _, s := range ph.samples {
		top = max(top, s.Resident)
	}
	return top
}

// above returns how many more bytes were resident at s than at the start.
func (ph *phase) above(s sample) int64 { return s.Resident - ph.at(atStart).Resident }

// backAfter returns how long after the last Put resident memory came within limit bytes of the
// start and stayed there. ok is false if it did not.
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
	// promised is how many more bytes than at the start may be resident 5 s after the last Put. The
	// library keeps at most a few pages that long, and the Go runtime has needs of its own.
	promised = 32 * mib

	// leastLimit is how many bytes a Go process may gain without a burst. It matters for small
	// bursts, which are within promised even with all their memory.
	leastLimit = 4 * mib
)

// limit is how many more bytes than at the start may be resident at the end: promised, or half of
// what the objects of a small burst take, but not less than leastLimit.
func (p plan) limit() int64 { return min(promised, max(leastLimit, p.payload()/2)) }

// check returns an error that lists every promise of the library that ph breaks. Memory that was
// never taken would also count as memory that came back, so check demands that the bursts show too.
func check(ph phase) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("  "+format, args...)) }
	outs := 0
	for _, s := range ph.samples {
		switch s.Moment {
		case allOut:
			outs++
			if s.Pool.Live != ph.plan.Objects {
				fail("at the peak of burst %d the pool counts %d slots in use, want %d", s.Burst, s.Pool.Live, ph.plan.Objects)
			}
			// A burst of less than leastLimit may fit into memory that the Go runtime has free
			// already.
			if s.Known && ph.plan.payload() > leastLimit && ph.above(s) < ph.plan.payload()/2 {
				fail("at the peak of burst %d resident memory is only %s above the start, want about %s", s.Burst, inMiB(ph.above(s)), inMiB(ph.plan.payload()))
			}
		case allBack:
			if s.Pool.Live != 0 {
				fail("after burst %d the pool counts %d slots in use, want 0", s.Burst, s.Pool.Live)
			}
		}
	}
	if outs != ph.plan.Bursts {
		fail("saw %d bursts, want %d", outs, ph.plan.Bursts)
	}
	if end := ph.at(atEnd); end.Known && ph.above(end) > ph.plan.limit() {
		fail("%v after the last Put resident memory is %s above the start, want at most %s",
			ph.plan.Settle, inMiB(ph.above(end)), inMiB(ph.plan.limit()))
	}
	return errors.Join(errs...)
}

func printIntroduction(out io.Writer, p plan) {
	fmt.Fprintf(out, `A burst gets %d objects of %d bytes (%s), writes to each, and puts
them all back. Bursts: %d, with pauses of %v between them. Both sides do the same,
one after the other, each in its own process. There is one line per second, and one
when all objects of a burst are out and when all are back. Sizes are in MiB.
`, p.Objects, objectSize, inMiB(p.payload()), p.Bursts, p.Pause)
	if p.GC > 0 {
		fmt.Fprintf(out, "Each process runs a collection every %v.\n", p.GC)
	}
}

// lines prints the text chart of one side as its samples arrive.
type lines struct {
	out    io.Writer
	plan   plan
	step   int64 // bytes per #
	second time.Duration
}

const barWidth = 32

func newLines(out io.Writer, p plan) *lines {
	return &lines{out: out, plan: p}
}

// barStep returns the smallest power of two, at least 1 MiB, with which top bytes fit into a bar of
// barWidth steps.
func barStep(top int64) int64 {
	step := int64(mib)
	for step*barWidth < top {
		step *= 2
	}
	return step
}

// bar returns one # for each step in n, rounded. If that is more than fits, the bar ends in >.
func bar(n, step int64) string {
	count := (n + step/2) / step
	if count > barWidth {
		return strings.Repeat("#", barWidth-1) + ">"
	}
	return strings.Repeat("#", int(max(count, 0)))
}

// print prints s if its moment is one that the chart shows, or if it is the first sample of a
// second.
func (l *lines) print(s sample) {
	if s.Moment == atStart {
		// This leaves room for what sync.Pool needs in addition to the objects; see bar.
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
		what = fmt.Sprintf("memory that the Go heap holds (resident memory is unknown on %s)", runtime.GOOS)
		if l.plan.Side == thisPool {
			what = fmt.Sprintf("memory that the pool holds (resident memory is unknown on %s)", runtime.GOOS)
		}
	}
	fmt.Fprintf(l.out, "\n%s: %s, one # per %d MiB\n\n", l.plan.Side, what, l.step/mib)
	from, columns := "  Go heap (runtime/metrics)", fmt.Sprintf("%9s%8s%9s%5s", "objects", "idle", "released", "GCs")
	if l.plan.Side == thisPool {
		from = fmt.Sprintf("%9s  %-38s |  %s", "", "Stats of the pool", "pool.ReadMemory")
		columns = fmt.Sprintf("%9s%7s%6s%8s%8s%9s   |%10s%7s", "live", "pages", "warm", "mapped", "purged", "releases", "committed", "warm")
	}
	fmt.Fprintf(l.out, "%14s  %*s%s\n", "", barWidth, "", from)
	fmt.Fprintf(l.out, "%5s%9s  %*s%s\n", "s", "MiB", barWidth, "", columns)
}

// columns returns the allocator's own numbers.
func (l *lines) columns(s sample) string {
	if h := s.GoHeap; l.plan.Side != thisPool {
		return fmt.Sprintf("%9.1f%8.1f%9.1f%5d", mebibytes(h.Objects), mebibytes(h.Idle), mebibytes(h.Released), h.Cycles)
	}
	st, m := s.Pool, s.Memory
	return fmt.Sprintf("%9d%7d%6d%8.1f%8.1f%9d   |%10.1f%7.1f", st.Live, st.Pages, st.WarmPages,
		mebibytes(st.MappedBytes), mebibytes(st.PurgedBytes), st.Releases, mebibytes(m.Committed), mebibytes(m.Warm))
}

// printMemory prints the rest of what pool.ReadMemory says at the end. Reserved address space costs
// no memory.
func (l *lines) printMemory(s sample) {
	if m := s.Memory; l.plan.Side == thisPool {
		fmt.Fprintf(l.out, `
Warm pages are empty. Those that the pool keeps are counted in its Stats. Those that
it has released but that are not purged yet are counted in pool.ReadMemory, which
says at the end: %.1f in use, %.1f purged, %d system calls, %.0f of address space
reserved.
`, mebibytes(m.InUse), mebibytes(m.Purged), m.SystemCalls, mebibytes(m.Reserved))
	}
}

func mebibytes(n int64) float64 { return float64(n) / mib }

func inMiB(n int64) string { return fmt.Sprintf("%.1f MiB", mebibytes(n)) }

// printSummary prints the table at the end.
func printSummary(out io.Writer, phases []phase) {
	p := phases[0].plan
	row := columns.Rows(out, 38, 18, phases)
	fmt.Fprintln(out)
	row("", func(ph phase) string { return string(ph.plan.Side) })
	what := "resident"
	if !phases[0].at(atStart).Known {
		what = "held, by its own account"
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
	row("  total pause", func(ph phase) string { return ph.totals.Pause.Round(time.Microsecond).String() })
	fmt.Fprint(out, `
Allocations are those of the whole process. The pool allocates a record for each
page that it takes. The samples make some thousand on either side.
`)
	if p.GC == 0 {
		fmt.Fprint(out, `
Nothing else allocates here, so no collection runs in the pauses, and sync.Pool
keeps what it has. In a program that does other work, it loses its objects to the
second collection after each burst, and the Go runtime returns their memory to the
system bit by bit: -gc 1s shows that.
`)
	}
}
