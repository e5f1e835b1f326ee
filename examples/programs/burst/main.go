// Burst gets millions of objects at once, puts them all back, pauses, and does it again. It does so
// first with this library, then with sync.Pool, each in its own process. Once a second it prints
// how much memory the process has resident. At the end it prints what each side took, kept and
// cost.
//
//	go run . [-objects 2000000] [-bursts 3] [-pause 5s] [-gc 1s] [-quick] [-svg chart.svg]
//
// It exits with status 1 if the memory of the pool's bursts has not gone back to the system 5 s
// after the last Put. It checks this only on Linux, because it reads resident memory from /proc.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

const mib = 1 << 20

func main() {
	child.Main(work)
	command.Main(run)
}

// run is the program, for main and for tests.
var run = command.Program("burst", parse, show)

// show runs both sides, one after the other, each in a process of its own, and prints the results.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	printIntroduction(stdout, opts.plan)
	var phases []phase
	for _, s := range []side{thisPool, syncPool} {
		ph := phase{plan: opts.plan}
		ph.plan.Side = s
		lines := newLines(stdout, ph.plan)
		err := child.Run(ctx, ph.plan, func(m message) {
			ph.add(m)
			if m.Sample != nil {
				lines.print(*m.Sample)
			}
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		phases = append(phases, ph)
	}
	printSummary(stdout, phases)
	if opts.svg != "" {
		if err := writeChart(opts.svg, phases); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(phases[0]); err != nil {
		return fmt.Errorf("FAILED\n%w", err)
	}
	return nil
}

type options struct {
	plan plan
	svg  string
}

// The plans without and with -quick, for all that other flags do not set. quick is for automatic
// checks that the program works: both sides together take less than 15 s.
var (
	usual = plan{Objects: 2_000_000, Bursts: 3, Lead: time.Second / 2, Pause: 5 * time.Second, Settle: 5 * time.Second, Period: time.Second / 10}
	quick = plan{Objects: 200_000, Bursts: 2, Lead: time.Second / 2, Pause: 5 * time.Second / 2, Settle: 7 * time.Second / 2, Period: time.Second / 10}
)

// maxObjects objects take 6 GiB, and their pointers another 0.8 GiB.
const maxObjects = 100_000_000

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{plan: usual}
	p := &opts.plan
	fs := flag.NewFlagSet("burst", flag.ContinueOnError)
	fs.IntVar(&p.Objects, "objects", p.Objects, "`number` of 64-byte objects in each burst")
	fs.IntVar(&p.Bursts, "bursts", p.Bursts, "`number` of bursts")
	fs.DurationVar(&p.Pause, "pause", p.Pause, "`duration` of the pause between two bursts")
	fs.DurationVar(&p.GC, "gc", 0, "run a collection every `duration`, as a program that does other work would (default: never)")
	isQuick := fs.Bool("quick", false, "take less than 15 s: 200000 objects, 2 bursts, pauses of 2.5s, unless other flags set them")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	if err := command.Parse(fs, args, "[-objects n] [-bursts n] [-pause d] [-gc d] [-quick] [-svg file]", stderr); err != nil {
		return opts, err
	}
	if *isQuick {
		command.Defaults(fs, func() { *p = quick })
	}
	if err := p.check(); err != nil {
		return opts, err
	}
	return opts, chart.TryFile(opts.svg)
}

// check returns an error if a value in p is out of range. The error names the flag.
func (p plan) check() error {
	switch {
	case p.Objects < 1 || p.Objects > maxObjects:
		return fmt.Errorf("-objects must be from 1 to %d, not %d", maxObjects, p.Objects)
	case p.Bursts < 1:
		return fmt.Errorf("-bursts must be at least 1, not %d", p.Bursts)
	case p.Pause < 0:
		return fmt.Errorf("-pause must not be negative: %v", p.Pause)
	case p.GC < 0:
		return fmt.Errorf("-gc must not be negative: %v", p.GC)
	}
	return nil
}
