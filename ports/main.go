// Command ports changes public modules that use sync.Pool so that they use this library, and runs
// their own tests and benchmarks before and after. Nothing of theirs is kept here: modules come from
// the module proxy, at the versions in the list of ports.
//
//	go run .                 # all ports; takes half an hour
//	go run . -quick          # two of them, their tests only
//	go run . -run 'gin|chi'  # some
//	go run . -server         # a server of gin under load
//	go run . -census         # how many pools of these modules, and of what they need, fit
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "two ports, their tests only")
	run := flag.String("run", "", "only ports whose names match this regular expression")
	rounds := flag.Int("rounds", 5, "how often benchmarks run on each side; 0: not at all")
	server := flag.Bool("server", false, "load a server of gin before and after instead, for two minutes")
	count := flag.Bool("census", false, "count the sync.Pools of these modules, and of all that they need, instead")
	keep := flag.String("keep", "", "a directory for the copies of modules, which stay there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	matching, err := regexp.Compile(*run)
	switch {
	case err != nil:
		err = fmt.Errorf("-run: %w", err)
	case *count:
		err = runCensus(ctx, os.Stdout, matching.MatchString)
	case *server:
		err = runServer(ctx, os.Stdout, *rounds, "4s")
	case *quick && *run == "":
		matching = regexp.MustCompile(quickPorts)
		fallthrough
	default:
		err = runAll(ctx, *quick, matching.MatchString, *rounds, *keep)
	}
	if errors.Is(err, errNoProxy) {
		fmt.Println("skipped:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ports:", err)
		stop()
		os.Exit(1)
	}
}

// quickPorts have tests that take seconds.
const quickPorts = "^(msgpack|logfmt)$"

func runAll(ctx context.Context, quick bool, matches func(string) bool, rounds int, keep string) error {
	library, work, err := workspace(keep)
	if err != nil {
		return err
	}
	if keep == "" {
		defer os.RemoveAll(work)
	}
	var results []result
	for _, p := range allPorts() {
		if !matches(p.name) || ctx.Err() != nil {
			continue
		}
		r := runPort(ctx, p, work, library, quick, rounds)
		if errors.Is(r.err, errNoProxy) && len(results) == 0 {
			return r.err
		}
		results = append(results, r)
	}
	if err := printTable(os.Stdout, results); err != nil {
		return err
	}
	return verdict(results)
}

// workspace returns where the library is, and where copies of modules go: keep, or a new directory,
// which the caller removes.
func workspace(keep string) (library, work string, err error) {
	if library, err = filepath.Abs(".."); err != nil {
		return "", "", err
	}
	if _, err = os.Stat(filepath.Join(library, "pool.go")); err != nil {
		return "", "", errors.New("run this in the library's directory ports")
	}
	if keep != "" {
		return library, keep, nil
	}
	work, err = os.MkdirTemp("", "ports")
	return library, work, err
}

// verdict is an error if a port does not pass.
func verdict(results []result) error {
	var names []string
	for _, r := range results {
		if !r.passes() {
			names = append(names, r.port.name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("these do not pass the tests that they passed before: %s", strings.Join(names, ", "))
	}
	return nil
}

func runPort(ctx context.Context, p port, work, library string, quick bool, rounds int) (r result) {
	r.port = p
	begun := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%-12s %4.0fs  %s\n", p.name, time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	progress("%s@%s", p.module, p.version)
	before, after, err := prepare(ctx, p, work, library)
	if err != nil {
		r.err = err
		return r
	}
	r.removed, r.added = linesChanged(ctx, before, after)
	report := filepath.Join(work, p.name, "report.json")
	if r.err = os.Setenv("PORTS_REPORT", report); r.err != nil {
		return r
	}
	if r.err = addWatcher(after, p.packages[0]); r.err != nil {
		return r
	}
	for _, b := range builds {
		unfit, isUnfit := p.unfit[b.name]
		if isUnfit && unfit == "" || quick && b.name == "race" { // CI runs the library's own tests with it
			continue
		}
		progress("tests, %s", b.name)
		o := outcome{build: b.name}
		if b.name != "pooldebug" { // which says nothing about what is before
			o.before = runTests(ctx, p, before, b.flags...)
		} else {
			o.before = r.tests[0].before
		}
		o.after = runTests(ctx, p, after, b.flags...)
		o.broken = again(ctx, p, after, newFailures(o.before, o.after), b.flags...)
		if isUnfit {
			o.broken = slices.DeleteFunc(o.broken, regexp.MustCompile(unfit).MatchString)
		}
		r.tests = append(r.tests, o)
		r.found = append(r.found, misuses(o.after.output)...)
	}
	if found, err := findings(report); err == nil {
		r.found = append(r.found, found...)
	}
	if !quick && rounds > 0 && p.bench != "" {
		progress("benchmarks")
		c, err := compare(ctx, p, before, after, rounds)
		r.bench, r.err = &c, err
	}
	progress("done")
	return r
}
