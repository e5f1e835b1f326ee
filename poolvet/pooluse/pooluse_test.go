package pooluse_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/warmpage/pool/poolvet/pooluse"
)

// The comments in testdata/src/mistakes say what is reported. Lines without one are no mistakes.
func TestMistakes(t *testing.T) {
	dir, err := filepath.Abs("../testdata")
	require.NoError(t, err)
	analysistest.Run(t, dir, pooluse.Analyzer, "mistakes")
}
