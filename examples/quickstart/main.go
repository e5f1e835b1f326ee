// Quickstart shows what a pool is for. It holds some million orders in three ways, and prints what
// they cost the garbage collector. It puts an order twice, and prints the error. Then it gets and puts
// orders with a pool.Pool, a sync.Pool and plain new.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -live 10000000 -pairs 5000000 -goroutines 4
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
	"runtime/metrics"
	"time"
)

// An Order is the type that the program pools. It holds no Go pointer at any depth: no string, no
// slice, no time.Time. That is why it can live where the garbage collector does not look.
// pool.CheckType checks any type for this.
type Order struct {
	ID          uint64
	ClientID    uint64
	Symbol      [16]byte
	Price       int64 // in cents
	StopPrice   int64
	Quantity    int32
	Filled      int32
	CreatedNano int64
	UpdatedNano int64
	ExpiresNano int64
	Venue       uint32
	Flags       uint32
	Side        uint8
	Kind        uint8
	Active      bool
}

const (
	together = 500 // orders of a request, which are live at a time
	repeats  = 7   // runs of each allocator; the median is shown

	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with arguments that tests can replace. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	w, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return exitUsage
	}
	for _, part := range []func(context.Context, work, io.Writer) error{showLive, showMistake, showRace} {
		err := part(ctx, w, stdout)
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(stderr, "quickstart: interrupted")
			return exitInterrupted
		}
		if err != nil {
			fmt.Fprintln(stderr, "quickstart:", err)
			return 1
		}
	}
	fmt.Fprint(stdout, "\nMore: README.md. Which of your sync.Pools fit: poolvet/README.md.\n")
	return 0
}

// work is what the program does.
type work struct {
	live       int // orders at a time, in the first part
	pairs      int // in total, over all goroutines
	goroutines int
}

// parse reads the command line. It returns an error if that is bad, and leaves the printing to run.
// For -h it prints the usage, and returns flag.ErrHelp.
func parse(args []string, stderr io.Writer) (work, error) {
	var w work
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	fs.IntVar(&w.live, "live", 0, "orders that are live at a time in the first part (default 3 million, or less where memory is small)")
	fs.IntVar(&w.pairs, "pairs", 1_000_000, "Get/Put pairs in a run, in total over all goroutines")
	fs.IntVar(&w.goroutines, "goroutines", 8, "number of goroutines that share the pairs")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: quickstart [-live n] [-pairs n] [-goroutines n]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return w, err
	case err != nil:
		return w, err
	case fs.NArg() > 0:
		return w, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case w.live < 0:
		return w, fmt.Errorf("-live must be at least 1, not %d", w.live)
	case w.pairs < 1:
		return w, fmt.Errorf("-pairs must be at least 1, not %d", w.pairs)
	case w.goroutines < 1 || w.goroutines > 10_000:
		return w, fmt.Errorf("-goroutines must be from 1 to 10000, not %d", w.goroutines)
	}
	if w.live == 0 {
		w.live = fewMillion()
	}
	return w, nil
}

// usage is what the process has used since it started.
type usage struct {
	mem   runtime.MemStats
	gcCPU time.Duration
	rss   int64
	rssOK bool
}

func snapshot() usage {
	var u usage
	u.rss, u.rssOK = readRSS()
	gc := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(gc)
	u.gcCPU = time.Duration(gc[0].Value.Float64() * float64(time.Second))
	runtime.ReadMemStats(&u.mem)
	return u
}

// readRSS returns the resident memory of the process, in bytes. ok is false if the system does not
// report it.
func readRSS() (bytes int64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, false
	}
	return resident * int64(os.Getpagesize()), true
}

// A table prints rows of three cells.
type table struct{ out io.Writer }

func (t table) row(label string, cells ...string) {
	fmt.Fprintf(t.out, "  %-32s", label)
	for _, c := range cells {
		fmt.Fprintf(t.out, "%14s", c)
	}
	fmt.Fprintln(t.out)
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
