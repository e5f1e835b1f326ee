// Quickstart does the same work three times: with a pool.Pool, with a sync.Pool, and with plain
// new. It prints what each of them cost.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -pairs 5000000 -goroutines 4
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/warmpage/pool"
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
	window  = 500 // orders that a goroutine keeps live at a time
	repeats = 15  // runs of each allocator; the median is shown

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
	runs, err := measureAll(ctx, w)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "quickstart: interrupted, no results")
		return exitInterrupted
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	report(stdout, w, runs)
	return 0
}

// work is the task that every allocator gets.
type work struct {
	pairs      int // in total, over all goroutines
	goroutines int
}

// parse reads the command line. It returns an error if that is bad, and leaves the printing to run.
// For -h it prints the usage, and returns flag.ErrHelp.
func parse(args []string, stderr io.Writer) (work, error) {
	var w work
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors
	fs.IntVar(&w.pairs, "pairs", 1_000_000, "Get/Put pairs in a run, in total over all goroutines")
	fs.IntVar(&w.goroutines, "goroutines", 8, "number of goroutines that share the pairs")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: quickstart [-pairs n] [-goroutines n]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return w, err
	case err != nil:
		return w, err
	case fs.NArg() > 0:
		return w, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case w.pairs < 1:
		return w, fmt.Errorf("-pairs must be at least 1, not %d", w.pairs)
	case w.goroutines < 1 || w.goroutines > 10_000:
		return w, fmt.Errorf("-goroutines must be from 1 to 10000, not %d", w.goroutines)
	}
	return w, nil
}

// An allocator is one of the three ways to obtain an Order.
type allocator struct {
	get func() *Order // returns a zeroed Order
	put func(*Order)
	// finish returns the pool's statistics, and closes the pool.
	finish func() (pool.Stats, error)
}

// contenders are the three kinds of allocator, in the order in which the report shows them.
var contenders = []struct {
	name string
	make func() allocator
}{
	{"this pool", newPool},
	{"sync.Pool", newSyncPool},
	{"plain new", newPlain},
}

func newPool() allocator {
	p := pool.New[Order](pool.WithName("orders"))
	return allocator{
		get: p.Get,
		put: p.Put,
		finish: func() (pool.Stats, error) {
			st := p.Stats()
			// Close alone keeps the memory ready for other pools for a second. Trim gives it back
			// now, so that the next run does not start with it.
			p.Trim()
			return st, p.Close()
		},
	}
}

func newSyncPool() allocator {
	p := sync.Pool{New: func() any { return new(Order) }}
	return allocator{
		get: func() *Order {
			o := p.Get().(*Order)
			*o = Order{} // the other two return it zeroed
			return o
		},
		put:    func(o *Order) { p.Put(o) },
		finish: func() (pool.Stats, error) { return pool.Stats{}, nil },
	}
}

func newPlain() allocator {
	return allocator{
		get:    func() *Order { return new(Order) },
		put:    func(*Order) {},
		finish: func() (pool.Stats, error) { return pool.Stats{}, nil },
	}
}

// result is what one run of one allocator gave.
type result struct {
	time     time.Duration
	gcCycles uint32
	gcCPU    time.Duration
	gcPause  time.Duration
	mallocs  uint64
	rss      int64 // bytes of resident memory gained, if rssOK
	rssOK    bool
	turnover int64 // the sum that the work computed
	stats    pool.Stats
}

// measureAll runs the contenders in turn, several times, so that other load on the machine affects
// all of them. For each contender it returns the run with the median time, so that all numbers in a
// column come from the same run.
func measureAll(ctx context.Context, w work) ([]result, error) {
	all := make([][]result, len(contenders))
	for range repeats {
		for i, c := range contenders {
			r, err := measure(ctx, w, c.make())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[i] = append(all[i], r)
		}
	}
	var medians []result
	for i, rs := range all {
		slices.SortFunc(rs, func(a, b result) int { return cmp.Compare(a.time, b.time) })
		medians = append(medians, rs[len(rs)/2])
		if got, want := rs[0].turnover, all[0][0].turnover; got != want {
			return nil, fmt.Errorf("%s computed %d, but %s computed %d", contenders[i].name, got, contenders[0].name, want)
		}
	}
	return medians, nil
}

// measure runs w once with a, and then finishes a.
func measure(ctx context.Context, w work, a allocator) (result, error) {
	debug.FreeOSMemory() // so that each run starts with a small heap and no free memory in it
	before := snapshot()
	start := time.Now()
	turnover := trade(ctx, w, a)
	r := result{time: time.Since(start), turnover: turnover}
	after := snapshot()
	r.gcCycles = after.mem.NumGC - before.mem.NumGC
	r.gcCPU = after.gcCPU - before.gcCPU
	r.gcPause = time.Duration(after.mem.PauseTotalNs - before.mem.PauseTotalNs)
	r.mallocs = after.mem.Mallocs - before.mem.Mallocs
	r.rss, r.rssOK = after.rss-before.rss, before.rssOK && after.rssOK

	var err error
	r.stats, err = a.finish()
	return r, errors.Join(err, ctx.Err())
}

// trade does the work. Each goroutine makes its share of the orders, keeps each one until it has
// made window more, and adds up what they are worth. trade returns the sum.
func trade(ctx context.Context, w work, a allocator) int64 {
	sums := make([]int64, w.goroutines)
	var wg sync.WaitGroup
	for g := range w.goroutines {
		first := w.pairs * g / w.goroutines
		last := w.pairs * (g + 1) / w.goroutines
		wg.Add(1)
		go func() {
			defer wg.Done()
			sums[g] = tradeRange(ctx, a, first, last)
		}()
	}
	wg.Wait()
	var turnover int64
	for _, s := range sums {
		turnover += s
	}
	return turnover
}

// tradeRange does one goroutine's share. When ctx ends, it stops early. It always puts back all of
// its orders.
func tradeRange(ctx context.Context, a allocator, first, last int) (turnover int64) {
	var live [window]*Order
	settle := func(slot **Order) {
		if o := *slot; o != nil {
			turnover += o.Price * int64(o.Quantity)
			a.put(o)
			*slot = nil // o no longer belongs to us
		}
	}
	for n := first; n < last; n++ {
		if n%1024 == 0 {
			// Yield, as waiting for the network would. That way the orders of all goroutines are
			// live at once, and goroutines move between threads.
			runtime.Gosched()
			if ctx.Err() != nil {
				break
			}
		}
		slot := &live[n%window]
		settle(slot)
		o := a.get()
		fill(o, uint64(n))
		*slot = o
	}
	for i := range live {
		settle(&live[i])
	}
	return turnover
}

// fill sets the fields of o from n, so that the turnover is the same with every allocator.
func fill(o *Order, n uint64) {
	o.ID = n
	o.ClientID = n % 977
	copy(o.Symbol[:], "ACME.EXAMPLE")
	o.Price = 10_000 + int64(n%500)
	o.StopPrice = o.Price - 100
	o.Quantity = 1 + int32(n%100)
	o.CreatedNano = int64(n) * 1000
	o.UpdatedNano = o.CreatedNano
	o.ExpiresNano = o.CreatedNano + int64(time.Hour)
	o.Venue = uint32(n % 7)
	o.Flags = uint32(n % 16)
	o.Side = uint8(n % 2)
	o.Kind = uint8(n % 3)
	o.Active = true
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

func report(out io.Writer, w work, runs []result) {
	fmt.Fprintf(out, "%d orders, shared by %d goroutines (GOMAXPROCS %d); each goroutine holds up to %d at a time.\n",
		w.pairs, w.goroutines, runtime.GOMAXPROCS(0), window)
	fmt.Fprintf(out, "Each column shows the run with the median time out of %d runs.\n\n", repeats)

	row := func(label string, cell func(r result) string) {
		fmt.Fprintf(out, "%-24s", label)
		for _, r := range runs {
			fmt.Fprintf(out, "%14s", cell(r))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%-24s", "")
	for _, c := range contenders {
		fmt.Fprintf(out, "%14s", c.name)
	}
	fmt.Fprintln(out)
	row("time", func(r result) string { return millis(r.time) })
	row("  per Get/Put pair", func(r result) string {
		return fmt.Sprintf("%.1f ns", float64(r.time.Nanoseconds())/float64(w.pairs))
	})
	row("GC cycles", func(r result) string { return fmt.Sprint(r.gcCycles) })
	row("  CPU time", func(r result) string { return millis(r.gcCPU) })
	row("  pauses", func(r result) string { return millis(r.gcPause) })
	row("heap objects allocated", func(r result) string { return fmt.Sprint(r.mallocs) })
	row("RSS gained by the end", func(r result) string {
		if !r.rssOK {
			return "n/a"
		}
		return fmt.Sprintf("%.1f MiB", float64(r.rss)/(1<<20))
	})

	reportPool(out, w, runs[0].stats)
	fmt.Fprint(out, `
The time covers the whole work, including filling in the orders and adding them up.
It varies from run to run and from machine to machine; GC cycles and heap objects
vary little. The pool's slots are not on the Go heap: using them does not trigger
the garbage collector, and it does not scan them. A sync.Pool is on the heap and
loses what it holds to GC cycles. This program sees few of these, because it
allocates nothing else. A Get is slow when no free slot is ready and it has to fetch
some first. Here, each Put comes just before the next Get, which is what sync.Pool
does best. When many Gets come before the first Put, this pool is the faster one: see
README.md.
`)
}

// reportPool prints what the pool did in its run. By then all orders have been put back.
func reportPool(out io.Writer, w work, st pool.Stats) {
	fmt.Fprintf(out, "\nThe pool at the end of its run, after all orders were put back:\n\n")
	row := func(label, format string, args ...any) {
		fmt.Fprintf(out, "%-24s%14s\n", label, fmt.Sprintf(format, args...))
	}
	row("slots in use", "%d", st.Live)
	row("pages", "%d", st.Pages)
	row("  warm (empty, kept)", "%d", st.WarmPages)
	row("bytes mapped", "%d KiB", st.MappedBytes>>10)
	row("slow Gets", "%.3f %%", 100*float64(st.SlowGets)/float64(w.pairs))
	row("promotions", "%d", st.Promotions)
	row("pages released", "%d", st.Releases)
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
