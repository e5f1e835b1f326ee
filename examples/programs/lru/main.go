// Lru compares two LRU caches of ten million entries. One has its entries in a pool that the
// garbage collector does not see. The other is built the usual way: a map, a container/list, and
// entries on the Go heap. Both get the same keys, each in its own process. The program prints the
// time and memory that they took, and the collector's share.
//
//	go run . [-entries 10000000] [-ops 20000000] [-seed 1] [-skew 1.01]
//	         [-trace keys.txt] [-garbage 256] [-svg chart.svg] [-quick]
//
// It exits with status 1 if the two do not have exactly the same number of hits.
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
var run = command.Program("lru", parse, show)

// show runs both sides, one after the other, each in a process of its own, and prints the results.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	if err := opts.prepare(ctx); err != nil {
		return err
	}
	printIntroduction(stdout, opts)
	var results []result
	for i, s := range []side{pooled, listed} {
		fmt.Fprintf(stderr, "%d of 2: %s\n", i+1, s)
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
		if err := writeChart(opts.svg, opts, results); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(results[0], results[1]); err != nil {
		return fmt.Errorf("FAILED: %w", err)
	}
	return nil
}

// check returns an error if the results of the two sides differ.
func check(a, b result) error {
	if a.Ops != b.Ops || a.Hits != b.Hits || a.Entries != b.Entries {
		return fmt.Errorf("%s had %d hits in %d operations and %d entries at the end, but %s had %d hits in %d operations and %d entries",
			a.Side, a.Hits, a.Ops, a.Entries, b.Side, b.Hits, b.Ops, b.Entries)
	}
	return nil
}

type options struct {
	plan plan
	svg  string

	keys int // number of different keys in the trace file; set by prepare
}

// The plans without and with -quick, for all that other flags do not set. quick is for automatic
// checks that the program works.
var (
	usual = plan{Entries: 10_000_000, Ops: 20_000_000, Seed: 1, Skew: 1.01, Garbage: 256}
	quick = plan{Entries: 500_000, Ops: 2_000_000}
)

const (
	// With maxEntries entries, the numbers of the keys still fit into 32 bits.
	maxEntries = 100_000_000

	// maxShards is also the maximum number of workers, because workers do not share shards: see
	// split.
	maxShards = 64

	// With a skew of maxSkew only a few keys are left. Zipf needs a skew above 1.
	maxSkew = 10
)

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{plan: usual}
	p := &opts.plan
	fs := flag.NewFlagSet("lru", flag.ContinueOnError)
	fs.IntVar(&p.Entries, "entries", p.Entries, "`number` of entries that fit into the cache")
	fs.IntVar(&p.Ops, "ops", p.Ops, "`number` of Gets; with -trace, the default is the number of lines in the file")
	fs.Uint64Var(&p.Seed, "seed", p.Seed, "`seed` of the generated trace")
	fs.Float64Var(&p.Skew, "skew", p.Skew, "`exponent` of the Zipf distribution of the generated trace, above 1")
	fs.StringVar(&p.Trace, "trace", "", "read the keys from this `file`, one per line, instead of generating them")
	fs.IntVar(&p.Garbage, "garbage", p.Garbage, "`bytes` that each operation allocates in addition, on both sides, as the request around it would")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	isQuick := fs.Bool("quick", false, fmt.Sprintf("take less than 15 s: %d entries and %d Gets, unless other flags set them", quick.Entries, quick.Ops))
	usage := "[-entries n] [-ops n] [-seed n] [-skew x] [-trace file] [-garbage n] [-svg file] [-quick]"
	if err := command.Parse(fs, args, usage, stderr); err != nil {
		return opts, err
	}
	command.Defaults(fs, func() {
		if *isQuick {
			p.Entries, p.Ops = quick.Entries, quick.Ops
		}
		if p.Trace != "" {
			p.Ops = 0 // prepare counts the lines
		}
	})
	p.Shards = min(p.Entries, maxShards)
	return opts, opts.checkValues(fs)
}

// checkValues returns an error if the value of a flag is out of range, or if flags conflict.
func (o *options) checkValues(fs *flag.FlagSet) error {
	p := o.plan
	given := func(name string) bool { return command.Given(fs, name) }
	switch {
	case p.Entries < 1 || p.Entries > maxEntries:
		return fmt.Errorf("-entries must be from 1 to %d, not %d", maxEntries, p.Entries)
	case given("ops") && p.Ops < 1:
		return fmt.Errorf("-ops must be at least 1, not %d", p.Ops)
	case !(p.Skew > 1 && p.Skew <= maxSkew): // this form also refuses NaN
		return fmt.Errorf("-skew must be above 1 and at most %d, not %v", maxSkew, p.Skew)
	case p.Garbage < 0:
		return fmt.Errorf("-garbage must not be negative: %d", p.Garbage)
	case given("trace") && p.Trace == "":
		return errors.New("-trace must name a file")
	case given("trace") && (given("seed") || given("skew")):
		return errors.New("-seed and -skew apply to a generated trace, not to one that -trace reads")
	}
	return nil
}

// prepare returns an error if a file cannot be used. It finds that out now rather than a minute
// later. It also sets what follows from the trace file.
func (o *options) prepare(ctx context.Context) error {
	if err := chart.TryFile(o.svg); err != nil {
		return command.BadUsage(err)
	}
	if o.plan.Trace == "" {
		return nil
	}
	t, err := readTraceFile(ctx, o.plan.Trace)
	if err != nil {
		return command.BadUsage(fmt.Errorf("-trace: %w", err))
	}
	o.keys = len(t.names)
	if o.plan.Ops == 0 {
		o.plan.Ops = len(t.ids)
	}
	return nil
}
