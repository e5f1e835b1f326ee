// Poolvet reports each sync.Pool of a module, what it holds, and which pool of
// github.com/warmpage/pool fits. It also finds mistakes in programs that use that package.
//
//	go run github.com/warmpage/pool/poolvet@latest ./...
//	go vet -vettool=$(which poolvet) ./...
//
// See the README for what it reports.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/warmpage/pool/poolvet/pooluse"
	"github.com/warmpage/pool/poolvet/syncpool"
)

func main() {
	if isVetTool(os.Args[1:]) {
		unitchecker.Main(syncpool.Analyzer, pooluse.Analyzer)
	}
	os.Exit(run(os.Args[1:], ".", os.Stdout, os.Stderr))
}

// isVetTool reports whether go vet has started the program: it asks for its version and flags, and
// then gives it one package at a time.
func isVetTool(args []string) bool {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-V") || arg == "-flags" || strings.HasSuffix(arg, ".cfg") {
			return true
		}
	}
	return false
}

// A command is what the program is asked to do.
type command struct {
	json, fix, tests, quick bool
	tags                    string
	patterns                []string
	dir                     string // in which to do it
}

// The exit codes.
const (
	exitOK       = 0
	exitMistakes = 1
	exitFailed   = 2
)

func run(args []string, dir string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if err != nil {
		return exitFailed
	}
	c.dir = dir
	r, err := c.analyze()
	if err == nil && c.fix {
		err = r.applyFixes()
	}
	if err == nil {
		err = r.write(stdout, c.json)
	}
	if err != nil {
		fmt.Fprintln(stderr, "poolvet:", err)
		return exitFailed
	}
	if len(r.Mistakes) != 0 {
		return exitMistakes
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (*command, error) {
	var c command
	f := flag.NewFlagSet("poolvet", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: poolvet [flags] [packages]")
		f.PrintDefaults()
	}
	f.BoolVar(&c.json, "json", false, "write JSON")
	f.BoolVar(&c.fix, "fix", false, "rewrite the simple pools, in place")
	f.BoolVar(&c.tests, "tests", false, "report the pools of test files, too")
	f.BoolVar(&c.quick, "quick", false, "do not load test files")
	f.StringVar(&c.tags, "tags", "", "build tags, separated by commas")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if c.quick && (c.fix || c.tests) {
		err := fmt.Errorf("-quick does not see test files: leave it out for -fix and -tests")
		fmt.Fprintln(stderr, "poolvet:", err)
		return nil, err
	}
	if c.patterns = f.Args(); len(c.patterns) == 0 {
		c.patterns = []string{"./..."}
	}
	return &c, nil
}
