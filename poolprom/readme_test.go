package poolprom

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
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

// The alerts name only metrics that exist, and say what they are about. The README explains each.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))
	require.Len(t, file.Groups, 1)
	rows := regexp.MustCompile("(?m)^\\| `(Pool\\w+)` \\|").FindAllStringSubmatch(readReadme(t), -1)
	var explained, have []string
	for _, row := range rows {
		explained = append(explained, row[1])
	}
	names := known(t)
	for _, rule := range file.Groups[0].Rules {
		have = append(have, rule.Alert)
		checkExpr(t, rule.Expr, names)
		assert.NotEmpty(t, rule.Labels["severity"], rule.Alert)
		assert.Contains(t, rule.Annotations["summary"], "$labels.instance", rule.Alert)
		assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
	}
	assert.Equal(t, explained, have)
	assert.Greater(t, len(have), 3)
}
