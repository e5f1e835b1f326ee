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
)

// TestMain lets the test binary be its own child, as the program is.
func TestMain(m *testing.M) {
	if os.Getenv(planVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// tiny is small enough for the whole of it to take no time, and long enough for
// packets to come through on a busy machine.
var tiny = plan{
	Host: "127.0.0.1", Readers: 2, Workers: 3, Size: 200, Rate: 20_000,
	WarmUp: 50 * time.Millisecond, Time: 200 * time.Millisecond, GC: 20 * time.Millisecond,
}

// All of it, children and chart included.
func TestShow(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "packets.svg")
	var stdout, stderr bytes.Buffer
	code := show(t.Context(), options{plan: tiny, svg: svg}, &stdout, &stderr)
	// A few hundred allocations are too many for the few packets of a slow machine,
	// which is not for a test of this program to judge.
	if code != 0 {
		require.Contains(t, stderr.String(), "allocations a packet")
		require.NotContains(t, stderr.String(), string(syncPool))
		require.Equal(t, exitFailed, code)
	}
	for _, want := range []string{
		"2 senders and readers, 3 workers", "20000 packets a second", "A collection runs every 20ms",
		"this pool", "sync.Pool", "dropped by the kernel", "no room in the queue", "not what was sent",
		"packets/s", "MB/s", "p50", "p99", "allocations (Mallocs)", "a packet", "GC cycles", "pauses in all",
	} {
		assert.Contains(t, stdout.String(), want)
	}
	chart, err := os.ReadFile(svg)
	require.NoError(t, err)
	assertXML(t, chart)
	assert.Contains(t, string(chart), "<svg")
	assert.Contains(t, string(chart), "sync.Pool: ")
}

func TestNoSockets(t *testing.T) {
	p := tiny
	p.Host = "192.0.2.1" // reserved for documentation: no machine has it
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitUsage, show(t.Context(), options{plan: p}, &stdout, &stderr))
	assert.Regexp(t, `^packets: UDP over loopback is needed, and the system refuses it: listen udp4 192\.0\.2\.1:0: .*\n$`, stderr.String())
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel) // before or after the child begins, it must end
	p := tiny
	p.Time = time.Hour
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitInterrupted, show(ctx, options{plan: p}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "interrupted")
	assert.NotContains(t, stdout.String(), "packets sent")
}

func TestChild(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitUsage, beChild(t.Context(), "{", &stdout, &stderr))
	assert.Contains(t, stderr.String(), planVariable)

	_, err := runChild(t.Context(), plan{Side: "malloc"})
	assert.ErrorContains(t, err, `no side "malloc"`, "what the child says is passed on")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stderr.Reset()
	assert.Equal(t, exitInterrupted, beChild(ctx, `{"Side":"this pool","Host":"127.0.0.1","Readers":1,"Workers":1,"Time":1}`, &stdout, &stderr))
	assert.Empty(t, stdout.String())
	assert.Empty(t, stderr.String(), "the parent says it")
}

func TestBadFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-time", "0s"}, "-time must be positive, not 0s"},
		{[]string{"-time", "soon"}, `invalid value "soon" for flag -time`},
		{[]string{"-rate", "-1"}, "-rate must be from 0 to 1000000000, not -1"},
		{[]string{"-readers", "0"}, "-readers must be from 1 to 64, not 0"},
		{[]string{"-readers", "65"}, "-readers must be from 1 to 64, not 65"},
		{[]string{"-workers", "0"}, "-workers must be from 1 to 64, not 0"},
		{[]string{"-size", "-1"}, "-size must be from 0 to 1500, not -1"},
		{[]string{"-size", "1501"}, "-size must be from 0 to 1500, not 1501"},
		{[]string{"-gc", "-1s"}, "-gc must not be negative, as -1s is"},
		{[]string{"-turbo"}, "flag provided but not defined: -turbo"},
		{[]string{"now"}, `unexpected argument "now"`},
		{[]string{"-svg", filepath.Join(t.TempDir(), "missing", "packets.svg")}, "-svg: open "},
		{[]string{"-svg", t.TempDir()}, "-svg: open "},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitUsage, run(t.Context(), test.args, &stdout, &stderr), test.args)
		assert.Empty(t, stdout.String(), test.args)
		assert.Contains(t, stderr.String(), test.want)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-readers")
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

func TestTryFileLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packets.svg")
	require.NoError(t, tryFile(path))
	assert.NoFileExists(t, path)

	require.NoError(t, os.WriteFile(path, []byte("old"), 0o666))
	require.NoError(t, tryFile(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))
}
