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
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
)

var (
	usual = work{requests: 100_000, goroutines: 128, idle: 2 * time.Second, warm: true}
	quick = work{requests: 5_000, goroutines: 32, idle: 100 * time.Millisecond, warm: true}
)

func main() { command.Main(run) }

// run is the program, for main and for tests.
var run = command.Program("rpc", parse, show)

// show measures, and prints the results.
func show(ctx context.Context, w work, stdout, _ io.Writer) error {
	results, err := measureAll(ctx, w)
	if err != nil {
		return err
	}
	report(stdout, w, results)
	return nil
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (work, error) {
	w := usual
	fs := flag.NewFlagSet("rpc", flag.ContinueOnError)
	isQuick := fs.Bool("quick", false, "take a few seconds; too short for its figures to mean anything")
	fs.IntVar(&w.requests, "requests", w.requests, "requests in a run, in total over all clients")
	fs.IntVar(&w.goroutines, "goroutines", w.goroutines, "number of clients; each has a goroutine, and so has its handler")
	fs.DurationVar(&w.idle, "idle", w.idle, "how long the server is idle after the load")
	fs.BoolVar(&w.warm, "warm", w.warm, "the pool keeps empty pages for good (WithWarmPages)")
	if err := command.Parse(fs, args, "[-quick] [-requests n] [-goroutines n] [-idle duration] [-warm=false]", stderr); err != nil {
		return w, err
	}
	if *isQuick {
		command.Defaults(fs, func() { w = quick })
	}
	switch {
	case w.requests < 1 || w.requests > 1_000_000_000:
		return w, fmt.Errorf("-requests must be from 1 to 1000000000, not %d", w.requests)
	case w.goroutines < 1 || w.goroutines > 1000:
		return w, fmt.Errorf("-goroutines must be from 1 to 1000, not %d", w.goroutines)
	case w.idle < 0:
		return w, fmt.Errorf("-idle must not be negative: %v", w.idle)
	}
	return w, nil
}
