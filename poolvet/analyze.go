package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"github.com/warmpage/pool/poolvet/pooluse"
	"github.com/warmpage/pool/poolvet/syncpool"
)

// A result is what the analyzers found in all packages.
type result struct {
	Pools    []*syncpool.Pool
	Mistakes []mistake
	fixes    []fix
	fixed    int    // pools that applyFixes has rewritten
	dir      string // to which names of files are relative
}

// A mistake is a diagnostic of pooluse.
type mistake struct {
	file    string
	line    int
	column  int
	message string
}

// A fix is one of a package.
type fix struct {
	pkg *packages.Package
	analysis.SuggestedFix
}

// analyze loads the packages and runs the analyzers.
func (c *command) analyze() (*result, error) {
	pkgs, err := c.load()
	if err != nil {
		return nil, err
	}
	graph, err := checker.Analyze([]*analysis.Analyzer{syncpool.Analyzer, pooluse.Analyzer}, pkgs, nil)
	if err != nil {
		return nil, err
	}
	r := &result{dir: c.dir}
	for _, action := range graph.Roots {
		if action.Err != nil {
			return nil, fmt.Errorf("%s: %w", action, action.Err)
		}
		r.add(action, c.tests)
	}
	r.sort()
	return r, nil
}

// load returns the packages, each once: with its test files if it has any.
func (c *command) load() ([]*packages.Package, error) {
	config := &packages.Config{Mode: packages.LoadSyntax | packages.NeedModule | packages.NeedForTest, Dir: c.dir, Tests: !c.quick}
	if c.tags != "" {
		config.BuildFlags = []string{"-tags=" + c.tags}
	}
	pkgs, err := packages.Load(config, c.patterns...)
	if err != nil {
		return nil, err
	}
	tested := make(map[string]bool)
	for _, p := range pkgs {
		if p.ForTest == p.PkgPath {
			tested[p.PkgPath] = true
		}
	}
	pkgs = slices.DeleteFunc(pkgs, func(p *packages.Package) bool {
		return p.ForTest == "" && tested[p.PkgPath] || strings.HasSuffix(p.ID, ".test")
	})
	return pkgs, loadErrors(pkgs)
}

// loadErrors returns the first errors of packages that do not compile.
func loadErrors(pkgs []*packages.Package) error {
	var all []error
	for _, p := range pkgs {
		for _, err := range p.Errors {
			if all = append(all, err); len(all) == 10 {
				return errors.Join(all...)
			}
		}
	}
	return errors.Join(all...)
}

// add takes what one analyzer found in one package.
func (r *result) add(action *checker.Action, tests bool) {
	for _, p := range poolsOf(action) {
		if tests || !p.InTest {
			r.Pools = append(r.Pools, p)
		}
	}
	for _, d := range action.Diagnostics {
		for _, f := range d.SuggestedFixes {
			r.fixes = append(r.fixes, fix{action.Package, f})
		}
		if action.Analyzer == pooluse.Analyzer {
			at := action.Package.Fset.Position(d.Pos)
			r.Mistakes = append(r.Mistakes, mistake{at.Filename, at.Line, at.Column, d.Message})
		}
	}
}

func poolsOf(action *checker.Action) []*syncpool.Pool {
	pools, _ := action.Result.([]*syncpool.Pool)
	return pools
}

// sort brings all into the order of files and lines.
func (r *result) sort() {
	slices.SortFunc(r.Pools, func(a, b *syncpool.Pool) int {
		return cmp.Or(cmp.Compare(a.At.Filename, b.At.Filename), cmp.Compare(a.At.Offset, b.At.Offset))
	})
	slices.SortFunc(r.Mistakes, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
}
