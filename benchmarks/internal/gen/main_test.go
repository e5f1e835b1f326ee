package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is checked in is what the templates make, no more and no less.
func TestUpToDate(t *testing.T) {
	files, err := generate()
	require.NoError(t, err)
	require.Len(t, files, len(sides)+len([]string{"registry", "goheap", "registry of goheap", "bytes"}))
	dir := filepath.Join("..", "worker")
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.True(t, string(have) == string(want), "%s is out of date: go generate .", name)
	}
	have, err := filepath.Glob(filepath.Join(dir, "*_gen.go"))
	require.NoError(t, err)
	assert.Len(t, have, len(files), "files that nothing generates any more")
}
