package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

// TestMain lets the test binary be its own child, as the program does.
func TestMain(m *testing.M) {
	child.Main(work)
	os.Exit(m.Run())
}

// tiny takes almost no time.
var tiny = plan{Objects: 5000, Bursts: 3, Lead: time.Millisecond, Pause: 5 * time.Millisecond, Settle: 5 * time.Millisecond, Period: time.Millisecond}

// measured carries out tiny for one side, in this process, and returns the phase.
func measured(t *testing.T, s side) phase {
	t.Helper()
	ph := phase{plan: tiny}
	ph.plan.Side = s
	totals, err := measure(t.Context(), ph.plan, func(s sample) error {
		ph.add(message{Sample: &s})
		return nil
	})
	require.NoError(t, err)
	ph.add(message{Totals: &totals})
	return ph
}

func TestBursts(t *testing.T) {
	for _, s := range []side{thisPool, syncPool} {
		ph := measured(t, s)
		var order []moment
		for i, x := range ph.samples {
			if x.Moment != between {
				order = append(order, x.Moment)
			}
			if i > 0 {
				assert.GreaterOrEqual(t, x.At, ph.samples[i-1].At, s)
				assert.GreaterOrEqual(t, x.Burst, ph.samples[i-1].Burst, s)
			}
			if x.Known {
				assert.Positive(t, x.Resident, s)
			}
		}
		assert.Equal(t, []moment{atStart, atBurst, allOut, allBack, atBurst, allOut, allBack, atBurst, allOut, allBack, atEnd}, order, s)
	}
}

// The pool takes its slots from pages, not from the Go heap, and sync.Pool does the opposite. If
// that were not so, the results of the program would mean nothing.
func TestBothSidesWork(t *testing.T) {
	ours := measured(t, thisPool)
	for _, s := range ours.samples {
		switch s.Moment {
		case atStart:
			assert.Zero(t, s.Pool.Pages)
			assert.Zero(t, s.Pool.Live)
		case allOut:
			assert.GreaterOrEqual(t, s.Memory.InUse, s.Pool.MappedBytes, "the process has other pools")
			assert.Equal(t, tiny.Objects, s.Pool.Live)
			assert.GreaterOrEqual(t, s.Pool.MappedBytes, tiny.payload())
		case allBack:
			assert.Zero(t, s.Pool.Live)
		}
	}
	assert.NoError(t, check(ours))

	theirs := measured(t, syncPool)
	assert.GreaterOrEqual(t, theirs.totals.Mallocs, uint64(tiny.Objects))
	for _, s := range theirs.samples {
		assert.Equal(t, pool.Stats{}, s.Pool)
		assert.Positive(t, s.GoHeap.Objects)
	}
}

func TestUnknownSide(t *testing.T) {
	_, err := measure(t.Context(), plan{Side: "malloc"}, nil)
	assert.ErrorContains(t, err, `unknown side "malloc"`)
	err = child.Run(t.Context(), plan{Side: "malloc"}, func(message) {})
	assert.ErrorContains(t, err, `unknown side "malloc"`, "the error of the child is passed on")
}

func TestChangedObject(t *testing.T) {
	a, err := newAllocator(thisPool)
	require.NoError(t, err)
	xs := make([]*object, 10)
	getAll(t.Context(), a, xs)
	xs[3][0]++
	assert.ErrorContains(t, putAll(a, xs), "1 objects changed while they were in use")
	assert.Zero(t, a.stats().Live)
	assert.NoError(t, a.close())
}

func TestEmitFails(t *testing.T) {
	full := errors.New("disk full")
	p := tiny
	p.Side, p.Lead = thisPool, time.Hour
	_, err := measure(t.Context(), p, func(sample) error { return full })
	assert.ErrorIs(t, err, full)
}

// The whole program, including its children and the chart.
func TestShow(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "burst.svg")
	var stdout, stderr bytes.Buffer
	p := tiny
	p.Objects = 100_000 // 6 MiB, enough for the check to see them
	code := command.Code("burst", show(t.Context(), options{plan: p, svg: svg}, &stdout, &stderr), &stderr)
	text := stdout.String()
	// This test does not check how soon memory comes back.
	if code != 0 {
		require.Contains(t, stderr.String(), "after the last Put")
		require.NotContains(t, stderr.String(), "at the peak of")
		require.Equal(t, command.ExitFailed, code)
	}
	for _, want := range []string{
		"100000 objects of 64 bytes", "this pool: ", "sync.Pool: ", "start\n",
		"burst 1: all out", "burst 1: all back", "burst 3: all out", "burst 3: all back", "5ms after the last Put",
		"peak", "allocations (Mallocs)", "GC cycles", "total pause",
	} {
		assert.Contains(t, text, want)
	}
	assert.Regexp(t, `#+>? +100000 +\d+ .* burst 2: all out`, text)
	assert.Regexp(t, `#+>? +0 +\d+ .* burst 2: all back`, text)

	chart := charttest.Read(t, svg)
	assert.Contains(t, chart, "sync.Pool")
}

// A cancelWriter calls cancel whenever a Write contains until.
type cancelWriter struct {
	bytes.Buffer
	until  string
	cancel func()
}

func (w *cancelWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.until) {
		w.cancel()
	}
	return w.Buffer.Write(p)
}

// The interrupt comes when the child has started and has an hour to go.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &cancelWriter{until: "start\n", cancel: cancel}
	var stderr bytes.Buffer
	p := tiny
	p.Lead = time.Hour
	assert.ErrorIs(t, show(ctx, options{plan: p}, stdout, &stderr), context.Canceled)
	assert.NotContains(t, stdout.String(), "peak")
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-objects", [][]string{
		{"-objects", "0", "-objects must be from 1 to 100000000, not 0"},
		{"-objects", "100000001", "-objects must be from 1"},
		{"-objects", "many", `invalid value "many" for flag -objects`},
		{"-bursts", "0", "-bursts must be at least 1, not 0"},
		{"-pause", "-1s", "-pause must not be negative: -1s"},
		{"-gc", "-1s", "-gc must not be negative: -1s"},
		{"-svg", filepath.Join(t.TempDir(), "missing", "burst.svg"), "-svg: open "},
		{"-svg", t.TempDir(), "-svg: open "},
	})
}

func TestQuick(t *testing.T) {
	opts, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, usual, opts.plan)

	opts, err = parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, quick, opts.plan)
	total := 2 * (quick.Lead + time.Duration(quick.Bursts-1)*quick.Pause + quick.Settle)
	assert.LessOrEqual(t, total, 13*time.Second, "the bursts themselves take another second")

	opts, err = parse([]string{"-quick", "-objects", "7", "-bursts", "4", "-pause", "1s", "-gc", "2s"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, plan{
		Objects: 7, Bursts: 4, Lead: quick.Lead, Pause: time.Second,
		Settle: quick.Settle, Period: quick.Period, GC: 2 * time.Second,
	}, opts.plan)
}
