// Packets sends small frames over UDP, through the loopback interface. Readers receive them into
// slots and hand the slots to workers, which check and count the frames. It does so first with
// slots of this library, then with those of a sync.Pool, each in its own process. It prints how
// many frames came through, how fast, how many were dropped and where, and how much was allocated.
//
//	go run . [-time 5s] [-rate 50000] [-readers 2] [-workers 2] [-size 1500] [-gc 100ms]
//	         [-quick] [-svg chart.svg]
//
// It exits with status 1 if the pool's side makes 0.01 allocations per packet or more, or if a
// packet arrives corrupted on either side.
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
	exitUsage       = 2   // also if the system refuses the sockets
	exitInterrupted = 130 // what a shell reports for Ctrl-C
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
	opts, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "packets:", err)
		return exitUsage
	}
	return show(ctx, opts, stdout, stderr)
}

// show runs both sides, one after the other, and prints the results. It returns the exit code.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) int {
	printIntroduction(stdout, opts.plan)
	var results []result
	for _, s := range []side{thisPool, syncPool} {
		p := opts.plan
		p.Side = s
		r, err := runChild(ctx, p)
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(stderr, "packets: interrupted, no results")
			return exitInterrupted
		case errors.Is(err, errSockets):
			fmt.Fprintln(stderr, "packets:", err)
			return exitUsage
		case err != nil:
			fmt.Fprintf(stderr, "packets: %s: %v\n", s, err)
			return exitFailed
		}
		results = append(results, r)
	}
	printTable(stdout, results)
	if opts.svg != "" {
		if err := writeChart(opts.svg, results); err != nil {
			fmt.Fprintln(stderr, "packets: chart:", err)
			return exitFailed
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(results); err != nil {
		fmt.Fprintln(stderr, "packets: FAILED")
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

type options struct {
	plan plan
	svg  string
}

// usual is the plan without any flags.
var usual = plan{
	Host: "127.0.0.1", Readers: 2, Workers: 2, Size: maxPayload, Rate: 50_000,
	WarmUp: time.Second, Time: 5 * time.Second, GC: 100 * time.Millisecond,
}

// With -quick, both sides together take three seconds. It is for automatic checks that the program
// works.
const (
	quickWarmUp = time.Second / 2
	quickTime   = time.Second
)

const maxGoroutines = 64 // maximum number of readers, and of workers

// parseFlags reads the command line. It returns an error if that is bad, and leaves the printing to
// run. For -h it prints the usage, and returns flag.ErrHelp.
func parseFlags(args []string, stderr io.Writer) (options, error) {
	opts := options{plan: usual}
	p := &opts.plan
	fs := flag.NewFlagSet("packets", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	fs.DurationVar(&p.Time, "time", usual.Time, "`duration` of the measured part of each side")
	fs.IntVar(&p.Rate, "rate", usual.Rate, "`packets` per second, of all senders together; 0: as fast as possible")
	fs.IntVar(&p.Readers, "readers", usual.Readers, "`number` of readers, each with a socket and a sender")
	fs.IntVar(&p.Workers, "workers", usual.Workers, "`number` of workers, which all serve all readers")
	fs.IntVar(&p.Size, "size", usual.Size, "largest payload in `bytes`; payloads vary from 0 to this")
	fs.DurationVar(&p.GC, "gc", usual.GC, "run a collection every `duration`, as a program that does other work would; 0: never")
	quick := fs.Bool("quick", false, "take only three seconds in total, unless -time is given")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: packets [-time d] [-rate n] [-readers n] [-workers n] [-size n] [-gc d] [-quick] [-svg file]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return opts, err
	case err != nil:
		return opts, err
	case fs.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := p.check(); err != nil {
		return opts, err
	}
	if *quick {
		p.WarmUp = quickWarmUp
		if !given(fs, "time") {
			p.Time = quickTime
		}
	}
	return opts, chart.TryFile(opts.svg)
}

// check returns an error if a value in p is out of range. The error names the flag.
func (p plan) check() error {
	switch {
	case p.Time <= 0:
		return fmt.Errorf("-time must be positive, not %v", p.Time)
	case p.Rate < 0 || p.Rate > 1e9:
		return fmt.Errorf("-rate must be from 0 to 1000000000, not %d", p.Rate)
	case p.Readers < 1 || p.Readers > maxGoroutines:
		return fmt.Errorf("-readers must be from 1 to %d, not %d", maxGoroutines, p.Readers)
	case p.Workers < 1 || p.Workers > maxGoroutines:
		return fmt.Errorf("-workers must be from 1 to %d, not %d", maxGoroutines, p.Workers)
	case p.Size < 0 || p.Size > maxPayload:
		return fmt.Errorf("-size must be from 0 to %d, not %d", maxPayload, p.Size)
	case p.GC < 0:
		return fmt.Errorf("-gc must not be negative: %v", p.GC)
	}
	return nil
}

// given reports whether a flag was on the command line.
func given(fs *flag.FlagSet, name string) (found bool) {
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
