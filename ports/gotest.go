package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tested is the outcome of a module's tests.
type tested struct {
	passed int
	failed []string // package and test, with a space between; no test if the package does not build
	output string   // of what failed
}

// builds are how the tests run: the flags for go test.
var builds = []struct {
	name  string
	flags []string
}{
	{"plain", nil},
	{"race", []string{"-race"}},
	{"pooldebug", []string{"-tags=pooldebug"}},
}

// runTests runs the tests of p on one side.
func runTests(ctx context.Context, p port, s side, flags ...string) tested {
	args := append([]string{"test", "-json", "-vet=off", "-timeout=5m", "-count=1"}, flags...)
	args = append(append(args, p.flags...), p.packages...)
	stdout, stderr, err := goIn(ctx, s.dir, args...)
	var t tested
	outputs := make(map[string]*strings.Builder)
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		pkg := "." + strings.TrimPrefix(e.Package, p.module) + " "
		name := pkg + e.Test
		if outputs[name] == nil {
			outputs[name] = new(strings.Builder)
		}
		outputs[name].WriteString(e.Output)
		switch {
		case e.Action == "pass" && e.Test != "":
			t.passed++
		case e.Action == "fail" && (e.Test != "" || !slices.ContainsFunc(t.failed, func(f string) bool {
			return strings.HasPrefix(f, pkg)
		})):
			t.failed = append(t.failed, name)
			t.output += outputs[name].String()
		}
	}
	if len(t.failed) == 0 && err != nil {
		t.failed = []string{" the build"}
	}
	if err != nil {
		t.output += string(stderr)
	}
	return t
}

// newFailures returns what fails on the side after and not on the side before.
func newFailures(before, after tested) (names []string) {
	for _, name := range after.failed {
		if !slices.Contains(before.failed, name) {
			names = append(names, name)
		}
	}
	return names
}

// again runs what fails some more times, and keeps what never passes.
func again(ctx context.Context, p port, s side, names []string, flags ...string) (failed []string) {
	for _, name := range names {
		one := p
		pkg, test, _ := strings.Cut(name, " ")
		if pkg != "" && test != "" {
			root, _, _ := strings.Cut(test, "/")
			one.packages = []string{pkg}
			one.flags = append(slices.Clone(p.flags), "-run=^"+regexp.QuoteMeta(root)+"$")
		}
		passes := false
		for try := 0; try < 3 && !passes; try++ {
			passes = len(runTests(ctx, one, s, flags...).failed) == 0
		}
		if !passes {
			failed = append(failed, strings.TrimSpace(name))
		}
	}
	return failed
}

// watcher is a test that tells what the pools have seen, when all others have run.
const watcher = `package %s

import (
	"encoding/json"
	"os"
	"runtime"
	"testing"

	warmpool "github.com/warmpage/pool"
)

func TestZZPools(t *testing.T) {
	for range 3 {
		runtime.GC()
	}
	var report struct {
		Stats []warmpool.Stats
		Leaks []string
	}
	report.Stats = warmpool.ReadStats()
	for _, l := range warmpool.Leaks() {
		report.Leaks = append(report.Leaks, l.Stack())
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("PORTS_REPORT"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
`

var packageClause = regexp.MustCompile(`(?m)^package (\w+)`)

// addWatcher adds the watching test to a package: to its external tests, which run last, if it has any.
func addWatcher(s side, pkg string) error {
	dir := filepath.Join(s.dir, filepath.FromSlash(pkg))
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	name := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		m := packageClause.FindSubmatch(text)
		if m == nil || bytes.Contains(text, []byte("//go:build ignore")) {
			continue
		}
		if found := string(m[1]); name == "" && found != "main" || strings.HasSuffix(found, "_test") && strings.HasSuffix(file, "_test.go") {
			name = found
		}
	}
	text := strings.Replace(watcher, "%s", name, 1)
	return os.WriteFile(filepath.Join(dir, "zz_pools_test.go"), []byte(text), 0o644)
}
