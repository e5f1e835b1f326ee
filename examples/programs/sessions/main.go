// Sessions is a store of sessions that expire, under load: goroutines look sessions up and open new
// ones, and a sweeper ends those that nobody has used for a time. It does the same on a pool, where
// sessions refer to each other by Refs, and on the heap, and compares what a garbage collection takes.
//
//	go run . [-sessions 1000000] [-goroutines 4] [-time 3s]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
)

func main() { command.Main(run) }

// run is the program, for main and for tests.
var run = command.Program("sessions", parse, serveBoth)

// parse reads the command line.
func parse(args []string, stderr io.Writer) (l load, err error) {
	fs := flag.NewFlagSet("sessions", flag.ContinueOnError)
	fs.IntVar(&l.sessions, "sessions", 1_000_000, "sessions that are open at a time, at most")
	fs.IntVar(&l.goroutines, "goroutines", 4, "goroutines that serve")
	fs.DurationVar(&l.time, "time", 3*time.Second, "how long each store serves")
	if err := command.Parse(fs, args, "[-sessions n] [-goroutines n] [-time d]", stderr); err != nil {
		return l, err
	}
	if l.sessions < 1 || l.goroutines < 1 || l.time <= 0 {
		return l, errors.New("give positive numbers")
	}
	return l, nil
}

// serveBoth uses a store of each kind.
func serveBoth(ctx context.Context, l load, stdout, _ io.Writer) error {
	for _, side := range []struct {
		name     string
		newStore func(limit int) store
	}{{"on a pool", newPooled}, {"on the heap", newPlain}} {
		runtime.GC()
		fmt.Fprintf(stdout, "\n%s: %d sessions at most\n", side.name, l.sessions)
		s := side.newStore(l.sessions)
		l.serve(ctx, s, stdout)
		if err := errors.Join(s.close(), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// load says what to do with a store.
type load struct {
	sessions, goroutines int
	time                 time.Duration
}

// serve uses s for a time, and prints what it has done.
func (l load) serve(ctx context.Context, s store, stdout io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, l.time)
	defer cancel()
	begun := time.Now()
	now := func() int64 { return int64(time.Since(begun)) }
	ttl := int64(l.time / 4)
	var hits, misses, expired atomic.Int64
	var g sync.WaitGroup
	g.Add(l.goroutines + 1)
	for range l.goroutines {
		go func() {
			defer g.Done()
			for ctx.Err() == nil {
				for range 100 {
					// Some users come often, and most do once in a while.
					id := uint64(rand.ExpFloat64() * float64(l.sessions) / 2)
					if _, ok := s.touch(id, now()); ok {
						hits.Add(1)
					} else {
						misses.Add(1)
						s.open(id, id, now())
					}
				}
			}
		}()
	}
	go func() { // the sweeper
		defer g.Done()
		every := time.NewTicker(l.time / 100)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				expired.Add(int64(s.expire(now() - ttl)))
			case <-ctx.Done():
				return
			}
		}
	}()
	report := time.NewTicker(l.time / 3)
	defer report.Stop()
	for range 3 {
		select {
		case <-report.C:
		case <-ctx.Done():
		}
		begun := time.Now()
		runtime.GC()
		fmt.Fprintf(stdout, "  %8d open, %9d hits, %8d misses, %7d expired; GC %5.1f ms\n",
			s.live(), hits.Load(), misses.Load(), expired.Load(), float64(time.Since(begun).Microseconds())/1000)
	}
	cancel()
	g.Wait()
}
