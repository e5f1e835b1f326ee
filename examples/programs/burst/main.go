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
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C

	mib = 1 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var code int
	if text := os.Getenv(planVariable); text != "" {
		code = beChild(ctx, text, os.Stdout, os.Stderr)
	} else {
		code = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(code)
}

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "burst:", err)
		return exitUsage
	}
	return show(ctx, opts, stdout, stderr)
}

// show runs both sides, one after the other, and prints the results. It returns the exit code.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) int {
	printIntroduction(stdout, opts.plan)
	var phases []phase
	for _, s := range []side{thisPool, syncPool} {
		ph := phase{plan: opts.plan}
		ph.plan.Side = s
		lines := newLines(stdout, ph.plan)
		err := runChild(ctx, ph.plan, func(m message) {
			ph.add(m)
			if m.Sample != nil {
				lines.print(*m.Sample)
			}
		})
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(stderr, "burst: interrupted, no results")
			return exitInterrupted
		case err != nil:
			fmt.Fprintf(stderr, "burst: %s: %v\n", s, err)
			return exitFailed
		}
		phases = append(phases, ph)
	}
	printSummary(stdout, phases)
	if opts.svg != "" {
		if err := writeChart(opts.svg, phases); err != nil {
			fmt.Fprintln(stderr, "burst: chart:", err)
			return exitFailed
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(phases[0]); err != nil {
		fmt.Fprintln(stderr, "burst: FAILED")
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
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

// parse reads the command line. It returns an error if that is bad, and leaves the printing to run.
// For -h it prints the usage, and returns flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	var isQuick bool
	given := usual
	fs := flag.NewFlagSet("burst", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	fs.IntVar(&given.Objects, "objects", usual.Objects, "`number` of 64-byte objects in each burst")
	fs.IntVar(&given.Bursts, "bursts", usual.Bursts, "`number` of bursts")
	fs.DurationVar(&given.Pause, "pause", usual.Pause, "`duration` of the pause between two bursts")
	fs.DurationVar(&given.GC, "gc", 0, "run a collection every `duration`, as a program that does other work would (default: never)")
	fs.BoolVar(&isQuick, "quick", false, "take less than 15 s: 200000 objects, 2 bursts, pauses of 2.5s, unless other flags set them")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: burst [-objects n] [-bursts n] [-pause d] [-gc d] [-quick] [-svg file]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return opts, err
	case err != nil:
		return opts, err
	case fs.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case given.Objects < 1 || given.Objects > maxObjects:
		return opts, fmt.Errorf("-objects must be from 1 to %d, not %d", maxObjects, given.Objects)
	case given.Bursts < 1:
		return opts, fmt.Errorf("-bursts must be at least 1, not %d", given.Bursts)
	case given.Pause < 0:
		return opts, fmt.Errorf("-pause must not be negative: %v", given.Pause)
	case given.GC < 0:
		return opts, fmt.Errorf("-gc must not be negative: %v", given.GC)
	}
	opts.plan = merge(fs, given, isQuick)
	return opts, chart.TryFile(opts.svg)
}

// merge returns the usual or the quick plan, changed by the flags that are on the command line.
func merge(fs *flag.FlagSet, given plan, isQuick bool) plan {
	p := usual
	if isQuick {
		p = quick
	}
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "objects":
			p.Objects = given.Objects
		case "bursts":
			p.Bursts = given.Bursts
		case "pause":
			p.Pause = given.Pause
		case "gc":
			p.GC = given.GC
		}
	})
	return p
}
