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

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

func main() {
	child.Main(child.One(measure))
	command.Main(run)
}

// run is the program, for main and for tests.
var run = command.Program("orderbook", parse, show)

// show runs both variants, one after the other, each in a process of its own, and prints the
// results.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	printIntroduction(stdout, opts.plan)
	var results []result
	for _, v := range variants {
		p := opts.plan
		p.Variant = v
		r, err := child.Result[result](ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		results = append(results, r)
	}
	if err := compare(results[0].Outcome, results[1].Outcome); err != nil {
		return fmt.Errorf("FAILED\n%w", err)
	}
	printOutcome(stdout, results[0].Outcome)
	printTable(stdout, results)
	if opts.svg != "" {
		if err := writeChart(opts.svg, results); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	return nil
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

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{plan: plan{Messages: usualMessages, Seed: usualSeed}}
	p := &opts.plan
	fs := flag.NewFlagSet("orderbook", flag.ContinueOnError)
	fs.IntVar(&p.Messages, "messages", p.Messages, "`number` of messages in the day")
	fs.Uint64Var(&p.Seed, "seed", p.Seed, "`number` from which the day is generated")
	fs.StringVar(&p.CSV, "csv", "", "replay the messages in this `file` instead; README.md describes the format")
	quick := fs.Bool("quick", false, "take only a few seconds: 2000000 messages, unless -messages is given")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	if err := command.Parse(fs, args, "[-messages n] [-seed n] [-csv file] [-quick] [-svg file]", stderr); err != nil {
		return opts, err
	}
	if *quick {
		command.Defaults(fs, func() { p.Messages = quickMessages })
	}
	given := func(name string) bool { return command.Given(fs, name) }
	switch {
	case p.Messages < 1 || p.Messages > maxMessages:
		return opts, fmt.Errorf("-messages must be from 1 to %d, not %d", maxMessages, p.Messages)
	case p.CSV != "" && (given("messages") || given("seed") || given("quick")):
		return opts, errors.New("-messages, -seed and -quick cannot be used with -csv")
	}
	p.Live = liveOf(p.Messages)
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
