// Package document lets tests run the code that a document shows.
package document

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var block = regexp.MustCompile("(?ms)^```(go)?\n(.*?)^```$")

// Read returns the Go code of a document in docs, block by block, and the outputs that it shows. The
// test is in a folder of internal.
func Read(t *testing.T, name string) (code, outputs []string) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the document is not here: ", err)
	}
	require.NoError(t, err)
	for _, b := range block.FindAllStringSubmatch(string(text), -1) {
		if b[1] == "go" {
			code = append(code, b[2])
		} else {
			outputs = append(outputs, b[2])
		}
	}
	return code, outputs
}

// RequireIn requires files to have all blocks of code, each in one file, in order, and nothing else but
// imports.
func RequireIn(t *testing.T, code []string, files ...string) {
	var sides []string // each begins with the next block that is not found yet
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		_, declarations, ok := strings.Cut(string(text), "\n)\n")
		require.True(t, ok, "%s has no imports", name)
		sides = append(sides, declarations)
	}
	require.NotEmpty(t, code)
	for _, b := range code {
		k := slices.IndexFunc(sides, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s)+"\n", b) })
		if !assert.GreaterOrEqual(t, k, 0, "not in the files, or not next:\n%s", b) {
			return
		}
		sides[k] = strings.TrimPrefix(strings.TrimSpace(sides[k])+"\n", b)
	}
	for _, s := range sides {
		assert.Empty(t, strings.TrimSpace(s), "not in the document")
	}
}
