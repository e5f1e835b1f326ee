// Server is an HTTP service that works in slots: a scratch slot for each request, and a session for
// each client, which the service holds by a Ref. The same service is also there with sync.Pool and
// the heap. By default, the program starts a server process of each kind in turn and gives both the
// same load over the loopback interface. It prints how long requests took, how much memory was in
// use, and what the garbage collector did.
//
//	go run . [-rate n] [-members n] [-visitors n] [-connections n] [-seed n]
//	         [-steady d] [-burst d] [-idle d] [-quick] [-svg file]
//	go run . -serve [-load] [-alloc pool|sync] [-addr host:port] [-ops host:port]
//
// With -serve it only serves. The page at the -ops address shows what the pools hold. The program
// exits with status 1 if a server gave a wrong answer, if the answers of the two servers differ, or
// if a server shut down with a slot in use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/pace"
)

const mib = 1 << 20

func main() {
	child.Main(serveParent)
	command.Main(run)
}

// run is the program, for main and for tests.
var run = command.Program("server", parse, show)

// show gives both variants the load, one after the other, and prints the results. With -serve it
// only serves.
func show(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	if opts.serve {
		return serve(ctx, opts, stdout)
	}
	// The collections of this process, which makes the load, add to all latencies.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	printIntroduction(stdout, opts.load)
	var results []result
	for _, v := range []variant{usePool, useSync} {
		c := opts.config
		c.Variant = v
		r, err := measure(ctx, c, opts.load, func(a addresses) {
			fmt.Fprintf(stderr, "%s: its page is at http://%s/\n", v, a.Ops)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		results = append(results, r)
	}
	printTable(stdout, results)
	if opts.svg != "" {
		if err := writeChart(opts.svg, opts.load, results); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		fmt.Fprintln(stderr, "chart written to", opts.svg)
	}
	if err := check(opts.load, results); err != nil {
		return fmt.Errorf("FAILED\n%w", err)
	}
	return nil
}

// serve serves until ctx ends. If the options ask for it, it also gives itself the load, over and
// over.
func serve(ctx context.Context, opts options, stdout io.Writer) error {
	s, err := newServer(opts.config)
	if err != nil {
		return err
	}
	a := s.addresses()
	fmt.Fprintf(stdout, "service at http://%s/sessions, page at http://%s/; press Ctrl-C to stop\n", a.Service, a.Ops)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loading := make(chan error, 1)
	if opts.withLoad {
		go func() {
			loading <- loadForever(ctx, a.Service, opts.load)
			cancel()
		}()
	} else {
		loading <- nil
	}
	err = s.run(ctx)
	cancel()
	return errors.Join(err, <-loading)
}

// loadForever repeats the load until ctx ends.
func loadForever(ctx context.Context, address string, w workload) error {
	for ctx.Err() == nil {
		if err := loadOnce(ctx, address, w); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// loadOnce gives the server at address all phases of the load.
func loadOnce(ctx context.Context, address string, w workload) error {
	client, err := connect(ctx, address, w)
	if err != nil {
		return err
	}
	_, err = client.openMembers(ctx)
	if err == nil {
		_, err = client.steady(ctx, w.Rate, w.Steady)
	}
	if err == nil {
		_, err = client.burst(ctx)
	}
	if err = errors.Join(err, client.close()); err != nil {
		return err
	}
	return pace.Sleep(ctx, w.Idle)
}

type options struct {
	config   config
	load     workload
	serve    bool
	withLoad bool
	svg      string
}

// The config and the loads without and with -quick, for all that other flags do not set. quick is
// for automatic checks that the program works.
var (
	usualConfig = config{
		Variant: usePool, Address: "127.0.0.1:0", OpsAddress: "127.0.0.1:0",
		ScratchLimit: 64 * mib, SessionLimit: 2048 * mib,
		MemberTTL: time.Hour, VisitorTTL: 2 * time.Second,
		Sample: time.Second / 2, Grace: 5 * time.Second,
	}
	usual = workload{
		Seed: 1, Connections: 64, Members: 300_000, Visitors: 300_000, Rate: 3000,
		WarmUp: time.Second, Steady: 10 * time.Second, Burst: 4 * time.Second, Idle: 6 * time.Second,
	}
	quick = workload{
		Seed: 1, Connections: 16, Members: 20_000, Visitors: 20_000, Rate: 500,
		WarmUp: time.Second / 4, Steady: time.Second, Burst: time.Second, Idle: 3 * time.Second / 2,
	}
	quickTTL = time.Second / 2
)

// The default addresses with -serve.
const (
	serveAddress = "127.0.0.1:8080"
	serveOps     = "127.0.0.1:8081"
)

const (
	maxSessions    = 10_000_000
	maxRate        = 100_000
	maxConnections = 1000
	maxPhase       = time.Hour
)

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{config: usualConfig, load: usual}
	c, w := &opts.config, &opts.load
	var scratchLimit, sessionLimit int
	fs := flag.NewFlagSet("server", flag.ContinueOnError)
	isQuick := fs.Bool("quick", false, "take only some seconds in total: fewer sessions and requests, unless other flags set them")
	fs.IntVar(&w.Rate, "rate", w.Rate, "`trades` per second; the burst has twice as many")
	fs.IntVar(&w.Members, "members", w.Members, "`sessions` that stay until the end")
	fs.IntVar(&w.Visitors, "visitors", w.Visitors, "`sessions` that the burst opens and that expire after it")
	fs.IntVar(&w.Connections, "connections", w.Connections, "`number` of connections that send trades")
	fs.Uint64Var(&w.Seed, "seed", w.Seed, "`number` from which the requests are generated")
	fs.DurationVar(&w.Steady, "steady", w.Steady, "`duration` of the steady phase")
	fs.DurationVar(&w.Burst, "burst", w.Burst, "`duration` of the burst")
	fs.DurationVar(&w.Idle, "idle", w.Idle, "`duration` of the phase without requests")
	fs.DurationVar(&c.MemberTTL, "member-ttl", c.MemberTTL, "`duration` after which an unused session of a member expires")
	fs.DurationVar(&c.VisitorTTL, "visitor-ttl", c.VisitorTTL, "`duration` after which an unused session of a visitor expires")
	fs.IntVar(&scratchLimit, "scratch-limit", int(c.ScratchLimit/mib), "`MiB` that the pool of scratch slots may take; 0: no limit")
	fs.IntVar(&sessionLimit, "session-limit", int(c.SessionLimit/mib), "`MiB` that the pool of sessions may take; 0: no limit")
	fs.BoolVar(&opts.serve, "serve", false, "only serve, until Ctrl-C")
	fs.BoolVar(&opts.withLoad, "load", false, "with -serve: also make the load, over and over")
	fs.StringVar((*string)(&c.Variant), "alloc", string(c.Variant), "with -serve: use `pool` or sync")
	fs.StringVar(&c.Address, "addr", serveAddress, "with -serve: `address` of the service")
	fs.StringVar(&c.OpsAddress, "ops", serveOps, "with -serve: `address` of the page, metrics and profiles")
	fs.StringVar(&opts.svg, "svg", "", "write a chart of resident memory to this `file`")
	if err := command.Parse(fs, args, "[flags], or server -serve [flags]", stderr); err != nil {
		return opts, err
	}
	if *isQuick {
		command.Defaults(fs, func() { *w, c.VisitorTTL = quick, quickTTL })
	}
	switch {
	case scratchLimit < 0 || scratchLimit > math.MaxInt32:
		return opts, fmt.Errorf("-scratch-limit must be from 0 to %d, not %d", math.MaxInt32, scratchLimit)
	case sessionLimit < 0 || sessionLimit > math.MaxInt32:
		return opts, fmt.Errorf("-session-limit must be from 0 to %d, not %d", math.MaxInt32, sessionLimit)
	}
	c.ScratchLimit, c.SessionLimit = int64(scratchLimit)*mib, int64(sessionLimit)*mib
	if err := opts.checkMode(fs); err != nil {
		return opts, err
	}
	if err := errors.Join(c.check(), w.check()); err != nil {
		return opts, err
	}
	return opts, chart.TryFile(opts.svg)
}

// checkMode returns an error for a flag that has no effect with or without -serve.
func (o *options) checkMode(fs *flag.FlagSet) (err error) {
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "load", "alloc", "addr", "ops":
			if !o.serve {
				err = fmt.Errorf("-%s needs -serve", f.Name)
			}
		case "svg":
			if o.serve {
				err = errors.New("-svg cannot be used with -serve")
			}
		}
	})
	if !o.serve {
		o.config.Address, o.config.OpsAddress = usualConfig.Address, usualConfig.OpsAddress
	}
	return err
}

// check returns an error if a value in c makes no sense. The error names the flag.
func (c config) check() error {
	switch {
	case c.Variant != usePool && c.Variant != useSync:
		return fmt.Errorf("-alloc must be pool or sync, not %q", string(c.Variant))
	case c.MemberTTL <= 0:
		return fmt.Errorf("-member-ttl must be positive, not %v", c.MemberTTL)
	case c.VisitorTTL <= 0:
		return fmt.Errorf("-visitor-ttl must be positive, not %v", c.VisitorTTL)
	}
	if err := checkAddress(c.Address); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	if err := checkAddress(c.OpsAddress); err != nil {
		return fmt.Errorf("-ops: %w", err)
	}
	return nil
}

// checkAddress returns an error unless address is host:port with a numeric port.
func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}

// check returns an error if a value in w makes no sense. The error names the flag.
func (w workload) check() error {
	for _, d := range []struct {
		flag string
		is   time.Duration
	}{{"-steady", w.Steady}, {"-burst", w.Burst}, {"-idle", w.Idle}} {
		if d.is < 0 || d.is > maxPhase {
			return fmt.Errorf("%s must be from 0 to %v, not %v", d.flag, maxPhase, d.is)
		}
	}
	switch {
	case w.Rate < 1 || w.Rate > maxRate:
		return fmt.Errorf("-rate must be from 1 to %d, not %d", maxRate, w.Rate)
	case w.Connections < 1 || w.Connections > maxConnections:
		return fmt.Errorf("-connections must be from 1 to %d, not %d", maxConnections, w.Connections)
	case w.Members < w.Connections || w.Members > maxSessions:
		return fmt.Errorf("-members must be from %d, one for each connection, to %d, not %d", w.Connections, maxSessions, w.Members)
	case w.Visitors < 0 || w.Visitors > maxSessions:
		return fmt.Errorf("-visitors must be from 0 to %d, not %d", maxSessions, w.Visitors)
	case int(float64(w.Rate)*w.Steady.Seconds())+int(float64(2*w.Rate)*w.Burst.Seconds()) == 0:
		return errors.New("-steady and -burst are too short for a single request")
	}
	// The server closes a connection that does not send its first request within wholeTime.
	if gap := time.Duration(w.Connections) * time.Second / time.Duration(w.Rate); gap > wholeTime/2 {
		return fmt.Errorf("-connections %d is too many for -rate %d: each would wait %v for its turn, and the limit is %v", w.Connections, w.Rate, gap, wholeTime/2)
	}
	if batches := (w.Visitors + openBatch - 1) / openBatch; batches > 0 {
		if gap := w.Burst / 2 / time.Duration(batches) * openers; gap > wholeTime/2 {
			return fmt.Errorf("-visitors %d is too few for -burst %v: a connection would wait %v between requests, and the limit is %v", w.Visitors, w.Burst, gap, wholeTime/2)
		}
	}
	return nil
}
