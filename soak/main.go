// Soak is a server without a network that uses all features of the library at once, for as long as
// you like. Clients send requests at a steady rate, with bursts and idle phases in between. It
// checks the contents of each slot, and that what it measures does not rise in the course of the run.
//
//	go run . [-duration 10m] [-quick] [-seed n] [-csv file]
//
// It exits with status 1 if a slot was handed out twice or overwritten, if a line is not flat, or if
// anything is in use at the end.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usual is what is run without flags. After a burst, sessions expire and pools give memory back, which
// takes up to three seconds.
var usual = config{interval: time.Second, cycle: []phase("tsssbcci"), clients: 16, rate: 5000, tolerance: 1,
	patience: 15 * time.Second}

// quick is four cycles: one to warm up, and one for each third of the rest.
const quick = 32 * time.Second

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	duration := fs.Duration("duration", 10*time.Minute, "how `long` to run, 32s at least")
	short := fs.Bool("quick", false, "run for half a minute")
	seed := fs.Uint64("seed", 1, "`number` that random choices begin with")
	name := fs.String("csv", "", "write a line a second to this `file`")
	fs.SetOutput(stderr)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "soak: unexpected argument %q\n", fs.Arg(0))
		return exitUsage
	}
	if *short {
		*duration = quick
	}
	if *duration < quick {
		fmt.Fprintln(stderr, "soak: -duration must be 32s or more: there is a first and a last third of it")
		return exitUsage
	}
	cfg := usual
	cfg.seed = *seed
	cfg.samples = int(*duration / cfg.interval)
	cfg.warmUp = max(cfg.samples/10, len(cfg.cycle))
	if cfg.samples < 240 {
		cfg.tolerance = 8 // a third is some seconds
	}
	if !isOffHeap() {
		cfg.tolerance *= 10 // memory only rises, until there is as much as was ever in use
	}

	out := io.Discard
	if *name != "" {
		f, err := os.Create(*name)
		if err != nil {
			fmt.Fprintln(stderr, "soak:", err)
			return exitFailed
		}
		defer f.Close()
		out = f
	}
	fmt.Fprintf(stdout, "soak for %v with seed %d, on %d processors\n", *duration, *seed, runtime.NumCPU())
	err := runSoak(ctx, cfg, out, stdout)
	switch {
	case ctx.Err() != nil && err == nil:
		fmt.Fprintln(stderr, "soak: interrupted")
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(stderr, "soak: FAILED\n%v\n", err)
		return exitFailed
	}
	fmt.Fprintln(stdout, "passed")
	return 0
}

// runSoak runs as cfg says, and writes samples to table and lines for people to stdout. It returns
// what is wrong.
func runSoak(ctx context.Context, cfg config, table, stdout io.Writer) error {
	s := newSoak(cfg)
	perLine := 10
	if cfg.samples >= 900 {
		perLine = 60
	}
	w := csv.NewWriter(table)
	names, _ := sample{}.row()
	_ = w.Write(names) // Error tells below
	var recent []sample
	samples, wrong := s.run(ctx, func(x sample) {
		_, values := x.row()
		_ = w.Write(values)
		w.Flush() // what there is when the program ends early
		if recent = append(recent, x); len(recent) == perLine {
			fmt.Fprintln(stdout, summary(recent))
			recent = recent[:0]
		}
	})
	if err := w.Error(); err != nil {
		wrong = append(wrong, err)
	}
	fmt.Fprintf(stdout, "%d requests; %d slots got, %d put, %d forgotten; %d Gets refused; %d mistakes found; %d pools renewed\n",
		s.requests.Load(), s.got.Load(), s.put.Load(), s.lost.Load(), s.refused.Load(), s.mistakes.Load(), s.renewed.Load())
	if ctx.Err() == nil && len(samples) == cfg.samples {
		texts, rising := verdict(samples[cfg.warmUp:], cfg)
		fmt.Fprintln(stdout, "\nmedians of the first and the last third:")
		for _, text := range texts {
			fmt.Fprintln(stdout, " ", text)
		}
		wrong = append(wrong, rising...)
	}
	return errors.Join(wrong...)
}
