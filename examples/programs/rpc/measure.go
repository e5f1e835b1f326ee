package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/warmpage/pool"
)

// idleCollections run while the server is idle. A sync.Pool has lost everything after two.
const idleCollections = 5

// settling is how long a closed pool may be on the list of those that wait for the library's clock,
// and more.
const settling = 300 * time.Millisecond

const repeats = 5 // runs of each side's load; the median is shown

// A side is one of the three ways to get a request.
type side struct {
	name     string
	newStore func(w work) store
	leaky    func() store // for the load with the leak
}

var sides = []side{
	{
		"this pool",
		func(w work) store { return newPoolStore(pool.WithWarmPages(w.warmPages())) },
		func() store { return newPoolStore(pool.WithProfile(1)) }, // each Get
	},
	{
		"sync.Pool",
		func(work) store { return newSyncStore() },
		func() store { return newSyncStore() },
	},
	{
		"plain new",
		func(work) store { return new(plainStore) },
		func() store { return new(plainStore) },
	},
}

// A work is what every side has to do.
type work struct {
	requests   int
	goroutines int // clients, and handlers
	idle       time.Duration
	warm       bool // the pool keeps its pages
}

// warmPages is as many pages as the requests of all handlers take, and one more for each P, because
// each P has pages of its own.
func (w work) warmPages() int {
	if !w.warm {
		return 0
	}
	const slotsPerPage = 64 // at least
	return (w.goroutines+slotsPerPage-1)/slotsPerPage + runtime.GOMAXPROCS(0)
}

// leakRequests is how many requests the load with the leak has.
func (w work) leakRequests() int { return max(3*w.requests, 2*badEvery) }

func (w work) leaks() int { return w.leakRequests() / badEvery }

// A result is what a side has shown.
type result struct {
	side string
	load load // the run with the median time
	idle idle
	leak leak
}

// A load is what the requests have cost.
type load struct {
	hash     uint64 // of all replies
	time     time.Duration
	p50, p99 time.Duration
	mallocs  uint64
	bytes    uint64 // allocated
	gcs      uint32
	made     int64 // requests
}

// An idle is what is kept. The heap is what there is more than before the load.
type idle struct {
	heapBefore, heapAfter int64
	warm                  int // requests that were there still
}

// A leak is what is seen of requests that were not put.
type leak struct {
	made    int64 // requests
	counted bool  // live and lost say something
	live    int
	lost    uint64
	profile []string // lines of the profile
}

// measureAll runs the sides in turn, several times, so that other load on the machine affects all
// of them. What is kept and what a leak shows is measured once.
func measureAll(ctx context.Context, w work) ([]result, error) {
	// What the runtime allocates once, such as goroutines, counts for no side.
	first := work{requests: w.goroutines, goroutines: w.goroutines}
	if _, err := first.load(ctx, new(plainStore)); err != nil {
		return nil, err
	}
	loads := make([][]load, len(sides))
	results := make([]result, len(sides))
	for n := range repeats {
		for i, s := range sides {
			r, err := measure(ctx, w, s, n == repeats-1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			loads[i], results[i] = append(loads[i], r.load), r
		}
	}
	if err := check(w, loads, results); err != nil {
		return nil, err
	}
	for i, l := range loads {
		slices.SortFunc(l, func(a, b load) int { return cmp.Compare(a.time, b.time) })
		results[i].load = l[len(l)/2]
	}
	return results, nil
}

// check returns an error if sides have different answers, or if the pool has not found the leak.
func check(w work, loads [][]load, results []result) error {
	for i, r := range results {
		for _, l := range loads[i] {
			if l.hash != loads[0][0].hash {
				return fmt.Errorf("%s has other answers than %s", r.side, results[0].side)
			}
		}
		if found := r.leak.live + int(r.leak.lost); r.leak.counted && found != w.leaks() {
			return fmt.Errorf("%s has %d requests live or lost, and %d were not put", r.side, found, w.leaks())
		}
	}
	return nil
}

// measure runs the load with a new store and, if all is set, the rest too.
func measure(ctx context.Context, w work, s side, all bool) (r result, err error) {
	r.side = s.name
	if all {
		time.Sleep(settling) // so that heap has nothing of the side before
	}
	debug.FreeOSMemory() // so that each load starts with a small heap
	heap := heapAlloc()
	st := s.newStore(w)
	defer closeStore(st)
	if r.load, err = w.load(ctx, st); err != nil || !all {
		return r, err
	}
	if r.idle, err = w.rest(ctx, st, heap); err != nil {
		return r, err
	}
	r.leak, err = w.leak(ctx, s.leaky())
	return r, err
}

// load sends the requests. All connections are closed when it returns.
func (w work) load(ctx context.Context, st store) (l load, err error) {
	err = w.connect(ctx, st, false, w.requests, func(all clients) error {
		// Each connection is served once before time and memory are measured.
		if err := all.each(func(i int, c *client) error { return c.ask(i) }); err != nil {
			return err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if err := all.load(w.requests); err != nil {
			return err // perhaps there is no sample
		}
		l.time = time.Since(start)
		runtime.ReadMemStats(&after)
		l.mallocs = after.Mallocs - before.Mallocs
		l.bytes = after.TotalAlloc - before.TotalAlloc
		l.gcs = after.NumGC - before.NumGC
		l.p50, l.p99 = all.percentile(50), all.percentile(99)
		l.hash = all.hash()
		return nil
	})
	l.made = st.made()
	return l, err
}

// rest leaves st idle, and then sends a burst of one request on each of as many connections as
// before. heap is from before the load.
func (w work) rest(ctx context.Context, st store, heap int64) (i idle, err error) {
	runtime.GC()
	i.heapBefore = heapAlloc() - heap
	for range idleCollections {
		select {
		case <-time.After(w.idle / idleCollections):
		case <-ctx.Done():
			return i, ctx.Err()
		}
		runtime.GC()
	}
	i.heapAfter = heapAlloc() - heap

	before := st.made()
	err = w.connect(ctx, st, false, w.goroutines, func(all clients) error {
		return all.each(func(i int, c *client) error { return c.ask(i) })
	})
	// new makes more: a handler gets one more request, and then learns that its client has gone.
	i.warm = max(w.goroutines-int(st.made()-before), 0)
	return i, err
}

// connect starts a server, and calls f with clients that are connected to it, for that many
// requests. It returns when all handlers have ended. If ctx ends, the connections do.
func (w work) connect(ctx context.Context, st store, forgets bool, requests int, f func(clients) error) error {
	srv, err := startServer(st, forgets)
	if err != nil {
		return err
	}
	defer srv.stop()
	var all clients
	defer func() { all.close() }()
	for range w.goroutines {
		c, err := dial(ctx, srv.listener.Addr().String(), requests/w.goroutines/sampleEvery+2)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		all = append(all, c)
	}
	defer context.AfterFunc(ctx, all.close)()
	err = f(all)
	return errors.Join(ctx.Err(), err)
}

func heapAlloc() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func closeStore(st store) {
	if s, ok := st.(*poolStore); ok {
		_ = s.pool.Close() // of a pool on the Go heap: it cannot fail
	}
}

// leak sends requests to handlers that forget some. It looks once all clients have gone and
// collections have run.
func (w work) leak(ctx context.Context, st store) (l leak, err error) {
	defer closeStore(st)
	n := w.leakRequests()
	if err := w.connect(ctx, st, true, n, func(all clients) error { return all.load(n) }); err != nil {
		return l, err
	}
	for range idleCollections {
		runtime.GC()
	}
	l.made = st.made()
	if s, ok := st.(*poolStore); ok {
		stats := s.pool.Stats()
		l.counted, l.live, l.lost = true, stats.Live, stats.Lost
		l.profile, err = profile()
	}
	return l, err
}

// profile returns the profile pool_live: the slots in use by stack, with the functions of this
// program only.
func profile() ([]string, error) {
	var text bytes.Buffer
	if err := pool.WriteProfile(&text, 1); err != nil {
		return nil, err
	}
	program := reflect.TypeFor[request]().PkgPath() + "."
	var lines []string
	for line := range strings.Lines(text.String()) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 0 && fields[0] == "#": // # address function file:line
			function, ours := strings.CutPrefix(fields[2], program)
			if ours {
				lines = append(lines, fmt.Sprintf("  %-34s%s", function, fields[3][strings.LastIndexAny(fields[3], `/\`)+1:]))
			}
		case strings.Contains(line, " of "):
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}
