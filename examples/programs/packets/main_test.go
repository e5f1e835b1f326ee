package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
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

// tiny takes almost no time, but is long enough for packets to come through on a busy machine.
var tiny = plan{
	Host: "127.0.0.1", Readers: 2, Workers: 3, Size: 200, Rate: 20_000,
	WarmUp: 50 * time.Millisecond, Time: 200 * time.Millisecond, GC: 20 * time.Millisecond,
}

// The whole program, including its children and the chart.
func TestShow(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "packets.svg")
	var stdout, stderr bytes.Buffer
	code := command.Code("packets", show(t.Context(), options{plan: tiny, svg: svg}, &stdout, &stderr), &stderr)
	// On a slow machine, a few hundred allocations are too many for the few packets that come
	// through. This test does not judge that.
	if code != 0 {
		require.Contains(t, stderr.String(), "allocations per packet")
		require.NotContains(t, stderr.String(), string(syncPool))
		require.Equal(t, command.ExitFailed, code)
	}
	for _, want := range []string{
		"2 senders and readers, 3 workers", "20000 packets per second", "A collection runs every 20ms",
		"this pool", "sync.Pool", "dropped by the kernel", "dropped because of a full queue", "of these, corrupted",
		"packets/s", "MB/s", "p50", "p99", "allocations (Mallocs)", "per packet", "GC cycles", "total pause",
	} {
		assert.Contains(t, stdout.String(), want)
	}
	chart := charttest.Read(t, svg)
	assert.Contains(t, chart, "sync.Pool: ")
}

func TestNoSockets(t *testing.T) {
	p := tiny
	p.Host = "192.0.2.1" // reserved for documentation, so no machine has it
	var stdout, stderr bytes.Buffer
	assert.Equal(t, command.ExitUsage, command.Code("packets", show(t.Context(), options{plan: p}, &stdout, &stderr), &stderr))
	assert.Regexp(t, `^packets: this program needs UDP over loopback, but the system refuses it: listen udp4 192\.0\.2\.1:0: .*\n$`, stderr.String())
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel) // the program must end, whether the child has started or not
	p := tiny
	p.Time = time.Hour
	var stdout, stderr bytes.Buffer
	assert.ErrorIs(t, show(ctx, options{plan: p}, &stdout, &stderr), context.Canceled)
	assert.NotContains(t, stdout.String(), "packets sent")
}

func TestUnknownSide(t *testing.T) {
	_, err := child.Result[result](t.Context(), plan{Side: "malloc"})
	assert.ErrorContains(t, err, `unknown side "malloc"`, "the error of the child is passed on")
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-readers", [][]string{
		{"-time", "0s", "-time must be positive, not 0s"},
		{"-time", "soon", `invalid value "soon" for flag -time`},
		{"-rate", "-1", "-rate must be from 0 to 1000000000, not -1"},
		{"-readers", "0", "-readers must be from 1 to 64, not 0"},
		{"-readers", "65", "-readers must be from 1 to 64, not 65"},
		{"-workers", "0", "-workers must be from 1 to 64, not 0"},
		{"-size", "-1", "-size must be from 0 to 1500, not -1"},
		{"-size", "1501", "-size must be from 0 to 1500, not 1501"},
		{"-gc", "-1s", "-gc must not be negative: -1s"},
		{"-svg", filepath.Join(t.TempDir(), "missing", "packets.svg"), "-svg: open "},
		{"-svg", t.TempDir(), "-svg: open "},
	})
}

func TestQuick(t *testing.T) {
	opts, err := parseFlags(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, usual, opts.plan)

	opts, err = parseFlags([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	assert.LessOrEqual(t, 2*(opts.plan.WarmUp+opts.plan.Time), 8*time.Second)

	opts, err = parseFlags([]string{"-time", "7s", "-quick"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, 7*time.Second, opts.plan.Time)
}
