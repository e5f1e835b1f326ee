package gen

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is written is there for each side, is as gofmt wants it, and compiles, with each set of tags
// that baselines need. (The worker's tests find each size and mode of it, and run them.)
func TestWrite(t *testing.T) {
	module := filepath.Join("..", "..")
	dir := filepath.Join(t.TempDir(), "new")
	overlay, err := Write(dir, module)
	require.NoError(t, err)
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	assert.Len(t, paths, len(sides)+len([]string{"goheap", "bytes"}))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		formatted, err := format.Source(text)
		require.NoError(t, err, path)
		assert.True(t, string(formatted) == string(text), "gofmt would change %s", path)
	}
	for _, tags := range []string{"", "nobytes", "nogoheap"} {
		cmd := exec.Command("go", "vet", "-overlay="+overlay, "-tags="+tags, "./internal/loops", "./internal/worker")
		cmd.Dir = module
		text, err := cmd.CombinedOutput()
		assert.NoError(t, err, "-tags=%s: %s", tags, text)
	}
	old, err := filepath.Glob(filepath.Join("..", "loops", "*_gen.go"))
	require.NoError(t, err)
	assert.Empty(t, old, "files that were generated into the package")

	_, err = Write(overlay, module)
	assert.Error(t, err, "not a directory")
}
