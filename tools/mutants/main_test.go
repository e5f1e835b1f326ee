package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each mutation finds its place in the library as it is.
func TestMutationsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutations {
		assert.False(t, names[m.name], "%s is there twice", m.name)
		names[m.name] = true
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		require.NoError(t, err)
		mutant, err := m.apply(string(source))
		require.NoError(t, err)
		assert.NotEqual(t, string(source), mutant, m.name)
	}
	assert.GreaterOrEqual(t, len(mutations), 25)
}
