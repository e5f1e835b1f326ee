package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each mutation applies to the library as it stands.
func TestMutationsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutations {
		assert.False(t, names[m.name], "two mutations are called %q", m.name)
		names[m.name] = true
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		require.NoError(t, err)
		mutant, err := m.apply(string(source))
		require.NoError(t, err)
		assert.NotEqual(t, string(source), mutant, m.name)
	}
	assert.GreaterOrEqual(t, len(mutations), 25)
}
