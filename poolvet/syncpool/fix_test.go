package syncpool_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/warmpage/pool/poolvet/syncpool"
)

// The fix makes of each file its golden one. TestFix of the command compiles and tests the result.
func TestFix(t *testing.T) {
	analysistest.RunWithSuggestedFixes(t, testdata(t), syncpool.Analyzer, "fix/simple", "fix/names", "fix/group", "fix/single",
		"fix/plain", "fix/blank", "fix/scope")
}

// quiet takes the complaints about diagnostics that no comment wants.
type quiet struct{ *testing.T }

func (quiet) Errorf(string, ...any) {}

// In testdata/src/refuse, the comment of each pool says why it has no fix.
func TestNoFix(t *testing.T) {
	names := []string{"refuse/refused", "refuse/generated", "refuse/taken", "refuse/commentimport"}
	results := analysistest.Run(quiet{t}, testdata(t), syncpool.Analyzer, names...)
	for _, name := range names {
		r := withTests(results, name)
		require.NotNil(t, r, name)
		want := reasons(r.Pass)
		require.NotEmpty(t, want, name)
		for _, p := range r.Result.([]*syncpool.Pool) {
			assert.False(t, p.Fix, p.Name)
			assert.Equal(t, syncpool.OffHeap, p.Verdict, p.Name)
			reason := want[p.At.Line]
			require.NotEmpty(t, reason, p.Name)
			assert.True(t, strings.HasPrefix(p.NoFix, reason), "%s: %s, not %s", p.Name, p.NoFix, reason)
			delete(want, p.At.Line)
		}
		assert.Empty(t, want, name)
		for _, d := range r.Diagnostics {
			assert.Empty(t, d.SuggestedFixes, name)
		}
	}
}

// A pool that a test uses is fixed along with the test, or not at all.
func TestNoFixWithoutTests(t *testing.T) {
	for _, r := range analysistest.Run(quiet{t}, testdata(t), syncpool.Analyzer, "fix/simple") {
		for _, p := range r.Result.([]*syncpool.Pool) {
			if p.Name == "states" && len(r.Pass.Files) == 1 {
				assert.False(t, p.Fix)
				assert.Equal(t, "simple_test.go, which is not part of this build, uses the name", p.NoFix)
				return
			}
		}
	}
	t.Fatal("the package was not analyzed without its tests")
}

// withTests returns the result for a package with its tests.
func withTests(all []*analysistest.Result, path string) (most *analysistest.Result) {
	for _, r := range all {
		if r.Pass.Pkg.Path() != path {
			continue
		}
		if most == nil || len(r.Pass.Files) > len(most.Pass.Files) {
			most = r
		}
	}
	return most
}

// reasons returns what comments of the form "no: why" say, by line.
func reasons(pass *analysis.Pass) map[int]string {
	all := make(map[int]string)
	for _, f := range pass.Files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if reason, ok := strings.CutPrefix(c.Text, "// no: "); ok {
					all[pass.Fset.Position(c.Pos()).Line] = reason
				}
			}
		}
	}
	return all
}
