// Grpc sends messages through a gRPC server and back, over the loopback interface, with buffers of
// gRPC's own pool, of a pool.Bytes on the Go heap and off it, and without a pool. Each has a process of
// its own. It prints what a message has cost, and what the process holds when it is idle.
//
//	go run . [-streams 8] [-messages 20000] [-idle 5s] [-quick]
//
// It exits with status 1 if a message comes back changed, or if a buffer was not put.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

func main() {
	child.Main(child.One(measure))
	command.Main(run)
}

// run is the program, for main and for tests.
var run = command.Program("grpc", parse, show)

// show runs all sides, one after the other, and prints the results.
func show(ctx context.Context, p plan, stdout, _ io.Writer) error {
	fmt.Fprintf(stdout, "%d messages of %d KiB to %d KiB, there and back, on %d streams at a time; GOMAXPROCS %d.\n\n",
		p.Messages, smallest>>10, largest>>10, p.Streams, runtime.GOMAXPROCS(0))
	var results []result
	for _, s := range sides {
		p.Side = s
		r, err := child.Result[result](ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		results = append(results, r)
	}
	if err := printTable(stdout, p, results); err != nil {
		return err
	}
	for _, r := range results {
		if r.Unput != 0 {
			return fmt.Errorf("%s: %d of %d buffers were not put", r.Side, r.Unput, r.Gets)
		}
	}
	return nil
}

func parse(args []string, stderr io.Writer) (plan, error) {
	var p plan
	fs := flag.NewFlagSet("grpc", flag.ContinueOnError)
	fs.IntVar(&p.Streams, "streams", 8, "`number` of streams at a time")
	fs.IntVar(&p.Messages, "messages", 20_000, "`number` of messages")
	fs.DurationVar(&p.Idle, "idle", 5*time.Second, "how `long` to be idle afterwards")
	quick := fs.Bool("quick", false, "some seconds; figures worth nothing")
	if err := command.Parse(fs, args, "[-streams n] [-messages n] [-idle d] [-quick]", stderr); err != nil {
		return p, err
	}
	if *quick {
		command.Defaults(fs, func() { p.Messages, p.Idle = 800, 100*time.Millisecond })
	}
	if p.Streams < 1 || p.Messages < 10*p.Streams {
		return p, errors.New("-messages must be at least ten times -streams, which must be positive")
	}
	return p, nil
}

func printTable(out io.Writer, p plan, results []result) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(r result) string) {
		fmt.Fprintf(t, "%s\t", name)
		for _, r := range results {
			fmt.Fprintf(t, "%s\t", cell(r))
		}
		fmt.Fprintln(t)
	}
	mib := func(bytes int64) string {
		if bytes == 0 {
			return "unknown"
		}
		return fmt.Sprintf("%.1f", float64(bytes)/(1<<20))
	}
	each := func(d time.Duration) string {
		if d == 0 {
			return "unknown"
		}
		return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)/float64(p.Messages))
	}
	row("", func(r result) string { return string(r.Side) })
	row("us a message", func(r result) string { return each(r.Took) })
	row("us of processors", func(r result) string { return each(r.CPU) })
	row("allocations a message", func(r result) string { return fmt.Sprintf("%.1f", r.Allocations) })
	row("KiB a message", func(r result) string { return fmt.Sprintf("%.1f", r.Bytes/1024) })
	row("collections", func(r result) string { return fmt.Sprint(r.Collections) })
	row("MiB resident at the end", func(r result) string { return mib(r.After.Resident) })
	row("MiB held at the end", func(r result) string { return mib(r.After.Held) })
	row(fmt.Sprintf("MiB resident, idle for %s", p.Idle), func(r result) string { return mib(r.Idle.Resident) })
	row("MiB held, idle", func(r result) string { return mib(r.Idle.Held) })
	return t.Flush()
}
