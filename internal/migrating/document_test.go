package migrating

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var block = regexp.MustCompile("(?ms)^```(go)?\n(.*?)^```$")

// ReadDocument returns the code of docs/migrating.md, and the outputs that it shows, in order.
func ReadDocument(t *testing.T) (code, outputs []string) {
	text, err := os.ReadFile("../../docs/migrating.md")
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

// The code of the document is what runs here: before_test.go and after_test.go have nothing else
// but imports.
func TestDocumentIsWhatRuns(t *testing.T) {
	code, _ := ReadDocument(t)
	var sides []string // each begins with the next block that is not found yet
	for _, name := range []string{"before_test.go", "after_test.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		_, declarations, ok := strings.Cut(string(text), "\n)\n")
		require.True(t, ok, "%s has no imports", name)
		sides = append(sides, declarations)
	}
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
