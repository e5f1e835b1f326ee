// Orderbook has two limit order books with price-time priority. In one, orders live in a pool and
// refer to each other by Ref. The other is the same book with Go pointers. Both replay the same
// day, each in its own process. The program prints how long messages took and how much work the
// garbage collector had. It checks that both books made the same trades and end up the same.
//
//	go run . [-messages 20000000] [-seed 1] [-csv day.csv] [-quick] [-svg chart.svg]
//
// It exits with status 1 if the books disagree.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/warmpage/pool/examples/programs/internal/chart"
)

const (
	exitFailed      = 1
	exitUsage       = 2   // bad flags, or a bad input file
	exitBadInput    = 3   // only from a child: the parent then exits with exitUsage; 2 could also be a panic
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
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "orderbook:", err)
		return exitUsage
	}
	return show(ctx, opts, stdout, stderr)
}

// show runs both variants, one after the other, and prints the results. It returns the exit code.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) int {
	printIntroduction(stdout, opts.plan)
	var results []result
	for _, v := range variants {
		p := opts.plan
		p.Variant = v
		r, err := runChild(ctx, p)
		var bad badInput
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(stderr, "orderbook: interrupted, no results")
			return exitInterrupted
		case errors.As(err, &bad):
			fmt.Fprintln(stderr, "orderbook:", err)
			return exitUsage
		case err != nil:
			fmt.Fprintf(stderr, "orderbook: %s: %v\n", v, err)
			return exitFailed
		}
		results = append(results, r)
	}
	if err := compare(results[0].Outcome, results[1].Outcome); err != nil {
		fmt.Fprintln(stderr, "orderbook: FAILED")
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	printOutcome(stdout, results[0].Outcome)
	printTable(stdout, results)
	if opts.svg != "" {
		if err := writeChart(opts.svg, results); err != nil {
			fmt.Fprintln(stderr, "orderbook: chart:", err)
			return exitFailed
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	return 0
}

type options struct {
	plan plan
	svg  string
}

const (
	usualMessages = 20_000_000
	quickMessages = 2_000_000
	maxMessages   = 2_000_000_000

	usualSeed = 1
	usualLive = 1_000_000
)

// liveOf returns how many orders the book should have. On a short day these are fewer, so that
// filling the book takes no more than a fifth of the messages.
func liveOf(messages int) int { return min(usualLive, messages/5) }

// parse reads the command line. It returns an error if that is bad, and leaves the printing to run.
// For -h it prints the usage, and returns flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	var quick bool
	fs := flag.NewFlagSet("orderbook", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	fs.IntVar(&opts.plan.Messages, "messages", usualMessages, "`number` of messages in the day")
	fs.Uint64Var(&opts.plan.Seed, "seed", usualSeed, "`number` from which the day is generated")
	fs.StringVar(&opts.plan.CSV, "csv", "", "replay the messages in this `file` instead; README.md describes the format")
	fs.BoolVar(&quick, "quick", false, "take only a few seconds: 2000000 messages, unless -messages is given")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	err := fs.Parse(args)
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if quick && !given["messages"] {
		opts.plan.Messages = quickMessages
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: orderbook [-messages n] [-seed n] [-csv file] [-quick] [-svg file]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return opts, err
	case err != nil:
		return opts, err
	case fs.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case opts.plan.Messages < 1 || opts.plan.Messages > maxMessages:
		return opts, fmt.Errorf("-messages must be from 1 to %d, not %d", maxMessages, opts.plan.Messages)
	case opts.plan.CSV != "" && (given["messages"] || given["seed"] || given["quick"]):
		return opts, errors.New("-messages, -seed and -quick cannot be used with -csv")
	}
	opts.plan.Live = liveOf(opts.plan.Messages)
	return opts, opts.tryFiles()
}

// tryFiles returns an error if a file cannot be read or written. It finds that out before all the
// measuring rather than after it. It changes nothing on disk.
func (o options) tryFiles() error {
	if o.plan.CSV != "" {
		o.plan.Messages = 0
		_, closeSource, err := o.plan.open()
		if err != nil {
			return fmt.Errorf("-csv: %w", err)
		}
		if err := closeSource(); err != nil {
			return fmt.Errorf("-csv: %w", err)
		}
	}
	return chart.TryFile(o.svg)
}
