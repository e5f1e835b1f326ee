// Benchmarks compares the pool with what else people use: sync.Pool, other pools
// and allocators, hand-written free lists and the plain heap.
//
//	go run . [-quick] [-study all|peers|stops|promotion|memory|growth|goheap|large|bytes|none] [-processes N] [-out DIR]
//	go run . [-workload REGEXP] [-size 64,256] [-sides pool,syncx] [-baseline DIR] [-processes N] [-out DIR]
//	go run . -loops DIR
//
// It generates the worker's loops and builds the worker anew for each process, with functions in
// another order. It measures, and writes results.json, table.md and charts. README.md says what is
// measured and how to read it. It runs on Linux.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/gen"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what a shell reports for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
		fmt.Fprintln(stderr, "benchmarks:", err)
		return exitUsage
	}
	if opts.loops != "" {
		err = writeLoops(opts.loops, stdout)
	} else {
		err = measureAndWrite(ctx, opts, stdout, stderr)
	}
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "benchmarks: interrupted, nothing written")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "benchmarks:", err)
		return exitFailed
	}
	return 0
}

const (
	studyPeers     = "peers"
	studyStops     = "stops"
	studyPromotion = "promotion"
	studyMemory    = "memory"
	studyGrowth    = "growth"
	studyGoHeap    = "goheap"
	studyLarge     = "large"
	studyBytes     = "bytes"
	studyAll       = "all"
	studyNone      = "none" // tables and charts of what an earlier run has left
)

// allStudies are those of studyAll, in the order of the tables.
var allStudies = []string{studyPeers, studyStops, studyPromotion, studyMemory, studyGrowth, studyGoHeap, studyLarge, studyBytes}

type options struct {
	studies   []string
	peers     plan
	stops     stopsPlan
	promotion promotionPlan
	memory    memoryPlan
	growth    growthPlan
	goHeap    goHeapPlan
	large     largePlan
	bytes     bytesPlan
	out       string
	command   string
	smoke     bool   // -quick
	loops     string // where to write them; nothing is measured then
}

func (o options) has(study string) bool { return slices.Contains(o.studies, study) }

// full and quick are all that -quick changes.
var (
	full = options{
		peers: plan{processes: 5, modes: catalog.Modes, sizes: catalog.Sizes, together: 200, attempts: 4, timing: wire.Timing{
			Slices: 500, Slice: 100 * time.Microsecond, Limit: 20 * time.Second, Rounds: 15, Round: 5 * time.Millisecond,
		}},
		stops:     stopsPlan{processes: 5, turns: 50, stops: 40},
		promotion: promotionPlan{processes: 11, rounds: 9, target: 5 * time.Millisecond},
		memory:    memoryPlan{objects: 2_000_000, idle: 4 * time.Second},
		growth:    growthPlan{rounds: 5, target: 20 * time.Millisecond, maxLive: 100_000_000},
		goHeap: goHeapPlan{
			processes: 11, warm: 10_000, pauses: []time.Duration{0, 50 * time.Millisecond, time.Second}, forgotten: 2_000_000,
			collections: 1_000_000, collectionRounds: 21, retention: 1_000_000, losses: wire.LossesSpec{
				Live: 2_000, Rounds: 3_600, Gets: 10_000, CollectEvery: 10,
			},
		},
		large: largePlan{
			processes: 5, objects: []int{1, 8, 64, 256}, most: 256 << 20, idle: 2 * time.Second,
			timing: wire.Timing{Slices: 300, Slice: 100 * time.Microsecond, Limit: time.Second},
		},
		bytes: bytesPlan{
			processes: 5, together: 200, burst: 64, idle: 5 * time.Second,
			timing: wire.Timing{
				Slices: 300, Slice: 100 * time.Microsecond, Limit: 2 * time.Second, Rounds: 15, Round: 5 * time.Millisecond,
			},
		},
		out: "results",
	}
	quick = options{
		peers: plan{processes: 1, modes: catalog.Modes, sizes: []int{64}, together: 5, attempts: 1, timing: wire.Timing{
			Slices: 10, Slice: 50 * time.Microsecond, Limit: 100 * time.Millisecond, Rounds: 1, Round: 500 * time.Microsecond,
		}},
		stops:     stopsPlan{processes: 1, turns: 2, stops: 10},
		promotion: promotionPlan{processes: 1, rounds: 1, target: 500 * time.Microsecond},
		memory:    memoryPlan{objects: 200_000, idle: time.Second},
		growth:    growthPlan{rounds: 1, target: 2 * time.Millisecond, maxLive: 1_000_000},
		goHeap: goHeapPlan{
			processes: 1, warm: 10_000, pauses: []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond}, forgotten: 200_000,
			collections: 100_000, collectionRounds: 3, retention: 100_000, losses: wire.LossesSpec{
				Live: 200, Rounds: 360, Gets: 1_000, CollectEvery: 10,
			},
		},
		large: largePlan{
			processes: 1, objects: []int{1, 8}, most: 1 << 20, idle: 100 * time.Millisecond,
			timing: wire.Timing{Slices: 10, Slice: 50 * time.Microsecond, Limit: 20 * time.Millisecond},
		},
		bytes: bytesPlan{
			processes: 1, together: 5, burst: 8, idle: 100 * time.Millisecond,
			timing: wire.Timing{
				Slices: 10, Slice: 50 * time.Microsecond, Limit: 50 * time.Millisecond, Rounds: 1, Round: 500 * time.Microsecond,
			},
		},
		out: filepath.Join("results", "quick"),
	}
)

// parse returns an error for a bad command line, which it has not printed.
func parse(args []string, stderr io.Writer) (options, error) {
	var (
		fs        = flag.NewFlagSet("benchmarks", flag.ContinueOnError)
		isQuick   = fs.Bool("quick", false, "a smoke run, under two minutes: a little of everything, to see that it works; its figures must not be compared")
		study     = fs.String("study", "", "only this `study`: peers, stops, promotion, memory, growth, goheap, large or bytes; or all, or none (default all, with -workload or -size peers)")
		workload  = fs.String("workload", "", "only workloads whose name matches this `regexp`")
		sizes     = fs.String("size", "", "only these object `sizes`, of 16,64,256,1024")
		sides     = fs.String("sides", "", "only these `sides`, and sync.Pool: "+sideNames())
		baseline  = fs.String("baseline", "", "another checkout of the library, `directory` to compare with")
		processes = fs.Int("processes", 0, "`number` of processes for each figure (default 5, promotion and goheap 11, with -quick 1)")
		attempts  = fs.Int("attempts", 0, "measure a workload `number` times at most in each process, until it was quiet (default 4, with -quick 1)")
		out       = fs.String("out", "", "`directory` for what is written (default results, with -quick results/quick, for a part of the comparison results/part)")
		loops     = fs.String("loops", "", "write the generated loops to `directory`, to be looked at, and measure nothing")
	)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: go run . [flags]")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return options{}, err
	case err != nil:
		return options{}, err
	case fs.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case *processes < 0:
		return options{}, fmt.Errorf("-processes must be positive, not %d", *processes)
	case *attempts < 0:
		return options{}, fmt.Errorf("-attempts must be positive, not %d", *attempts)
	}
	opts := full
	part := *workload != "" || *sizes != "" || *sides != "" || *baseline != ""
	switch {
	case *isQuick:
		opts = quick
		opts.smoke = true
	case part:
		opts.out = filepath.Join(opts.out, "part")
	}
	opts.peers.baseline = *baseline
	opts.goHeap.onlyTimes = part
	opts.loops = *loops
	opts.command = strings.Join(append([]string{"go run ."}, args...), " ")
	if *processes > 0 {
		opts.peers.processes, opts.stops.processes, opts.promotion.processes = *processes, *processes, *processes
		opts.goHeap.processes, opts.large.processes, opts.bytes.processes = *processes, *processes, *processes
	}
	if *attempts > 0 {
		opts.peers.attempts = *attempts
	}
	if *out != "" {
		opts.out = *out
	}
	var err error
	if opts.studies, err = parseStudy(*study, part); err != nil {
		return opts, err
	}
	if opts.peers.workloads, err = parseWorkloads(*workload); err != nil {
		return opts, err
	}
	if err := opts.planGoHeap(); err != nil {
		return opts, err
	}
	if opts.peers.sides, err = parseSides(*sides); err != nil {
		return opts, err
	}
	opts.stops.versions, opts.stops.sides = opts.peers.versions(), stopsSides
	if *sides != "" {
		opts.stops.sides = slices.DeleteFunc(slices.Clone(opts.peers.sides), noStops)
	}
	if *sizes != "" {
		opts.peers.sizes, err = parseSizes(*sizes)
	}
	return opts, err
}

func parseStudy(name string, filtered bool) ([]string, error) {
	switch {
	case name == "" && filtered:
		return []string{studyPeers}, nil
	case name == "" || name == studyAll:
		return allStudies, nil
	case name == studyNone:
		return nil, nil
	case slices.Contains(allStudies, name):
		return []string{name}, nil
	}
	return nil, fmt.Errorf("-study must be peers, stops, promotion, memory, growth, goheap, large, bytes, all or none, not %q", name)
}

func parseWorkloads(pattern string) ([]catalog.Workload, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-workload: %w", err)
	}
	var names []string
	var matching []catalog.Workload
	for _, w := range catalog.Workloads {
		names = append(names, w.Name)
		if re.MatchString(w.Name) {
			matching = append(matching, w)
		}
	}
	if len(matching) == 0 {
		return nil, fmt.Errorf("-workload %s matches none of %s", pattern, strings.Join(names, " "))
	}
	return matching, nil
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for field := range strings.SplitSeq(list, ",") {
		size, err := strconv.Atoi(field)
		if err != nil || !slices.Contains(catalog.Sizes, size) {
			return nil, fmt.Errorf("-size must be of %v, with commas between, not %q", catalog.Sizes, list)
		}
		if !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	return sizes, nil
}

// parseSides returns those of a list of names in the order of the tables, and sync.Pool.
func parseSides(list string) ([]catalog.Side, error) {
	if list == "" {
		return catalog.Sides, nil
	}
	wanted := map[string]bool{catalog.SyncPool.FlagName(): true}
	for name := range strings.SplitSeq(list, ",") {
		wanted[name] = true
	}
	var sides []catalog.Side
	for _, s := range catalog.Sides {
		if wanted[s.FlagName()] {
			sides = append(sides, s)
			delete(wanted, s.FlagName())
		}
	}
	for name := range wanted {
		return nil, fmt.Errorf("-sides must be of %s, not %q", sideNames(), name)
	}
	return sides, nil
}

func sideNames() string {
	var names []string
	for _, s := range catalog.Sides {
		names = append(names, s.FlagName())
	}
	return strings.Join(names, ",")
}

// writeLoops writes what workers are built with.
func writeLoops(dir string, stdout io.Writer) error {
	overlay, err := gen.Write(dir, ".")
	if err != nil {
		return fmt.Errorf("-loops: %w", err)
	}
	fmt.Fprintf(stdout, "go build -overlay=%s %s\n", overlay, workerPackage)
	return nil
}

// measureAndWrite writes only when all studies are done.
func measureAndWrite(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(opts.out, 0o777); err != nil { // now, not after ten minutes
		return fmt.Errorf("-out: %w", err)
	}
	results, err := load(opts.out)
	if err != nil {
		return err
	}
	if opts.smoke {
		fmt.Fprintf(stdout, "%s\n\n", smokeNote)
	}
	dir, err := os.MkdirTemp("", "pool-benchmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := measureAll(ctx, opts, dir, &results, stderr); err != nil {
		return err
	}
	return results.write(opts, stdout)
}

func measureAll(ctx context.Context, opts options, dir string, results *Results, stderr io.Writer) error {
	pr := newProgress(stderr, opts.expectAll())
	if opts.has(studyPeers) {
		stop := startRun(opts, time.Now())
		peers, err := measurePeers(ctx, opts.peers, dir, pr)
		if err != nil {
			return err
		}
		peers.Run, results.Peers = stop(), peers
	}
	if opts.has(studyStops) {
		stop := startRun(opts, time.Now())
		stops, err := measureStops(ctx, opts.stops, dir, pr)
		if err != nil {
			return err
		}
		stops.Run, results.Stops = stop(), stops
	}
	if opts.has(studyPromotion) {
		stop := startRun(opts, time.Now())
		promotion, err := measurePromotion(ctx, opts.promotion, dir, pr)
		if err != nil {
			return err
		}
		promotion.Run, results.Promotion = stop(), promotion
	}
	if opts.has(studyLarge) {
		stop := startRun(opts, time.Now())
		large, err := measureLarge(ctx, opts.large, dir, pr)
		if err != nil {
			return err
		}
		large.Run, results.Large = stop(), large
	}
	if opts.has(studyBytes) {
		stop := startRun(opts, time.Now())
		slicesOfBytes, err := measureBytes(ctx, opts.bytes, dir, pr)
		if err != nil {
			return err
		}
		slicesOfBytes.Run, results.Bytes = stop(), slicesOfBytes
	}
	if !opts.has(studyMemory) && !opts.has(studyGrowth) && !opts.has(studyGoHeap) {
		return nil
	}
	pr.step("build", buildTime)
	worker, err := buildWorker(ctx, dir, 0, "")
	if err != nil {
		return err
	}
	if opts.has(studyMemory) {
		stop := startRun(opts, time.Now())
		memory, err := measureMemory(ctx, opts.memory, worker, pr)
		if err != nil {
			return err
		}
		memory.Run, results.Memory = stop(), memory
	}
	if opts.has(studyGrowth) {
		stop := startRun(opts, time.Now())
		growth, err := measureGrowth(ctx, opts.growth, worker, pr)
		if err != nil {
			return err
		}
		growth.Run, results.Growth = stop(), growth
	}
	if opts.has(studyGoHeap) {
		stop := startRun(opts, time.Now())
		goHeap, err := measureGoHeap(ctx, opts.goHeap, dir, worker, pr)
		if err != nil {
			return err
		}
		goHeap.Run, results.GoHeap = stop(), goHeap
	}
	return nil
}

func (o options) expectAll() time.Duration {
	sum := buildTime
	if o.has(studyPeers) {
		sum += o.peers.expectAll()
	}
	if o.has(studyStops) {
		sum += o.stops.expectAll()
	}
	if o.has(studyPromotion) {
		sum += o.promotion.expectAll()
	}
	if o.has(studyMemory) {
		sum += o.memory.expectAll()
	}
	if o.has(studyGrowth) {
		sum += o.growth.expectAll()
	}
	if o.has(studyGoHeap) {
		sum += o.goHeap.expectAll()
	}
	if o.has(studyLarge) {
		sum += o.large.expectAll()
	}
	if o.has(studyBytes) {
		sum += o.bytes.expectAll()
	}
	return sum
}

// write writes everything to the directory, and to stdout the studies that were run:
// of the comparison a summary.
func (r Results) write(opts options, stdout io.Writer) error {
	var tables strings.Builder
	writeTables(&tables, r)
	ran := r
	for _, s := range allStudies {
		if !opts.has(s) {
			ran.drop(s)
		}
	}
	if ran.Peers != nil {
		if err := writeSummary(stdout, ran.Peers); err != nil {
			return err
		}
		ran.Peers = nil
	}
	writeTables(stdout, ran)
	fmt.Fprintf(stdout, "\nAll tables: %s\n", filepath.Join(opts.out, tableFile))
	return errors.Join(
		r.save(opts.out),
		os.WriteFile(filepath.Join(opts.out, tableFile), []byte(tables.String()), 0o666),
		writeCharts(opts.out, r),
	)
}
