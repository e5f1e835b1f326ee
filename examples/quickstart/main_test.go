package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func runWith(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTiny(t *testing.T) {
	code, stdout, stderr := runWith(t.Context(), "-live", "2000", "-pairs", "5000", "-goroutines", "3")
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, stderr)
	for _, want := range []string{
		"2000 orders are live", "pool, by Ref", "by pointer", "one garbage collection", "memory when they are gone",
		"An order is put twice", `pool "orders" (main.Order): Put(`,
		"get and put 5000 orders", "3 goroutines", "this pool", "sync.Pool", "plain new", "collections", "objects allocated",
	} {
		assert.Contains(t, stdout, want)
	}
	for line := range strings.Lines(stdout) {
		assert.LessOrEqual(t, len(line), 80+1, line)
	}
}

// Orders on the heap are what the collector has to look after, and those of a pool are not.
func TestHeldObjects(t *testing.T) {
	var objects []uint64
	for _, h := range holders() {
		r, err := measureHeld(h, 20_000)
		require.NoError(t, err, h.name)
		objects = append(objects, r.objects)
	}
	assert.Less(t, objects[0], uint64(5000))
	assert.Less(t, objects[1], uint64(5000))
	assert.Greater(t, objects[2], uint64(15_000))
}

func TestFewerPairsThanGoroutines(t *testing.T) {
	code, _, stderr := runWith(t.Context(), "-live", "1", "-pairs", "1", "-goroutines", "4")
	assert.Equal(t, 0, code, stderr)
}

// Plain new allocates every order. If the count of heap objects did not show that, the pool's small
// count would mean nothing.
func TestCountsAreAlive(t *testing.T) {
	w := work{pairs: 5000, goroutines: 2}
	runs, err := measureAll(t.Context(), w)
	require.NoError(t, err)
	require.Len(t, runs, len(contenders))
	assert.Positive(t, runs[0].turnover)
	assert.Positive(t, runs[0].stats.Pages)
	assert.GreaterOrEqual(t, runs[2].mallocs, uint64(w.pairs))
	assert.Less(t, runs[0].mallocs, uint64(w.pairs)/2)
}

func TestBadFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-live", "-1"}, "-live must be at least 1, not -1"},
		{[]string{"-pairs", "0"}, "-pairs must be at least 1, not 0"},
		{[]string{"-pairs", "many"}, `invalid value "many" for flag -pairs`},
		{[]string{"-goroutines", "-1"}, "-goroutines must be from 1 to 10000, not -1"},
		{[]string{"-turbo"}, "flag provided but not defined: -turbo"},
		{[]string{"now"}, `unexpected argument "now"`},
	} {
		code, stdout, stderr := runWith(t.Context(), test.args...)
		assert.Equal(t, exitUsage, code, test.args)
		assert.Empty(t, stdout, test.args)
		assert.Contains(t, stderr, test.want)
	}
}

func TestHelp(t *testing.T) {
	code, _, stderr := runWith(t.Context(), "-h")
	assert.Equal(t, 0, code)
	assert.Contains(t, stderr, "-goroutines")
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, stdout, stderr := runWith(ctx, "-live", "10", "-pairs", "1000000000")
	assert.Equal(t, exitInterrupted, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "interrupted")
}
