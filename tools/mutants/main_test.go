package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// killers.txt names mutants and tests that exist.
func TestKillersExist(t *testing.T) {
	tests := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)
	exist := make(map[string]map[string]bool) // by directory
	for _, m := range mutations {
		args := m.runs()[0]
		dir := filepath.Join("..", "..", args[len(args)-1])
		if exist[dir] == nil {
			exist[dir] = make(map[string]bool)
			files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
			require.NoError(t, err)
			for _, file := range files {
				source, err := os.ReadFile(file)
				require.NoError(t, err)
				for _, match := range tests.FindAllStringSubmatch(string(source), -1) {
					exist[dir][match[1]] = true
				}
			}
		}
	}
	killers := killersIn(recorded)
	assert.NotEmpty(t, killers)
	assert.Len(t, killers, strings.Count(recorded, "\n"), "a line each")
	for _, m := range mutations {
		test, ok := killers[m.name]
		delete(killers, m.name)
		args := m.runs()[0]
		name, _, _ := strings.Cut(test, "/")
		assert.True(t, !ok || exist[filepath.Join("..", "..", args[len(args)-1])][name], "%s: there is no %s", m.name, name)
	}
	assert.Empty(t, killers, "mutants that do not exist")
}
