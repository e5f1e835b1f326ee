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
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

func main() {
	child.Main(child.One(measure))
	command.Main(run)
}

// run is the program, for main and for tests.
var run = command.Program("packets", parseFlags, show)

// show runs both sides, one after the other, each in a process of its own, and prints the results.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	printIntroduction(stdout, opts.plan)
	var results []result
	for _, s := range []side{thisPool, syncPool} {
		p := opts.plan
		p.Side = s
		r, err := child.Result[result](ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		results = append(results, r)
	}
	printTable(stdout, results)
	if opts.svg != "" {
		if err := writeChart(opts.svg, results); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(results); err != nil {
		return fmt.Errorf("FAILED\n%w", err)
	}
	return nil
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

// parseFlags reads the command line.
func parseFlags(args []string, stderr io.Writer) (options, error) {
	opts := options{plan: usual}
	p := &opts.plan
	fs := flag.NewFlagSet("packets", flag.ContinueOnError)
	fs.DurationVar(&p.Time, "time", usual.Time, "`duration` of the measured part of each side")
	fs.IntVar(&p.Rate, "rate", usual.Rate, "`packets` per second, of all senders together; 0: as fast as possible")
	fs.IntVar(&p.Readers, "readers", usual.Readers, "`number` of readers, each with a socket and a sender")
	fs.IntVar(&p.Workers, "workers", usual.Workers, "`number` of workers, which all serve all readers")
	fs.IntVar(&p.Size, "size", usual.Size, "largest payload in `bytes`; payloads vary from 0 to this")
	fs.DurationVar(&p.GC, "gc", usual.GC, "run a collection every `duration`, as a program that does other work would; 0: never")
	quick := fs.Bool("quick", false, "take only three seconds in total, unless -time is given")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	usage := "[-time d] [-rate n] [-readers n] [-workers n] [-size n] [-gc d] [-quick] [-svg file]"
	if err := command.Parse(fs, args, usage, stderr); err != nil {
		return opts, err
	}
	if *quick {
		command.Defaults(fs, func() { p.WarmUp, p.Time = quickWarmUp, quickTime })
	}
	if err := p.check(); err != nil {
		return opts, err
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
