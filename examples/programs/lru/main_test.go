package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

// TestMain lets the test binary be its own child, as the program does.
func TestMain(m *testing.M) {
	child.Main(child.One(measure))
	os.Exit(m.Run())
}

var tiny = []string{"-entries", "2000", "-ops", "20000"}

// The whole program, including its children and the chart.
func TestShow(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "lru.svg")
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), append(tiny, "-seed", "42", "-svg", svg), &stdout, &stderr), stderr.String())
	for _, want := range []string{
		"cache of 2000 entries", "seed 42", "skew 1.01", "pool.Pool    container/list",
		"hit rate", "p99.9", "collections in that time", "one runtime.GC()",
	} {
		assert.Contains(t, stdout.String(), want)
	}
	assert.Regexp(t, `entries at the end +2000 +2000\n`, stdout.String())
	assert.Regexp(t, `hit rate +(\d\d\.\d{4}) % +(\d\d\.\d{4}) %\n`, stdout.String())

	chart := charttest.Read(t, svg)
	for _, want := range []string{"pool.Pool", "container/list", "p99.9", "One runtime.GC()"} {
		assert.Contains(t, chart, want)
	}
}

// The hits of this trace can be counted by hand. All keys fit, so every key is a hit from its
// second time on.
func TestShowTrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("a\nb\na\nc\nb\na\n"), 0o666))
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"-entries", "1000", "-trace", path}, &stdout, &stderr), stderr.String())
	assert.Contains(t, stdout.String(), "Trace: 6 keys, 3 of them distinct")
	assert.Regexp(t, `hits +3 +3\n`, stdout.String())
	assert.Regexp(t, `entries at the end +3 +3\n`, stdout.String())
}

func TestMeasure(t *testing.T) {
	p := plan{Entries: 1000, Shards: 16, Ops: 30_000, Seed: 3, Skew: 1.05}
	p.Side = pooled
	a, err := measure(t.Context(), p)
	require.NoError(t, err)
	p.Side = listed
	b, err := measure(t.Context(), p)
	require.NoError(t, err)
	assert.NoError(t, check(a, b))
	for _, r := range []result{a, b} {
		assert.Equal(t, p.Ops, r.Ops, r.Side)
		assert.Equal(t, p.Entries, r.Entries, r.Side)
		assert.Greater(t, r.Hits, p.Ops/4, r.Side)
		assert.Less(t, r.Hits, p.Ops, r.Side)
		assert.Positive(t, r.P50, r.Side)
		assert.LessOrEqual(t, r.P50, r.P99, r.Side)
		assert.LessOrEqual(t, r.P99, r.P999, r.Side)
		assert.LessOrEqual(t, r.P999, r.Max, r.Side)
		assert.Positive(t, r.OneGC, r.Side)
	}
	b.Hits++
	assert.ErrorContains(t, check(a, b), "hits in 30000 operations")
}

func TestUnknownSide(t *testing.T) {
	p := plan{Side: "ring", Entries: 10, Shards: 1, Ops: 10, Skew: 1.1}
	_, err := child.Result[result](t.Context(), p)
	assert.ErrorContains(t, err, `unknown side "ring"`, "the error of the child is passed on")
}

// operate detects a wrong value, which this test puts into the cache.
func TestWrongValue(t *testing.T) {
	c, _ := newPooled(10, 1)
	tr := &trace{names: []key{{'a'}}}
	c.Put(tr.key(0), value{1})
	err := operate(t.Context(), c, tr, [][]uint32{{0, 0}}, 0, &result{})
	assert.ErrorContains(t, err, "2 of 2 hits returned the value of another key")
}

func TestBadFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing", "file")
	longKey := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(longKey, []byte("a\n"+strings.Repeat("b", 65)), 0o666))
	commandtest.Refuses(t, run, "-entries", [][]string{
		{"-entries", "0", "-entries must be from 1 to 100000000, not 0"},
		{"-entries", "100000001", "-entries must be from 1"},
		{"-entries", "many", `invalid value "many" for flag -entries`},
		{"-ops", "0", "-ops must be at least 1, not 0"},
		{"-skew", "1", "-skew must be above 1 and at most 10, not 1"},
		{"-skew", "NaN", "-skew must be above 1 and at most 10, not NaN"},
		{"-seed", "-1", `invalid value "-1" for flag -seed`},
		{"-garbage", "-1", "-garbage must not be negative: -1"},
		{"-trace", "", "-trace must name a file"},
		{"-trace", missing, "-trace: open "},
		{"-trace", t.TempDir(), "is a directory"},
		{"-trace", longKey, "keys: line 2: the key is 65 bytes long, and the limit is 64"},
		{"-trace", longKey, "-seed", "1", "-seed and -skew apply to a generated trace"},
		{"-svg", missing, "-svg: open "},
		{"-svg", t.TempDir(), "-svg: open "},
	})
}

func TestQuick(t *testing.T) {
	parsed := func(args ...string) plan {
		opts, err := parse(args, io.Discard)
		require.NoError(t, err)
		return opts.plan
	}
	want := usual
	want.Shards = maxShards
	assert.Equal(t, want, parsed())

	want.Entries, want.Ops = quick.Entries, quick.Ops
	assert.Equal(t, want, parsed("-quick"))
	want.Entries = 10
	want.Shards = 10
	assert.Equal(t, want, parsed("-quick", "-entries", "10"))
	want.Ops = 7
	assert.Equal(t, want, parsed("-entries", "10", "-ops", "7", "-quick"))

	assert.Zero(t, parsed("-trace", "f").Ops)
	assert.Equal(t, 5, parsed("-trace", "f", "-ops", "5").Ops)
}

// The child's plan takes many minutes. The interrupt comes before the child starts or while it is
// busy; the program must end in either case.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-entries", "1000", "-ops", "100000000"}, &stdout, &stderr)
	assert.Equal(t, command.ExitInterrupted, code)
	assert.Contains(t, stderr.String(), "interrupted, no results")
	assert.NotContains(t, stdout.String(), "hit rate")
}

// Ctrl-C ends every phase, not only the first.
func TestInterruptedPhases(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, _ := newPooled(10, 1)
	_, err := fill(ctx, c, &trace{}, plan{Entries: 2 * look, Shards: 1}, 1)
	assert.ErrorIs(t, err, context.Canceled)
	assert.LessOrEqual(t, c.Len(), 10)
	err = operate(ctx, c, &trace{}, [][]uint32{{1, 2, 3}}, 0, &result{})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestUnwritableChart(t *testing.T) {
	r := result{Side: pooled, Ops: 1, Elapsed: 1, Processors: 1}
	err := writeChart(filepath.Join(t.TempDir(), "missing", "lru.svg"), options{}, []result{r})
	assert.ErrorIs(t, err, os.ErrNotExist)
}
