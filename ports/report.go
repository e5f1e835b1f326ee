package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/warmpage/pool"
)

// A result is what a port has shown.
type result struct {
	port           port
	removed, added int
	tests          []outcome
	found          []string // what the library's checks found, a line each
	bench          *compared
	err            error
}

// An outcome is that of the tests in one build.
type outcome struct {
	build         string
	before, after tested
	broken        []string // what fails after the change, and did not before it
}

func (r result) passes() bool {
	for _, o := range r.tests {
		if len(o.broken) > 0 {
			return false
		}
	}
	return r.err == nil
}

// findings reads what the pools of a package have seen while its tests ran.
func findings(file string) (lines []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var report struct {
		Stats []pool.Stats
		Leaks []string
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	type sum struct {
		pools      int
		gets, lost uint64
		live       int
	}
	sums := make(map[string]sum)
	for _, st := range report.Stats {
		s := sums[st.Type]
		sums[st.Type] = sum{s.pools + 1, s.gets + st.Gets, s.lost + st.Lost, s.live + st.Live}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if s := sums[name]; s.gets > 0 && s.lost+uint64(s.live) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d never put (%d open pools)", name, s.lost+uint64(s.live), s.gets, s.pools))
		}
	}
	return append(lines, byStack(report.Leaks)...), nil
}

// byStack counts leaks by the function of the module that got the slot, the innermost first.
func byStack(leaks []string) (lines []string) {
	counts := make(map[string]int)
	for _, l := range leaks {
		counts[where(l)]++
	}
	for _, at := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return counts[b] - counts[a] }) {
		lines = append(lines, fmt.Sprintf("  %d got by %s", counts[at], at))
	}
	return lines[:min(len(lines), 5)]
}

var frame = regexp.MustCompile(`(?m)^\s*([\w./()*\[\]-]+[.][\w.()*\[\]-]+)(?:\(.*\))?$`)

// where returns the innermost functions of a stack that are not the library's.
func where(leak string) string {
	var names []string
	for _, m := range frame.FindAllStringSubmatch(leak, -1) {
		name := m[1]
		if strings.Contains(name, "warmpage/pool") || strings.HasPrefix(name, "testing.") || strings.HasPrefix(name, "runtime.") {
			continue
		}
		if names = append(names, name[strings.LastIndex(name, "/")+1:]); len(names) == 3 {
			break
		}
	}
	return strings.Join(names, " < ")
}

// misuse matches errors of the library in what tests print.
var misuse = regexp.MustCompile(`(?m)^.*(slot is not in use|not a slot of this pool|stray write|pool\.New: ).*$`)

func misuses(output string) []string {
	found := misuse.FindAllString(output, -1)
	for i := range found {
		found[i] = strings.TrimSpace(found[i])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func printTable(w io.Writer, results []result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "port\tpool\tlines\ttests\ttime (range)\tallocs\tpeak MiB\tpauses p50, p99 ms")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.port.name, r.port.kind, r.lines(), r.testsText(), r.benchText())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.err != nil {
			fmt.Fprintf(w, "\n%s: %v\n", r.port.name, r.err)
		}
		for _, o := range r.tests {
			for _, name := range o.broken {
				fmt.Fprintf(w, "\n%s: %s: fails after the change: %s\n%s\n", r.port.name, o.build, name, last(o.after.output, 1500))
			}
		}
		if len(r.found) > 0 {
			fmt.Fprintf(w, "\n%s:\n  %s\n", r.port.name, strings.Join(r.found, "\n  "))
		}
	}
	return nil
}

func (r result) lines() string { return fmt.Sprintf("-%d +%d", r.removed, r.added) }

func (r result) testsText() string {
	var texts []string
	for _, o := range r.tests {
		text := fmt.Sprintf("%s %d", o.build, o.after.passed)
		if n := len(o.after.failed); n > 0 {
			text += fmt.Sprintf(", %d fail (%d before)", n, len(o.before.failed))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func (r result) benchText() string {
	c := r.bench
	if c == nil || c.benchmarks == 0 {
		return "-\t-\t-\t-"
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)\t%.0f to %.0f\t%.0f to %.0f\t%.2f, %.2f to %.2f, %.2f",
		c.ns, c.fastest, c.slowest, c.allocsBefore, c.allocsAfter, c.before.peak, c.after.peak,
		median(c.before.pauses), quantile(c.before.pauses, 0.99), median(c.after.pauses), quantile(c.after.pauses, 0.99))
}
