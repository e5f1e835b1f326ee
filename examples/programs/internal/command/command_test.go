package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCode(t *testing.T) {
	lost := errors.New("lost")
	for _, test := range []struct {
		err  error
		code int
		says string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{fmt.Errorf("side: %w", context.Canceled), ExitInterrupted, "p: interrupted, no results\n"},
		{fmt.Errorf("side: %w", BadUsage(lost)), ExitUsage, "p: lost\n"},
		{fmt.Errorf("side: %w", lost), ExitFailed, "p: side: lost\n"},
	} {
		var stderr bytes.Buffer
		assert.Equal(t, test.code, Code("p", test.err, &stderr), test.err)
		assert.Equal(t, test.says, stderr.String())
	}
	assert.ErrorIs(t, BadUsage(lost), lost)
}

func TestFlags(t *testing.T) {
	var usual, quick struct {
		n     int
		x     float64
		d     time.Duration
		other bool
	}
	usual.n, usual.d = 1, time.Hour
	quick.n, quick.x, quick.d = 2, 0.25, time.Second
	parse := func(args ...string) (*flag.FlagSet, string, error) {
		var stderr bytes.Buffer
		flags := flag.NewFlagSet("p", flag.ContinueOnError)
		flags.IntVar(&usual.n, "n", usual.n, "")
		flags.Float64Var(&usual.x, "x", usual.x, "")
		flags.DurationVar(&usual.d, "d", usual.d, "")
		flags.BoolVar(&usual.other, "other", usual.other, "")
		err := Parse(flags, args, "[-n n]", &stderr)
		return flags, stderr.String(), err
	}
	_, says, err := parse("-h")
	assert.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, says, "usage: p [-n n]\n")
	for _, args := range [][]string{{"now"}, {"-n", "many"}, {"-turbo"}} {
		_, says, err = parse(args...)
		assert.Error(t, err)
		assert.Empty(t, says)
	}

	flags, _, err := parse("-x", "0.1", "-other", "-d", "1h30m")
	require.NoError(t, err)
	Defaults(flags, func() { usual = quick })
	assert.Equal(t, 2, usual.n)
	assert.Equal(t, 0.1, usual.x)
	assert.Equal(t, 90*time.Minute, usual.d)
	assert.True(t, usual.other)
	assert.True(t, Given(flags, "x"))
	assert.False(t, Given(flags, "n"))
}
