// Rpc is a server whose handlers use a large object for each request: a header map, slices and
// buffers. It serves the same requests three times: with a pool.Pool on the Go heap, with a
// sync.Pool, and with plain new. Clients in the same process send them, one at a time each, over
// TCP on the loopback interface. The program prints what each way has cost, what is still there
// after the server was idle, and what is seen of a handler that forgets to put.
//
//	go run . [-quick] [-requests 100000] [-goroutines 128] [-idle 2s] [-warm=false]
//
// It exits with status 1 if an answer is wrong.
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
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

var (
	usual = work{requests: 100_000, goroutines: 128, idle: 2 * time.Second, warm: true}
	quick = work{requests: 5_000, goroutines: 32, idle: 100 * time.Millisecond, warm: true}
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	w, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "rpc:", err)
		return exitUsage
	}
	results, err := measureAll(ctx, w)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "rpc: interrupted, no results")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "rpc:", err)
		return exitFailed
	}
	report(stdout, w, results)
	return 0
}

// parse reads the command line. It returns an error if that is bad, and leaves the printing to run.
// For -h it prints the usage, and returns flag.ErrHelp.
func parse(args []string, stderr io.Writer) (work, error) {
	w := usual
	fs := flag.NewFlagSet("rpc", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	isQuick := fs.Bool("quick", false, "take a few seconds; the figures are worth nothing")
	fs.IntVar(&w.requests, "requests", w.requests, "requests in a run, in total over all clients")
	fs.IntVar(&w.goroutines, "goroutines", w.goroutines, "number of clients; each has a goroutine, and so has its handler")
	fs.DurationVar(&w.idle, "idle", w.idle, "how long the server is idle after the load")
	fs.BoolVar(&w.warm, "warm", w.warm, "the pool keeps empty pages for good (WithWarmPages)")
	err := fs.Parse(args)
	if *isQuick {
		given := w
		w = quick
		fs.Visit(func(f *flag.Flag) {
			switch f.Name {
			case "requests":
				w.requests = given.requests
			case "goroutines":
				w.goroutines = given.goroutines
			case "idle":
				w.idle = given.idle
			case "warm":
				w.warm = given.warm
			}
		})
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: rpc [-quick] [-requests n] [-goroutines n] [-idle duration] [-warm=false]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return w, err
	case err != nil:
		return w, err
	case fs.NArg() > 0:
		return w, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case w.requests < 1 || w.requests > 1_000_000_000:
		return w, fmt.Errorf("-requests must be from 1 to 1000000000, not %d", w.requests)
	case w.goroutines < 1 || w.goroutines > 1000:
		return w, fmt.Errorf("-goroutines must be from 1 to 1000, not %d", w.goroutines)
	case w.idle < 0:
		return w, fmt.Errorf("-idle must not be negative: %v", w.idle)
	}
	return w, nil
}
