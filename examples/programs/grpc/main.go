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
	"os"
	"os/signal"
	"runtime"
	"text/tabwriter"
	"time"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := 0
	if text := os.Getenv(planVariable); text != "" {
		if err := beChild(ctx, text, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = exitFailed
		}
	} else {
		code = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(code)
}

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "grpc:", err)
		return exitUsage
	}
	fmt.Fprintf(stdout, "%d messages of %d KiB to %d KiB, there and back, on %d streams at a time; GOMAXPROCS %d.\n\n",
		p.Messages, smallest>>10, largest>>10, p.Streams, runtime.GOMAXPROCS(0))
	var results []result
	for _, s := range sides {
		p.Side = s
		r, err := runChild(ctx, p)
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(stderr, "grpc: interrupted, no results")
			return exitInterrupted
		case err != nil:
			fmt.Fprintln(stderr, "grpc:", err)
			return exitFailed
		}
		results = append(results, r)
	}
	if err := printTable(stdout, p, results); err != nil {
		fmt.Fprintln(stderr, "grpc:", err)
		return exitFailed
	}
	for _, r := range results {
		if r.Unput != 0 {
			fmt.Fprintf(stderr, "grpc: %s: %d of %d buffers were not put\n", r.Side, r.Unput, r.Gets)
			return exitFailed
		}
	}
	return 0
}

func parse(args []string, stderr io.Writer) (plan, error) {
	fs := flag.NewFlagSet("grpc", flag.ContinueOnError)
	streams := fs.Int("streams", 8, "`number` of streams at a time")
	messages := fs.Int("messages", 20_000, "`number` of messages")
	idle := fs.Duration("idle", 5*time.Second, "how `long` to be idle afterwards")
	quick := fs.Bool("quick", false, "some seconds; figures worth nothing")
	fs.SetOutput(io.Discard) // errors are printed once, by run
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return plan{}, err
	case err != nil:
		return plan{}, err
	case fs.NArg() > 0:
		return plan{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	p := plan{Streams: *streams, Messages: *messages, Idle: *idle}
	if *quick {
		p.Messages, p.Idle = 800, 100*time.Millisecond
	}
	if p.Streams < 1 || p.Messages < 10*p.Streams {
		return plan{}, fmt.Errorf("-messages must be at least ten times -streams, which must be positive")
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
	mib := func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }
	each := func(d time.Duration) string {
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
