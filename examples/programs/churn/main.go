// Churn fills and empties a few pages of slots over and over. An allocator that releases an empty
// page at once releases pages and maps them again in every round of such a load. The program
// measures it with the retirement of this library ("on": empty pages are kept warm) and with that
// of plain mimalloc ("off"), and prints both.
//
//	go run . [-time 100ms | -rounds 500] [-quick] [-svg chart.svg]
//
// It exits with status 1 if "on" took a slow path, released a page or gave memory back to the OS
// after warm-up. The counters are the proof; the rates depend on the machine, the build and the
// time of day.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/internal/hook"
)

const (
	// warmUp is the number of rounds before the measured ones. The first one carves the slots; the
	// others let the processor learn the loop.
	warmUp = 10

	repeats      = 7 // runs of each cell; the table shows the median rate
	repeatsQuick = 3

	cellTime      = 100 * time.Millisecond
	cellTimeQuick = 10 * time.Millisecond
)

func main() { command.Main(run) }

// run is the program, for main and for tests.
var run = command.Program("churn", parse, show)

// show measures, and prints the results.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	// On one P the goroutine cannot migrate. Every slot is put on the P that got it, so the
	// counters show the effect of retirement and nothing else.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	rows, err := measureAll(ctx, opts, stderr)
	if err != nil {
		return err
	}
	report(stdout, opts, rows)
	if opts.svg != "" {
		if err := writeChart(opts.svg, rows); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(rows); err != nil {
		return fmt.Errorf("FAILED\n%w", err)
	}
	return nil
}

type options struct {
	time    time.Duration // how long each measurement takes, if rounds is 0
	rounds  int           // how many rounds each measurement takes, or 0
	repeats int
	svg     string
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{repeats: repeats}
	fs := flag.NewFlagSet("churn", flag.ContinueOnError)
	fs.DurationVar(&opts.time, "time", 0, "`duration` of each measurement (default 100ms, or 10ms with -quick)")
	fs.IntVar(&opts.rounds, "rounds", 0, "number of rounds in each measurement, instead of -time")
	quick := fs.Bool("quick", false, "take only a few seconds in total: the counters stay exact, but the rates get less precise")
	fs.StringVar(&opts.svg, "svg", "", "write a chart to this `file`")
	if err := command.Parse(fs, args, "[-time d | -rounds n] [-quick] [-svg file]", stderr); err != nil {
		return opts, err
	}
	if err := opts.check(); err != nil {
		return opts, err
	}
	usual := cellTime
	if *quick {
		opts.repeats, usual = repeatsQuick, cellTimeQuick
	}
	if opts.time == 0 {
		opts.time = usual
	}
	return opts, chart.TryFile(opts.svg)
}

// check returns an error if a flag is out of range, or if two conflict.
func (o options) check() error {
	switch {
	case o.time < 0:
		return fmt.Errorf("-time must be positive, not %v", o.time)
	case o.rounds < 0:
		return fmt.Errorf("-rounds must be positive, not %d", o.rounds)
	case o.rounds > 0 && o.time > 0:
		return errors.New("-rounds and -time cannot be used together")
	}
	return nil
}

// A configuration says how many pages a round fills, and with slots of which size.
type configuration struct {
	name    string
	pages   int
	measure func(ctx context.Context, opts options, off bool, pages int, o order) (sample, error)
}

// The names come from the benchmark of mimalloc's retirement that this program follows. The last
// one is a control: its slots are so large that clearing them takes most of the time.
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

// An order is the order in which a round puts its slots back.
type order string

const (
	firstIn  order = "first-in"
	lastIn   order = "last-in"
	shuffled order = "shuffled"
)

var orders = []order{firstIn, lastIn, shuffled}

// indexes returns the numbers from 0 to n-1 in order o. The shuffle is the same in every round and
// every run, because a new shuffle for each round would take longer than the round.
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

// A sample is the result of one run with one pool.
type sample struct {
	slots  int // per round
	rounds int
	rate   float64 // allocations per second

	slowGets, promotions, releases uint64 // during these rounds
	purged                         int64  // bytes
}

// measure makes a pool, warms it up and measures it. There is no pause between the first round and
// the last, because the pool rightly releases pages that nobody uses for 0.4 s, and this program
// measures busy ones.
func measure[T any](ctx context.Context, opts options, off bool, pages int, o order) (sample, error) {
	if off {
		hook.Promotion.Store(hook.None)
	}
	p := pool.New[T]()
	hook.Promotion.Store(hook.Reset)

	xs := make([]*T, pages*p.Stats().SlotsPerPage)
	seq := o.indexes(len(xs))
	runtime.GC() // now, so that none runs on the only P during the rounds

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

// churn fills xs with slots and puts them back in the order of seq, again and again. It does so for
// the given number of rounds or, if that is 0, for the duration d. It returns the number of rounds
// done.
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

// A row holds the results of one configuration in one order, off and on.
type row struct {
	configuration configuration
	order         order
	off, on       group
}

// emptiesPages reports whether rounds leave pages empty, without which there is nothing to retire. The
// slots put last wait for the next Gets, and keep their pages in use: the only page, or, shuffled, all.
func (r row) emptiesPages() bool { return r.configuration.pages > 1 && r.order != shuffled }

// A group sums up the samples of one cell.
type group struct {
	slots, rounds int     // slots per round, and rounds of all samples together
	rate          float64 // median, in allocations per second

	slowGets, promotions, releases uint64 // sums
	purged                         int64  // sum, in bytes
}

func (g group) perRound(count uint64) float64 { return float64(count) / float64(g.rounds) }

// measureAll measures all rows of the table. Off and on take turns, so that other load on the
// machine affects both.
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
				// The pool regards a P that the system has not run for 0.1 s as idle, and collects
				// its pages. Repeat a measurement in which that happened.
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

// check returns an error that lists every promise of the library that the rows break. A counter
// that counts nothing would break none, so check also demands that off has counted slow paths, where
// rounds leave pages empty.
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
		if r.off.slowGets == 0 && r.emptiesPages() {
			fail(r, "off never took the slow path: the counter seems to be broken")
		}
	}
	return errors.Join(errs...)
}

func report(out io.Writer, opts options, rows []row) {
	fmt.Fprintf(out, `A round gets all slots of the pages, then puts them back: the first one first, the
last one first, or shuffled (fixed seed, the same shuffle in every round).
off: empty pages are retired as in mimalloc; on: this library as users get it.
GOMAXPROCS is 1, so that the goroutine stays on one P. Each cell stands for %d runs,
each with a new pool after %d rounds of warm-up, off and on in turn. Mallocs/s is
their median rate in millions; releases and purged are totals over all of them.
Rates vary with the machine, the build and the time of day; the counts should not.

`, opts.repeats, warmUp)

	fmt.Fprintf(out, "%-22s%-9s%7s |%s |%s\n", "", "", "", title("off"), title("on"))
	columns := fmt.Sprintf("%10s%9s%9s%10s%12s", "Mallocs/s", "slow/rd", "promo/rd", "releases", "purged")
	fmt.Fprintf(out, "%-22s%-9s%7s |%s |%s\n", "configuration", "order", "slots", columns, columns)
	for _, r := range rows {
		fmt.Fprintf(out, "%-22s%-9s%7d |%s |%s\n", r.configuration.name, r.order, r.on.slots, r.off, r.on)
	}
	fmt.Fprint(out, `
slow/rd:  Gets per round that took or carved a page     releases: pages given up after warm-up
promo/rd: empty pages put in order per round            purged:   bytes given back to the OS after warm-up
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

// short formats x with two decimals. It returns "0" only if x is exactly 0.
func short(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.01:
		return "<0.01"
	}
	return fmt.Sprintf("%.2f", x)
}
