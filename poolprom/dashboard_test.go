package poolprom

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A dashboard is the part of Grafana's format that the tests look at.
type dashboard struct {
	Title, UID string
	Templating struct {
		List []struct {
			Name, Type string
			AllValue   string
			Query      any
			Datasource *struct{ UID string }
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		Datasource  struct{ UID string }
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct {
			RefID, Expr string
			Datasource  struct{ UID string }
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("grafana.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

var (
	word     = regexp.MustCompile(`\b[a-zA-Z_]\w*`)
	selector = regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	grouping = regexp.MustCompile(`\b(by|on|ignoring|without) \([^)]*\)`)
	inside   = regexp.MustCompile(`\{[^}]*\}|\[[^]]*\]`)
)

// checkExpr checks that every name in an expression is an exported metric or one of the PromQL
// functions that we use, and that the brackets match. It returns the names of the metrics. A real
// parser of PromQL would be a dependency larger than this module.
func checkExpr(t *testing.T, expr string, known map[string]bool) (names []string) {
	t.Helper()
	bare := quoted.ReplaceAllString(expr, `""`)
	var open []rune
	for _, c := range bare {
		switch c {
		case '(', '[', '{':
			open = append(open, c)
		case ')', ']', '}':
			want := map[rune]rune{')': '(', ']': '[', '}': '{'}[c]
			if assert.NotEmpty(t, open, expr) {
				assert.Equal(t, want, open[len(open)-1], expr)
				open = open[:len(open)-1]
			}
		}
	}
	assert.Empty(t, open, expr)
	bare = grouping.ReplaceAllString(inside.ReplaceAllString(bare, ""), "")
	for _, name := range word.FindAllString(bare, -1) {
		switch name {
		case "sum", "max", "rate", "increase", "min_over_time", "offset", "and":
		default:
			assert.True(t, known[name], "%s in %s", name, expr)
			names = append(names, name)
		}
	}
	assert.NotEmpty(t, names, expr)
	return names
}

// known returns the set of all metric names.
func known(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for name := range exported(t) {
		names[name] = true
	}
	return names
}

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	assert.NotEmpty(t, d.Title)
	assert.NotEmpty(t, d.UID)
	names, used := known(t), make(map[string]bool)
	ids, exprs := make(map[int]bool), 0
	bottom := 0
	for _, p := range d.Panels {
		assert.NotEmpty(t, p.Title)
		assert.False(t, ids[p.ID], "two panels have the ID %d", p.ID)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		assert.True(t, p.GridPos.X > 0 || p.GridPos.Y == bottom, "%s overlaps other panels", p.Title)
		bottom = p.GridPos.Y + p.GridPos.H
		if p.Type == "row" {
			continue
		}
		assert.NotEmpty(t, p.Targets, p.Title)
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			assert.False(t, refs[target.RefID], "%s: target %s is there twice", p.Title, target.RefID)
			refs[target.RefID] = true
			assert.Equal(t, "${datasource}", target.Datasource.UID, p.Title)
			exprs++
			named := checkExpr(t, target.Expr, names)
			selectors := selector.FindAllStringSubmatch(target.Expr, -1)
			assert.Len(t, selectors, len(named), "a metric without the selector of the variables: %s", target.Expr)
			for _, s := range selectors {
				used[s[1]] = true
				want := `job=~"$job",instance=~"$instance"`
				if strings.HasPrefix(s[1], "warmpage_pool_") {
					want += `,pool=~"$pool"`
				}
				assert.Equal(t, want, s[2], target.Expr)
			}
		}
	}
	t.Logf("%d panels, %d expressions, %d of %d metrics", len(ids), exprs, len(used), len(names))
	assert.Greater(t, exprs, 15)
}

// The queries of the variables use metrics that exist. "All" includes pools without a name, for
// which Prometheus has no label at all.
func TestDashboardVariables(t *testing.T) {
	names := known(t)
	query := regexp.MustCompile(`^label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)$`)
	var variables []string
	for _, v := range readDashboard(t).Templating.List {
		variables = append(variables, v.Name)
		if v.Type == "datasource" {
			assert.Equal(t, "prometheus", v.Query)
			continue
		}
		assert.Equal(t, "query", v.Type)
		assert.Equal(t, ".*", v.AllValue, v.Name)
		require.NotNil(t, v.Datasource, v.Name)
		assert.Equal(t, "${datasource}", v.Datasource.UID)
		of, ok := v.Query.(map[string]any)
		require.True(t, ok, v.Name)
		parts := query.FindStringSubmatch(of["query"].(string))
		require.NotNil(t, parts, of)
		assert.True(t, names[parts[1]], of)
		assert.Equal(t, v.Name, parts[2])
	}
	assert.Equal(t, []string{"datasource", "job", "instance", "pool"}, variables)
}
