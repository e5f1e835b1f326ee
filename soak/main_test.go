package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// small is a run of three seconds, which is too short for lines that are flat.
var small = config{
	seed: 1, interval: 250 * time.Millisecond, samples: 12, warmUp: 3, cycle: []phase("tssbtsscci"),
	clients: 4, rate: 2000, tolerance: 100, patience: 15 * time.Second,
}

func TestSoak(t *testing.T) {
	var table, out bytes.Buffer
	require.NoError(t, runSoak(t.Context(), small, &table, &out), out.String())
	rows, err := csv.NewReader(&table).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+small.samples)
	total := func(name string) (n int) {
		at := -1
		for i, column := range rows[0] {
			if column == name {
				at = i
			}
		}
		require.GreaterOrEqual(t, at, 0, name)
		for _, row := range rows[1:] {
			if row[at] != "0" {
				n++
			}
		}
		return n
	}
	for _, name := range []string{"Requests", "Gets", "Refused", "Mistakes", "Committed", "GoHeap", "GetPutP99", "RequestMax"} {
		assert.Greater(t, total(name), 1, "samples with %s that are not 0", name)
	}
	assert.Positive(t, total("Renewed"))
	assert.Contains(t, out.String(), "medians of the first and the last third:")
}

// A program that does not put its slots is found by the lines, and by what is in use at the end.
func TestLeak(t *testing.T) {
	p := pool.New[block](pool.WithName("leaking"))
	defer p.Clear()
	cfg := small
	cfg.cycle, cfg.tolerance, cfg.patience = []phase("i"), 1, 0
	cfg.leak = func(*soak) {
		for range 1000 {
			p.Get()
		}
	}
	err := runSoak(t.Context(), cfg, io.Discard, io.Discard)
	require.Error(t, err)
	assert.ErrorContains(t, err, "not flat: the pools' memory off the Go heap when idle")
	assert.Regexp(t, `\d+ bytes of pages are in use at the end, and 0 at the start`, err)
}

// A slot that somebody else has written to, or got as well, is found when it is put.
func TestFaults(t *testing.T) {
	s := newSoak(config{})
	s.cancel = func(error) {}
	c := newChecked(s, "nodes", 0, func(x *node) []uint64 { return x.words[:] })
	one, other := newOwner(1), newOwner(1)

	h := c.get(one)
	c.putHeld(h)
	require.Empty(t, s.faults.list)

	h = c.get(one)
	second := c.take(other, h.x)
	c.putHeld(h)
	require.Len(t, s.faults.list, 1)
	assert.ErrorContains(t, s.faults.list[0], "the slot of "+describe(h.id)+" has changed")
	assert.ErrorContains(t, s.faults.list[0], "the first word is that of "+describe(second.id))

	h = c.get(one)
	h.x.words[len(h.x.words)-1]++
	c.putHeld(h)
	require.Len(t, s.faults.list, 2)

	c.forget(c.get(one)) // it is not on the Go heap: nobody takes it back
	c.closePool()
	require.Len(t, s.faults.list, 3)
	assert.ErrorIs(t, s.faults.list[2], pool.ErrInUse)
	c.Clear()
	c.closePool()
	require.Len(t, s.faults.list, 4)
	assert.ErrorContains(t, s.faults.list[3], "slots were got")

	b := make([]byte, 1000)
	for _, n := range []int{1, 7, 8, 9, 100, 1000} {
		stampBytes(b[:n], 1<<40)
		assert.NoError(t, checkBytes(b[:n], 1<<40), n)
		assert.Error(t, checkBytes(b[:n], 2<<40|1), n)
	}
}

// A refusal is a fault, unless the process limit is low, or the pool has a bound.
func TestSurvived(t *testing.T) {
	s := newSoak(config{})
	s.cancel = func(error) {}
	s.began = time.Now()
	s.survived(nil, false)
	s.survived(pool.ErrLimit, true)
	s.lowUntil.Store(int64(time.Hour))
	s.survived(pool.ErrLimit, false)
	assert.Empty(t, s.faults.list)
	s.lowUntil.Store(0)
	s.survived(pool.ErrLimit, false)
	assert.Len(t, s.faults.list, 1)
	assert.EqualValues(t, 3, s.refused.Load())
	assert.Panics(t, func() { s.survived(errors.New("other"), true) })
}

func TestMistakes(t *testing.T) {
	for name, f := range mistakes {
		for range 10 {
			assert.NoError(t, f(), name)
		}
	}
}

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	for _, test := range []struct{ args, want string }{
		{"now", `unexpected argument "now"`},
		{"-duration 10s", "-duration must be 32s or more"},
		{"-turbo", "flag provided but not defined: -turbo"},
	} {
		errs.Reset()
		assert.Equal(t, exitUsage, run(t.Context(), strings.Fields(test.args), &out, &errs), test.args)
		assert.Contains(t, errs.String(), test.want)
	}
	errs.Reset()
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &out, &errs))
	assert.Contains(t, errs.String(), "-duration")
	assert.Equal(t, exitFailed, run(t.Context(), []string{"-csv", t.TempDir()}, &out, &errs))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, exitInterrupted, run(ctx, []string{"-quick"}, &out, &errs), errs.String())
}
