package poolprom

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readReadme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

// The table lists every metric, with its type, unit and help text.
func TestReadmeTable(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `(warmpage_\\w+)` \\| (\\w+) \\| (\\w*) \\| (.*) \\|$").FindAllStringSubmatch(readReadme(t), -1)
	have := make(map[string]string)
	for _, row := range rows {
		assert.Empty(t, have[row[1]], "%s is listed twice", row[1])
		have[row[1]] = fmt.Sprint(row[2], ": ", row[4])
		assert.Equal(t, strings.Contains(row[1], "_bytes"), row[3] == "bytes", "unit of %s", row[1])
	}
	want := make(map[string]string)
	for name, f := range exported(t) {
		want[name] = fmt.Sprint(strings.ToLower(f.GetType().String()), ": ", f.GetHelp())
	}
	assert.Equal(t, want, have)
	t.Logf("%d metrics: %s", len(have), slices.Sorted(maps.Keys(have)))
}

// The alerts name only metrics that exist.
func TestReadmeAlerts(t *testing.T) {
	names := known(t)
	alerts := regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllStringSubmatch(readReadme(t), -1)
	assert.GreaterOrEqual(t, len(alerts), 4)
	for _, a := range alerts {
		checkExpr(t, a[1], names)
	}
}
