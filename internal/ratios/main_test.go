package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	run := func(pool, std string) string {
		return "goos: linux\nBenchmarkFill/size=64/side=pool-2   10   " + pool + " ns/op   0 B/op\n" +
			"BenchmarkFill/size=64/side=pool-batch-2   10   5.0 ns/op\n" +
			"BenchmarkFill/size=64/side=sync.Pool-2   10   " + std + " ns/op\n" +
			"BenchmarkFill/size=64/side=new-2   10   40 ns/op\nPASS\n"
	}
	names, processes, err := parse(strings.NewReader(run("10", "20") + run("30", "40") + run("9", "10")))
	require.NoError(t, err)
	assert.Equal(t, []string{"Fill/size=64"}, names)
	assert.Len(t, processes, 3)
	var b strings.Builder
	write(&b, names, processes)
	assert.Contains(t, b.String(), "| Fill/size=64 | 10.0 | 5.0 | 20.0 | 40.0 | 0.75 (0.75–0.75) | 0.25 (0.25–0.25) |")
}
