// Ratios reads the output of several processes of
//
//	go test -run '^$' -bench '(PingPong|Fill|Prod|Exch)/size=64$' -benchtime 100ms .
//
// from standard input and prints a Markdown table: the median ns/op of each
// side, and the median of its ratio to sync.Pool within each process, with the
// second lowest and second highest. A ratio within a process is fair to both
// sides when the machine is busier in one minute than in the next; a ratio of
// medians is not.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
)

// sides in the order of the table; the base of the ratios is the second last.
var sides = []string{"pool", "pool-batch", "sync.Pool", "new"}

const base = "sync.Pool"

// A process has the ns/op of each benchmark and side that it ran.
type process map[string]map[string]float64

func main() {
	names, processes, err := parse(os.Stdin)
	if err == nil && len(processes) == 0 {
		err = fmt.Errorf("no benchmark results on standard input")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
	write(os.Stdout, names, processes)
}

var line = regexp.MustCompile(`^Benchmark(\S+)/side=([^\s/]+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)

// parse returns the names of the benchmarks in their order, and the processes.
func parse(r io.Reader) (names []string, processes []process, err error) {
	for in := bufio.NewScanner(r); ; {
		if !in.Scan() {
			return names, processes, in.Err()
		}
		if in.Text() == "PASS" {
			continue
		}
		m := line.FindStringSubmatch(in.Text())
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, nil, err
		}
		// A result that is there already belongs to the next process.
		if len(processes) == 0 || processes[len(processes)-1][m[1]][m[2]] != 0 {
			processes = append(processes, process{})
		}
		p := processes[len(processes)-1]
		if p[m[1]] == nil {
			p[m[1]] = make(map[string]float64)
		}
		p[m[1]][m[2]] = ns
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
}

func write(w io.Writer, names []string, processes []process) {
	fmt.Fprintln(w, "| ns a pair | pool | batch | sync.Pool | new | pool / sync.Pool | batch / sync.Pool |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|---:|")
	for _, name := range names {
		fmt.Fprintf(w, "| %s ", name)
		for _, side := range sides {
			ns := collect(processes, func(p process) float64 { return p[name][side] })
			fmt.Fprintf(w, "| %.1f ", ns[len(ns)/2])
		}
		for _, side := range sides[:2] {
			r := collect(processes, func(p process) float64 { return p[name][side] / p[name][base] })
			cut := min(1, len(r)-1)
			fmt.Fprintf(w, "| %.2f (%.2f–%.2f) ", r[len(r)/2], r[cut], r[len(r)-1-min(cut, len(r)/2)])
		}
		fmt.Fprintln(w, "|")
	}
}

// collect returns the values of f, sorted.
func collect(processes []process, f func(process) float64) []float64 {
	var values []float64
	for _, p := range processes {
		values = append(values, f(p))
	}
	slices.Sort(values)
	return values
}
