package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

func runWith(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCounters(t *testing.T) {
	rows, err := measureAll(t.Context(), options{rounds: 5, repeats: 1}, io.Discard)
	require.NoError(t, err)
	require.Len(t, rows, len(configurations)*len(orders))
	for _, r := range rows {
		name := r.configuration.name + ", " + string(r.order)
		assert.Equal(t, 5, r.off.rounds, name)
		if r.emptiesPages() {
			assert.Positive(t, r.on.promotions, name)
			assert.Positive(t, r.off.slowGets, "%s: off must count slow Gets", name)
			assert.Positive(t, r.off.releases, "%s: off must count releases", name)
		}
		assert.Zero(t, r.off.promotions, name)

		assert.Equal(t, 5, r.on.rounds, name)
		assert.Positive(t, r.on.rate, name)
		assert.Zero(t, r.on.slowGets, name)
		assert.Zero(t, r.on.releases, name)
		assert.Zero(t, r.on.purged, name)
	}
	assert.NoError(t, check(rows))
}

func TestTableAndChart(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "churn.svg")
	code, stdout, stderr := runWith(t.Context(), "-quick", "-rounds", "1", "-svg", svg)
	require.Equal(t, 0, code, stderr)
	for _, c := range configurations {
		assert.Contains(t, stdout, c.name)
		assert.Contains(t, stderr, c.name, "progress")
	}
	text := charttest.Read(t, svg)
	assert.Contains(t, text, "64B-multi-page")
}

// This is what the program is for: check must reject a library that breaks its promises, and
// counters that do not count.
func TestCheck(t *testing.T) {
	good := row{configurations[1], firstIn, group{rounds: 1, slowGets: 1}, group{rounds: 1}}
	assert.NoError(t, check([]row{good}))
	for _, test := range []struct {
		want  string
		spoil func(*row)
	}{
		{"on took the slow path 3 times", func(r *row) { r.on.slowGets = 3 }},
		{"on released 2 pages", func(r *row) { r.on.releases = 2 }},
		{"on purged 65536 bytes", func(r *row) { r.on.purged = 65536 }},
		{"counter seems to be broken", func(r *row) { r.off.slowGets = 0 }},
	} {
		bad := good
		test.spoil(&bad)
		assert.ErrorContains(t, check([]row{good, bad}), test.want)
	}
}

func TestOrders(t *testing.T) {
	assert.Equal(t, []int{0, 1, 2, 3}, firstIn.indexes(4))
	assert.Equal(t, []int{3, 2, 1, 0}, lastIn.indexes(4))
	assert.ElementsMatch(t, firstIn.indexes(100), shuffled.indexes(100))
	assert.NotEqual(t, firstIn.indexes(100), shuffled.indexes(100))
	first, again := shuffled.indexes(100), shuffled.indexes(100)
	assert.Equal(t, first, again)
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-rounds", [][]string{
		{"-time", "-1s", "-time must be positive, not -1s"},
		{"-time", "soon", `invalid value "soon" for flag -time`},
		{"-rounds", "-1", "-rounds must be positive, not -1"},
		{"-rounds", "1", "-time", "1s", "-rounds and -time cannot be used together"},
		{"-svg", filepath.Join(t.TempDir(), "missing", "churn.svg"), "-svg: open "},
	})
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, stdout, stderr := runWith(ctx, "-time", "1h")
	assert.Equal(t, command.ExitInterrupted, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "interrupted")
}
