package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

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

// trade does the work. Each goroutine makes its share of the orders, and adds up what they are worth.
// trade returns the sum.
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

// tradeRange does one goroutine's share, a request at a time: it gets the request's orders, and puts
// them when it is done with all of them. When ctx ends, it stops early.
func tradeRange(ctx context.Context, a allocator, first, last int) (turnover int64) {
	var request [together]*Order
	for first < last && ctx.Err() == nil {
		orders := request[:min(together, last-first)]
		for i := range orders {
			orders[i] = a.get()
			fill(orders[i], uint64(first+i))
		}
		for i, o := range orders {
			turnover += o.Price * int64(o.Quantity)
			a.put(o)
			orders[i] = nil // o no longer belongs to us
		}
		first += len(orders)
		runtime.Gosched() // as waiting for the next request would: goroutines move between threads
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

// showRace gets and puts orders with each allocator.
func showRace(ctx context.Context, w work, out io.Writer) error {
	runs, err := measureAll(ctx, w)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d goroutines get and put %d orders, in requests of %d\n", w.goroutines, w.pairs, together)
	fmt.Fprintf(out, "(the median of %d runs in turn; the time has the filling in as well):\n\n", repeats)
	t := table{out}
	row := func(label string, cell func(r result) string) {
		t.row(label, cell(runs[0]), cell(runs[1]), cell(runs[2]))
	}
	t.row("", contenders[0].name, contenders[1].name, contenders[2].name)
	row("time for an order", func(r result) string {
		return fmt.Sprintf("%.1f ns", float64(r.time.Nanoseconds())/float64(w.pairs))
	})
	row("objects allocated", func(r result) string { return fmt.Sprint(r.mallocs) })
	row("collections", func(r result) string { return fmt.Sprint(r.gcCycles) })
	row("  their CPU time", func(r result) string { return millis(r.gcCPU) })
	row("  their pauses", func(r result) string { return millis(r.gcPause) })
	fmt.Fprint(out, `
Where orders keep crossing between processors, sync.Pool is faster: see
docs/comparison.md.
`)
	return nil
}
