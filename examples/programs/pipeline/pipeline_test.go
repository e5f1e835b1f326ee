package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/pooltest"
)

func TestMain(m *testing.M) { pooltest.VerifyNone(m) }

// The bound holds, and changes nothing about the result.
func TestBound(t *testing.T) {
	want := work{records: 3000, workers: 3, slow: 1}.do(context.Background(), func(result) {})
	assert.Equal(t, 3000, want.written)
	assert.Equal(t, 300, want.failures)
	for _, inFlight := range []int{1, 7, 100} {
		calls := 0
		r := work{records: 3000, workers: 3, inFlight: inFlight, slow: 1}.do(context.Background(), func(result) { calls++ })
		assert.Equal(t, want.written, r.written)
		assert.Equal(t, want.failures, r.failures)
		assert.Equal(t, want.check, r.check)
		assert.LessOrEqual(t, r.mostInUse, inFlight)
		assert.Equal(t, 4, calls)
	}
}

// What was read before the end is written, and nothing is lost: do closes the pool.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := work{records: 4000, workers: 2, inFlight: 10}.do(ctx, func(result) { cancel() })
	assert.GreaterOrEqual(t, r.written, 1000)
	assert.Less(t, r.written, 4000)
	assert.EqualValues(t, r.written*lineSize, r.bytes)
}

func TestRun(t *testing.T) {
	var out, errs strings.Builder
	require.Zero(t, run(context.Background(), []string{"-records", "1000", "-slow", "1"}, &out, &errs), errs.String())
	for _, want := range []string{"at most 256 in flight\n", "no bound\n", "1000 records, 100 of them errors", "the reader waited"} {
		assert.Contains(t, out.String(), want)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		assert.LessOrEqual(t, len(line), 80, line)
	}
	assert.Equal(t, command.ExitUsage, run(context.Background(), []string{"-workers", "0"}, &out, &errs))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Equal(t, command.ExitInterrupted, run(ctx, []string{"-records", "1000"}, &out, &errs))
}
