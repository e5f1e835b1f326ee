// Package commandtest has what tests of the programs do with command lines.
package commandtest

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

// Refuses fails the test if a program does not refuse each of these command lines. The last string
// of each is a part of what the program then says. It also asks for help, and expects flag in that.
func Refuses(t *testing.T, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int, flag string, lines [][]string) {
	t.Helper()
	lines = append(lines, []string{"-turbo", "flag provided but not defined: -turbo"}, []string{"now", `unexpected argument "now"`})
	for _, line := range lines {
		args, says := line[:len(line)-1], line[len(line)-1]
		var stdout, stderr bytes.Buffer
		assert.Equal(t, command.ExitUsage, run(t.Context(), args, &stdout, &stderr), args)
		assert.Empty(t, stdout.String(), args)
		assert.Contains(t, stderr.String(), says)
	}
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Empty(t, stdout.String())
	assert.Contains(t, stderr.String(), "usage: ")
	assert.Contains(t, stderr.String(), flag)
}
