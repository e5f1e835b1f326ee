// Package syncpool has an analyzer that reports each [sync.Pool] of a package, what it holds, and
// which pool of github.com/warmpage/pool fits. For one simple idiom it suggests a fix.
//
// It goes in four steps. A graph says where pools go from the place that makes them (graph.go).
// What programs Get, Put and make there says what a pool holds (content.go, constructor.go). From
// that follows the verdict (verdict.go). Some pools can be replaced by a rewrite of a few lines
// (fix.go), if all that happens to their objects is in sight (flow.go).
package syncpool

import (
	"fmt"
	"go/token"
	"reflect"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
)

// Analyzer reports each sync.Pool of a package and what could replace it. Its result is a
// []*[Pool], in the order of the source. Pools of test files are in the result, but not reported.
var Analyzer = &analysis.Analyzer{
	Name:       "syncpool",
	Doc:        "report each sync.Pool, what it holds, and which pool of github.com/warmpage/pool fits",
	URL:        "https://github.com/warmpage/pool/tree/main/poolvet",
	Requires:   []*analysis.Analyzer{inspect.Analyzer},
	ResultType: reflect.TypeFor[[]*Pool](),
	Run:        run,
}

// A Verdict says which pool fits.
type Verdict string

// The verdicts, as they are printed.
const (
	OffHeap    Verdict = "off-heap"              // pool.New[T]()
	GoHeap     Verdict = "Go heap"               // pool.New[T](pool.WithGoHeap())
	GoHeapInit Verdict = "Go heap with WithInit" // the same with a constructor
	Bytes      Verdict = "bytes"                 // pool.NewBytes or pool.Buffer
	Stay       Verdict = "stay"                  // none
)

// Verdicts has all of them, in the order in which a summary names them.
var Verdicts = []Verdict{OffHeap, GoHeap, GoHeapInit, Bytes, Stay}

// A Pool is a sync.Pool of the package.
type Pool struct {
	Pos     token.Pos      `json:"-"`
	At      token.Position `json:"-"`
	Name    string         `json:"name"`              // of the variable or field, or "literal"
	Kind    string         `json:"kind"`              // package variable, field, local variable, literal
	Holds   string         `json:"holds,omitempty"`   // the type; empty if it is not known
	Size    int64          `json:"size,omitempty"`    // of T, in bytes
	Verdict Verdict        `json:"verdict"`           //
	Use     string         `json:"use,omitempty"`     // the call that makes the pool that fits
	Note    string         `json:"note,omitempty"`    // why, and what else to do
	Fix     bool           `json:"fix"`               // the suggested fix rewrites this pool
	NoFix   string         `json:"noFix,omitempty"`   // why it does not, for a pool off the Go heap
	InTest  bool           `json:"inTest,omitempty"`  // it is in a test file
	Package string         `json:"package,omitempty"` // its import path
}

// Message returns what is reported at the pool.
func (p *Pool) Message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sync.Pool %s", p.Name)
	if p.Holds != "" {
		fmt.Fprintf(&b, " holds %s", p.Holds)
		if p.Size != 0 {
			fmt.Fprintf(&b, " (%d bytes)", p.Size)
		}
	}
	fmt.Fprintf(&b, ": %s", p.Verdict)
	if p.Use != "" {
		fmt.Fprintf(&b, ": %s", p.Use)
	}
	if p.Note != "" {
		fmt.Fprintf(&b, " (%s)", p.Note)
	}
	return b.String()
}

func run(pass *analysis.Pass) (any, error) {
	if pass.Pkg.Path() == "sync" {
		return []*Pool(nil), nil
	}
	found := findPools(pass)
	pools := make([]*Pool, len(found))
	for i, f := range found {
		pools[i] = &Pool{
			Pos:     f.pos,
			At:      pass.Fset.Position(f.pos),
			Name:    f.name,
			Kind:    f.kind,
			Package: pass.Pkg.Path(),
		}
		pools[i].InTest = strings.HasSuffix(pass.Fset.File(f.pos).Name(), "_test.go")
		f.contents(pass).judge(pass, pools[i])
	}
	fixes := fix(pass, found, pools)
	for _, p := range pools {
		if p.InTest {
			continue
		}
		d := analysis.Diagnostic{Pos: p.Pos, Message: p.Message()}
		if p.Fix { // all pools at once, because they share imports
			d.SuggestedFixes, fixes = fixes, nil
		}
		pass.Report(d)
	}
	return pools, nil
}
