package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// A found pool is one that poolvet reports.
type foundPool struct {
	Package, Name, Verdict, Holds, Note string
	Line                                int
}

// verdicts are poolvet's, in the order of the table.
var verdicts = []string{"off-heap", "Go heap", "Go heap with WithInit", "bytes", "stay"}

// runCensus has poolvet look at the modules of all ports and at the packages that they need, and
// counts each sync.Pool once.
func runCensus(ctx context.Context, w io.Writer, matches func(string) bool) error {
	library, work, err := workspace("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	vet := filepath.Join(work, "poolvet")
	if _, stderr, err := goIn(ctx, filepath.Join(library, "poolvet"), "build", "-o", vet, "."); err != nil {
		return fmt.Errorf("%w: %s", err, stderr)
	}
	own, others := make(map[string]foundPool), make(map[string]foundPool)
	for _, p := range allPorts() {
		if !matches(p.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "census:", p.name)
		cached, err := fetch(ctx, p)
		if err != nil {
			return err
		}
		dir := filepath.Join(work, p.name)
		if err = copyModule(ctx, dir, cached, p.module, library); err != nil {
			return err
		}
		if err = census(ctx, vet, dir, p.module, own, others); err != nil {
			return err
		}
	}
	for key := range own {
		delete(others, key) // a port that another one needs
	}
	return printCensus(w, own, others)
}

// census adds the pools of one module, and of what it needs.
func census(ctx context.Context, vet, dir, module string, own, others map[string]foundPool) error {
	packages, stderr, err := goIn(ctx, dir, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...")
	if err != nil {
		return fmt.Errorf("%w: %s", err, stderr)
	}
	cmd := exec.CommandContext(ctx, vet, append([]string{"-quick", "-json"}, strings.Fields(string(packages))...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	if err != nil && len(out) == 0 { // it also fails if there are mistakes
		return fmt.Errorf("poolvet in %s: %w", module, err)
	}
	var report struct{ Pools []foundPool }
	if err = json.Unmarshal(out, &report); err != nil {
		return err
	}
	for _, p := range report.Pools {
		key := fmt.Sprint(p.Package, " ", p.Name, " ", p.Line)
		if p.Package == module || strings.HasPrefix(p.Package, module+"/") {
			own[key] = p
		} else if !strings.HasPrefix(p.Package, "github.com/warmpage/pool") {
			others[key] = p
		}
	}
	return nil
}

func printCensus(w io.Writer, own, others map[string]foundPool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "where\tpools\t"+strings.Join(verdicts, "\t")+"\tfit")
	all := maps.Clone(own)
	maps.Copy(all, others)
	for _, row := range []struct {
		where string
		pools map[string]foundPool
	}{{"the modules of the ports", own}, {"what they need", others}, {"all", all}} {
		counts := make(map[string]int)
		for _, p := range row.pools {
			counts[p.Verdict]++
		}
		fmt.Fprintf(t, "%s\t%d", row.where, len(row.pools))
		for _, v := range verdicts {
			fmt.Fprintf(t, "\t%d", counts[v])
		}
		fmt.Fprintf(t, "\t%.0f%%\n", 100*float64(len(row.pools)-counts["stay"])/max(float64(len(row.pools)), 1))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if p := all[key]; p.Verdict == "stay" {
			fmt.Fprintf(w, "stays: %s %s: %s\n", p.Package, p.Name, p.Note)
		}
	}
	return nil
}
