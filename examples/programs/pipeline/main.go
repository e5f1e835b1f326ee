// Pipeline reads records, parses them in several goroutines, and writes them, which is slower than
// reading. Each record on its way is a slot of one pool. It does so twice: with a bound on the slots, so
// that the reader waits for the writer, and without one.
//
//	go run . [-records 200000] [-workers 4] [-in-flight 256] [-slow 4]
//
// Ctrl-C ends it: what was read is still written.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
)

func main() { command.Main(run) }

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	w, err := parse(args, stderr)
	if err != nil {
		return command.Code("pipeline", command.BadUsage(err), stderr)
	}
	fmt.Fprintf(stdout, "%d records of %d bytes, %d workers, and a slow writer\n", w.records, lineSize, w.workers)
	for _, inFlight := range []int{w.inFlight, 0} {
		name := fmt.Sprintf("at most %d in flight", inFlight)
		if inFlight == 0 {
			name = "no bound"
		}
		fmt.Fprintf(stdout, "\n%s\n", name)
		w.inFlight = inFlight
		r := w.do(ctx, func(r result) {
			fmt.Fprintf(stdout, "  %7d written, %7d in flight\n", r.written, r.inUse)
		})
		fmt.Fprintf(stdout, "  %d records, %d of them errors, %.1f MB in %v (%.0f records/ms)\n",
			r.written, r.failures, float64(r.bytes)/1e6, r.took.Round(time.Millisecond), float64(r.written)/float64(r.took.Milliseconds()+1))
		fmt.Fprintf(stdout, "  in flight: %d at most, %.1f MB; the reader waited %d times\n", r.mostInUse, float64(r.mapped)/1e6, r.waits)
		if ctx.Err() != nil {
			fmt.Fprintln(stdout, "  interrupted; all that was read is written")
			return command.ExitInterrupted
		}
	}
	return 0
}

// parse returns the work that the arguments ask for.
func parse(args []string, stderr io.Writer) (w work, err error) {
	fs := flag.NewFlagSet("pipeline", flag.ContinueOnError)
	fs.IntVar(&w.records, "records", 200_000, "records to read")
	fs.IntVar(&w.workers, "workers", 4, "goroutines that parse")
	fs.IntVar(&w.inFlight, "in-flight", 256, "records between reading and writing, at most")
	fs.IntVar(&w.slow, "slow", 4, "checksums that the writer makes of each record")
	if err = command.Parse(fs, args, "[-records n] [-workers n] [-in-flight n] [-slow n]", stderr); err != nil {
		return w, err
	}
	if w.records < 1 || w.workers < 1 || w.inFlight < 1 || w.slow < 0 {
		return w, errors.New("records, workers and in-flight are 1 or more, and slow is not negative")
	}
	return w, nil
}
