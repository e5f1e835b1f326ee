package syncpool_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/warmpage/pool/poolvet/syncpool"
)

// testdata is shared by the tests of all packages of the module.
func testdata(t *testing.T) string {
	dir, err := filepath.Abs("../testdata")
	require.NoError(t, err)
	return dir
}

// The comments in the packages say what is reported.
func TestVerdicts(t *testing.T) {
	analysistest.Run(t, testdata(t), syncpool.Analyzer, "verdicts/offheap", "verdicts/goheap", "verdicts/withinit",
		"verdicts/bytes", "verdicts/stay", "verdicts/places")
}

// Pools of test files are in the result, for those who want them.
func TestPoolsOfTests(t *testing.T) {
	var names []string
	for _, r := range analysistest.Run(t, testdata(t), syncpool.Analyzer, "verdicts/places") {
		for _, p := range r.Result.([]*syncpool.Pool) {
			if p.InTest {
				names = append(names, p.Name)
			}
		}
	}
	assert.Equal(t, []string{"inTest"}, names)
}
