// Orderbook is a limit order book with price-time priority whose orders live in a
// pool and refer to each other by Ref, and beside it the same book with Go
// pointers. Both replay the same day, each in a process of its own. It prints how
// long messages took and what the garbage collector had to do, and checks that both
// books made the same trades and end up the same.
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
)

const (
	exitFailed      = 1
	exitUsage       = 2   // flags, or the file that they name
	exitBadInput    = 3   // of a child, for which the parent exits with exitUsage; 2 is also a panic
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

// run is main with what a test wants to replace; it returns the exit code.
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

// show runs both variants, one after the other, and says how it went.
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

// liveOf returns how many orders the book of a short day has: a fifth of it may go
// by with filling it.
func liveOf(messages int) int { return min(usualLive, messages/5) }

// parse returns an error for a bad command line, which it has not printed.
func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	var quick bool
	fs := flag.NewFlagSet("orderbook", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	fs.IntVar(&opts.plan.Messages, "messages", usualMessages, "`number` of messages of the day")
	fs.Uint64Var(&opts.plan.Seed, "seed", usualSeed, "`number` that the day follows from")
	fs.StringVar(&opts.plan.CSV, "csv", "", "replay the messages in this `file` instead; README.md has its format")
	fs.BoolVar(&quick, "quick", false, "a few seconds: 2000000 messages, unless given")
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
		return opts, errors.New("-csv says what the messages are; -messages, -seed and -quick do not go with it")
	}
	opts.plan.Live = liveOf(opts.plan.Messages)
	return opts, opts.tryFiles()
}

// tryFiles finds out now that a file cannot be read or written, rather than when
// all has been measured. It leaves things as they were.
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
	if o.svg == "" {
		return nil
	}
	_, err := os.Lstat(o.svg)
	isNew := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(o.svg, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("-svg: %w", err)
	}
	err = f.Close()
	if isNew {
		err = errors.Join(err, os.Remove(o.svg))
	}
	return err
}
