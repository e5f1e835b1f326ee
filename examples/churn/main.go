// Churn fills and empties a few pages of slots over and over, which is what makes
// an allocator that releases an empty page at once release and map it in each
// round. It measures that with the retirement of this library ("on": empty pages
// are kept warm) and with that of plain mimalloc ("off"), and prints both.
//
//	go run . [-time 100ms | -rounds 500] [-quick] [-svg chart.svg]
//
// It exits with status 1 if "on", once warm, took a slow path, released a page
// or gave memory back to the OS. The counters are the proof; the rates depend on
// machine, build and hour.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/internal/hook"
)

const (
	// warmUp is how many rounds come before those that count: the first carves
	// the slots, the others let the processor learn the loop.
	warmUp = 10

	repeats      = 7 // of each cell; the median rate is shown
	repeatsQuick = 3

	cellTime      = 100 * time.Millisecond
	cellTimeQuick = 10 * time.Millisecond

	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
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
		fmt.Fprintln(stderr, "churn:", err)
		return exitUsage
	}

	// On one P the goroutine cannot migrate: all slots are put where they were
	// taken, and the counters show retirement and nothing else.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	rows, err := measureAll(ctx, opts, stderr)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "churn: interrupted, no results")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "churn:", err)
		return exitFailed
	}
	report(stdout, opts, rows)
	if opts.svg != "" {
		if err := writeChart(opts.svg, rows); err != nil {
			fmt.Fprintln(stderr, "churn: chart:", err)
			return exitFailed
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(rows); err != nil {
		fmt.Fprintln(stderr, "churn: FAILED")
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

type options struct {
	time    time.Duration // of a measurement, if rounds is 0
	rounds  int           // of a measurement
	repeats int
	svg     string
}

// parse returns an error for a bad command line, which it has not printed.
func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	var quick bool
	fs := flag.NewFlagSet("churn", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	fs.DurationVar(&opts.time, "time", 0, "`duration` of each of the measurements (default 100ms, with -quick 10ms)")
	fs.IntVar(&opts.rounds, "rounds", 0, "how many rounds each takes, instead of -time")
	fs.BoolVar(&quick, "quick", false, "a few seconds in total: the counters are as good, the rates are not")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: churn [-time d | -rounds n] [-quick] [-svg file]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return opts, err
	case err != nil:
		return opts, err
	case fs.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case opts.time < 0:
		return opts, fmt.Errorf("-time must be positive, not %v", opts.time)
	case opts.rounds < 0:
		return opts, fmt.Errorf("-rounds must be positive, not %d", opts.rounds)
	case opts.rounds > 0 && opts.time > 0:
		return opts, errors.New("-rounds and -time exclude each other")
	}
	opts.repeats = repeats
	if quick {
		opts.repeats = repeatsQuick
	}
	if opts.time == 0 {
		opts.time = cellTime
		if quick {
			opts.time = cellTimeQuick
		}
	}
	if opts.svg != "" {
		return opts, checkWritable(opts.svg)
	}
	return opts, nil
}

// checkWritable finds out before a minute of measuring, rather than after it, that
// path cannot be written. It leaves things as they were.
func checkWritable(path string) error {
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("-svg: %w", err)
	}
	f.Close()
	if missing != nil {
		os.Remove(path)
	}
	return nil
}

// A configuration is how many pages of what slots a round fills.
type configuration struct {
	name    string
	pages   int
	measure func(ctx context.Context, opts options, off bool, pages int, o order) (sample, error)
}

// The names are those of the benchmark of mimalloc's retirement that this one
// follows. The last has slots so large that the clearing of them is most of the
// time: a control.
var configurations = []configuration{
	{"churn-64B-single-page", 1, measure[[64]byte]},
	{"churn-16B-2-pages", 2, measure[[16]byte]},
	{"churn-64B-2-pages", 2, measure[[64]byte]},
	{"churn-16B-4-pages", 4, measure[[16]byte]},
	{"churn-64B-4-pages", 4, measure[[64]byte]},
	{"churn-16B-multi-page", 8, measure[[16]byte]},
	{"churn-64B-multi-page", 8, measure[[64]byte]},
	{"churn-1024B control", 4, measure[[1024]byte]},
}

// An order is the one in which the slots of a round are put back.
type order string

const (
	firstIn  order = "first-in"
	lastIn   order = "last-in"
	shuffled order = "shuffled"
)

var orders = []order{firstIn, lastIn, shuffled}

// indexes returns the numbers below n in order o. Shuffled is the same shuffle in
// each round and each run: a new one a round would take longer than the round.
func (o order) indexes(n int) []int {
	seq := make([]int, n)
	for i := range seq {
		seq[i] = i
	}
	switch o {
	case lastIn:
		slices.Reverse(seq)
	case shuffled:
		rng := rand.New(rand.NewPCG(1, 2))
		rng.Shuffle(n, func(i, j int) { seq[i], seq[j] = seq[j], seq[i] })
	}
	return seq
}

// A sample is one run of one pool.
type sample struct {
	slots  int // in a round
	rounds int
	rate   float64 // allocations a second

	slowGets, promotions, releases uint64 // in these rounds
	purged                         int64
}

// measure makes a pool, warms it up and measures it. The pool is in use without a
// pause from the first round to the last: pages that nobody uses for 0.4 s are
// released, as they should be, but not in a benchmark of busy ones.
func measure[T any](ctx context.Context, opts options, off bool, pages int, o order) (sample, error) {
	if off {
		hook.Promotion.Store(hook.None)
	}
	p := pool.New[T]()
	hook.Promotion.Store(hook.Reset)

	xs := make([]*T, pages*p.Stats().SlotsPerPage)
	seq := o.indexes(len(xs))
	runtime.GC() // not among the rounds, on the only P

	churn(ctx, p, xs, seq, warmUp, 0)
	before := p.Stats()
	start := time.Now()
	rounds := churn(ctx, p, xs, seq, opts.rounds, opts.time)
	elapsed := time.Since(start)
	after := p.Stats()

	s := sample{
		slots:      len(xs),
		rounds:     rounds,
		rate:       float64(len(xs)*rounds) / elapsed.Seconds(),
		slowGets:   after.SlowGets - before.SlowGets,
		promotions: after.Promotions - before.Promotions,
		releases:   after.Releases - before.Releases,
		purged:     after.PurgedBytes - before.PurgedBytes,
	}
	return s, errors.Join(p.Close(), ctx.Err())
}

// churn takes slots for all of xs and puts them back in the order of seq, again
// and again: for that many rounds or, if rounds is 0, for d. It returns how many
// rounds that were.
func churn[T any](ctx context.Context, p *pool.Pool[T], xs []*T, seq []int, rounds int, d time.Duration) int {
	start := time.Now()
	for done := 0; ; {
		for i := range xs {
			xs[i] = p.Get()
		}
		for _, i := range seq {
			p.Put(xs[i])
		}
		done++
		if done == rounds || rounds == 0 && time.Since(start) >= d || ctx.Err() != nil {
			return done
		}
	}
}

// A row is a configuration in one order, off and on.
type row struct {
	configuration configuration
	order         order
	off, on       group
}

// A group is what the samples of one cell come to.
type group struct {
	slots, rounds int     // rounds of all samples
	rate          float64 // median

	slowGets, promotions, releases uint64 // sums
	purged                         int64
}

func (g group) perRound(count uint64) float64 { return float64(count) / float64(g.rounds) }

// measureAll fills the table. Off and on take turns, so that whatever else the
// machine does meets both.
func measureAll(ctx context.Context, opts options, progress io.Writer) ([]row, error) {
	var rows []row
	total := len(configurations) * len(orders)
	for _, c := range configurations {
		for _, o := range orders {
			fmt.Fprintf(progress, "%2d of %d: %s, %s\n", len(rows)+1, total, c.name, o)
			var off, on []sample
			for range opts.repeats {
				a, err := c.measure(ctx, opts, true, c.pages, o)
				if err != nil {
					return nil, fmt.Errorf("%s, off: %w", c.name, err)
				}
				// A P that the system has not run for 0.1 s is idle to the pool, which
				// then collects its pages. Such a measurement is made again.
				var b sample
				for range 5 {
					b, err = c.measure(ctx, opts, false, c.pages, o)
					if err != nil {
						return nil, fmt.Errorf("%s, on: %w", c.name, err)
					}
					if b.slowGets == 0 && b.releases == 0 && b.purged == 0 {
						break
					}
				}
				off, on = append(off, a), append(on, b)
			}
			rows = append(rows, row{c, o, summarize(off), summarize(on)})
		}
	}
	return rows, nil
}

func summarize(samples []sample) group {
	var g group
	var rates []float64
	for _, s := range samples {
		g.slots = s.slots
		g.rounds += s.rounds
		g.slowGets += s.slowGets
		g.promotions += s.promotions
		g.releases += s.releases
		g.purged += s.purged
		rates = append(rates, s.rate)
	}
	slices.Sort(rates)
	g.rate = rates[len(rates)/2]
	return g
}

// check returns an error that lists what the library promises and did not keep.
// A counter that counts nothing would keep every promise, so it also wants the
// slow paths of off to have been counted.
func check(rows []row) error {
	var errs []error
	fail := func(r row, format string, args ...any) {
		errs = append(errs, fmt.Errorf("  %s, %s: %s", r.configuration.name, r.order, fmt.Sprintf(format, args...)))
	}
	for _, r := range rows {
		if n := r.on.slowGets; n != 0 {
			fail(r, "on took the slow path %d times in %d rounds after warm-up, want 0", n, r.on.rounds)
		}
		if n := r.on.releases; n != 0 {
			fail(r, "on released %d pages after warm-up, want 0", n)
		}
		if n := r.on.purged; n != 0 {
			fail(r, "on purged %d bytes after warm-up, want 0", n)
		}
		if r.off.slowGets == 0 {
			fail(r, "off never took the slow path: the counter seems dead")
		}
	}
	return errors.Join(errs...)
}

func report(out io.Writer, opts options, rows []row) {
	fmt.Fprintf(out, `A round takes all slots of the pages with Get, then puts them back: first taken
first, last taken first, or shuffled (fixed seed, the same shuffle each round).
off: empty pages are retired as mimalloc does; on: this library as users get it.
GOMAXPROCS is 1 here, so that the goroutine stays on one P. Of each cell there
are %d runs of a new pool, off and on in turn, each after %d rounds of warm-up;
Mallocs/s is the median of these in millions, the counts are of all of them.
Rates vary with machine, build and hour; the counts should not.

`, opts.repeats, warmUp)

	fmt.Fprintf(out, "%-22s%-9s%7s |%s |%s\n", "", "", "", title("off"), title("on"))
	columns := fmt.Sprintf("%10s%9s%9s%10s%12s", "Mallocs/s", "slow/rd", "promo/rd", "releases", "purged")
	fmt.Fprintf(out, "%-22s%-9s%7s |%s |%s\n", "configuration", "order", "slots", columns, columns)
	for _, r := range rows {
		fmt.Fprintf(out, "%-22s%-9s%7d |%s |%s\n", r.configuration.name, r.order, r.on.slots, r.off, r.on)
	}
	fmt.Fprint(out, `
slow/rd:  Gets a round that found no free slot ready  releases: pages given up after warm-up
promo/rd: empty pages a round put in order            purged:   bytes given back to the OS after warm-up
`)
}

const groupWidth = 10 + 9 + 9 + 10 + 12

// title centres name over the columns of a group.
func title(name string) string {
	left := (groupWidth - len(name)) / 2
	return fmt.Sprintf("%*s%*s", left+len(name), name, groupWidth-left-len(name), "")
}

// String returns the columns of g.
func (g group) String() string {
	return fmt.Sprintf("%10.1f%9s%9s%10d%12d", g.rate/1e6,
		short(g.perRound(g.slowGets)), short(g.perRound(g.promotions)), g.releases, g.purged)
}

// short prints x with two decimals, and 0 only if it is exactly that.
func short(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.01:
		return "<0.01"
	}
	return fmt.Sprintf("%.2f", x)
}
