package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
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
	child.Main(serveParent)
	os.Exit(m.Run())
}

var discard = log.New(io.Discard, "", 0)

func tinyOptions() options {
	c := testConfig(usePool)
	c.VisitorTTL = 50 * time.Millisecond
	w := tiny
	w.Idle = time.Second // enough for the visitors to expire, even on a busy machine
	return options{config: c, load: w}
}

// The whole program, including its children and the chart.
func TestShow(t *testing.T) {
	opts := tinyOptions()
	opts.svg = filepath.Join(t.TempDir(), "server.svg")
	var stdout, stderr bytes.Buffer
	require.NoError(t, show(t.Context(), opts, &stdout, &stderr), "%s%s", &stdout, &stderr)
	for _, want := range []string{
		"4 connections with 500 sessions: 400 per second", "this pool", "sync.Pool", "steady: trades", "burst: trades",
		"p50", "p99.9", "max", "collections, total pause", "CPU time of the collector", "peak", "after the idle phase", "refused (503)",
	} {
		assert.Contains(t, stdout.String(), want)
	}
	checksums := regexp.MustCompile(`checksum of all answers +(\w+)… +(\w+)…`).FindStringSubmatch(stdout.String())
	require.Len(t, checksums, 3)
	assert.Equal(t, checksums[1], checksums[2])
	chart := charttest.Read(t, opts.svg)
	assert.Contains(t, chart, "A server with 500 sessions")
}

// It is not a failure if the load exceeds a limit. The program reports it.
func TestShowRefusals(t *testing.T) {
	opts := tinyOptions()
	opts.config.SessionLimit = 64 << 10
	opts.load.Members = 100 // there are also 700 visitors, and room for 28 of them
	var stdout, stderr bytes.Buffer
	require.NoError(t, show(t.Context(), opts, &stdout, &stderr), "%s%s", &stdout, &stderr)
	assert.Regexp(t, `refused \(503\) +[1-9]\d* +0\n`, stdout.String())
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel) // the program must end, whether the child has started or not
	opts := tinyOptions()
	opts.load.Steady = time.Hour
	var stdout, stderr bytes.Buffer
	assert.ErrorIs(t, show(ctx, opts, &stdout, &stderr), context.Canceled)
	assert.NotContains(t, stdout.String(), "steady: trades")
}

func TestChild(t *testing.T) {
	c := testConfig(usePool)
	c.Address = "192.0.2.1:0" // reserved for documentation, so no machine has it
	_, err := startRemote(t.Context(), c)
	assert.ErrorContains(t, err, "192.0.2.1", "the error of the child is passed on")

	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	ch, err := startRemote(ctx, testConfig(usePool))
	require.NoError(t, err)
	s, err := ch.sample(t.Context())
	require.NoError(t, err)
	assert.Equal(t, usePool, s.Variant)
	require.NoError(t, ch.stop())
	_, err = ch.sample(t.Context())
	assert.Error(t, err, "the child has ended")
}

// An output is an io.Writer that is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// This test does what a user would do. The page is at the address that the program prints, and
// Ctrl-C ends the program without an error.
func TestServe(t *testing.T) {
	for _, alloc := range variants {
		ctx, cancel := context.WithCancel(t.Context())
		var stdout, stderr output
		code := make(chan int, 1)
		args := []string{"-serve", "-load", "-quick", "-alloc", string(alloc), "-addr", "127.0.0.1:0", "-ops", "127.0.0.1:0", "-members", "1000"}
		go func() { code <- run(ctx, args, &stdout, &stderr) }()
		found := []string(nil)
		eventually(t, func() bool {
			found = regexp.MustCompile(`page at (http://[0-9.:]+/);`).FindStringSubmatch(stdout.String())
			return found != nil
		}, "the program must print its addresses")
		_, text, header := ask(t, "GET", found[1], "")
		assert.Contains(t, text, "<title>")
		assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
		eventually(t, func() bool {
			_, text, _ := ask(t, "GET", found[1]+"stats", "")
			return regexp.MustCompile(`"Answered":\d\d`).MatchString(text)
		}, "the load must reach the service")
		cancel()
		assert.Equal(t, 0, <-code)
		assert.Empty(t, stderr.String())
	}
}

func TestServeTakenAddress(t *testing.T) {
	r := start(t, testConfig(usePool))
	var stdout, stderr bytes.Buffer
	assert.Equal(t, command.ExitFailed, run(t.Context(), []string{"-serve", "-addr", r.addresses().Service}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "server: listen tcp")
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-visitors", [][]string{
		{"-rate", "0", "-rate must be from 1 to 100000, not 0"},
		{"-rate", "many", `invalid value "many" for flag -rate`},
		{"-members", "63", "-members must be from 64, one for each connection, to 10000000, not 63"},
		{"-visitors", "-1", "-visitors must be from 0 to 10000000, not -1"},
		{"-connections", "0", "-connections must be from 1 to 1000, not 0"},
		{"-steady", "-1s", "-steady must be from 0 to 1h0m0s, not -1s"},
		{"-burst", "2h", "-burst must be from 0 to 1h0m0s, not 2h0m0s"},
		{"-idle", "-1s", "-idle must be from 0 to 1h0m0s, not -1s"},
		{"-steady", "0", "-burst", "0", "-steady and -burst are too short for a single request"},
		{"-rate", "5", "-connections 64 is too many for -rate 5: each would wait 12.8s for its turn, and the limit is 5s"},
		{"-visitors", "1000", "-burst", "60s", "-visitors 1000 is too few for -burst 1m0s: a connection would wait 30s between requests, and the limit is 5s"},
		{"-member-ttl", "0s", "-member-ttl must be positive, not 0s"},
		{"-visitor-ttl", "-1s", "-visitor-ttl must be positive, not -1s"},
		{"-scratch-limit", "-1", "-scratch-limit must be from 0 to 2147483647, not -1"},
		{"-session-limit", "-1", "-session-limit must be from 0 to 2147483647, not -1"},
		{"-seed", "-1", `invalid value "-1" for flag -seed`},
		{"-serve", "-alloc", "malloc", `-alloc must be pool or sync, not "malloc"`},
		{"-serve", "-addr", "here", "-addr: address here: missing port"},
		{"-serve", "-ops", "127.0.0.1:http3", `-ops: "http3" is not a port number`},
		{"-alloc", "sync", "-alloc needs -serve"},
		{"-load", "-load needs -serve"},
		{"-serve", "-svg", "x.svg", "-svg cannot be used with -serve"},
		{"-svg", filepath.Join(t.TempDir(), "missing", "server.svg"), "-svg: open "},
	})
}

func TestQuick(t *testing.T) {
	opts, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, options{config: usualConfig, load: usual}, opts)
	assert.LessOrEqual(t, 2*(usual.WarmUp+usual.Steady+usual.Burst+usual.Idle), 55*time.Second)

	opts, err = parse([]string{"-rate", "7", "-quick"}, io.Discard)
	require.NoError(t, err)
	want := quick
	want.Rate = 7
	assert.Equal(t, want, opts.load)
	assert.LessOrEqual(t, 2*(quick.WarmUp+quick.Steady+quick.Burst+quick.Idle), 10*time.Second)
	assert.Less(t, opts.config.VisitorTTL, quick.Idle)
	assert.Less(t, usualConfig.VisitorTTL, usual.Idle)
}

func TestChart(t *testing.T) {
	none := made(useSync)
	none.Watched = nil
	for _, theirs := range []result{made(useSync), none} {
		svg := filepath.Join(t.TempDir(), "server.svg")
		require.NoError(t, writeChart(svg, tiny, []result{made(usePool), theirs}))
		text := charttest.Read(t, svg)
		for _, want := range []string{"this pool", "sync.Pool", "burst", "500 sessions, and 700 more"} {
			assert.Contains(t, text, want)
		}
	}
}

// A sample shows what a server holds.
func TestSample(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		r.ask(t, "POST", "/sessions?kind=member&first=0&count=10000", "")
		s := r.service.sample()
		assert.Equal(t, 10000, s.Sources[1].Live)
		assert.EqualValues(t, 10000*s.Sources[1].SlotSize, s.Memory.Live)
		assert.GreaterOrEqual(t, s.Sources[1].SlotSize, 500)
		assert.Positive(t, s.Sources[1].SlowGets)
		assert.LessOrEqual(t, s.Sources[1].SlowGets, s.Sources[1].Gets)
		assert.EqualValues(t, 1, s.Answered)
		if v == useSync {
			assert.EqualValues(t, 10000, s.Sources[1].SlowGets, "every session was allocated")
		} else {
			assert.Positive(t, s.Memory.Free)
			eventually(t, func() bool { // pages may be released between the two readings
				m := r.service.sample().Memory
				return m.Live+m.Free+m.Warm == pool.ReadMemory().Committed
			}, "the parts must add up")
		}
		if runtime.GOOS == "linux" {
			assert.True(t, s.Resident.Known)
			assert.Greater(t, s.Resident.Peak, s.Memory.Live)
		}
		before := s.Collections
		runtime.GC()
		assert.Positive(t, r.service.sample().Collections.Since(before).Cycles)
	}
}

// Warm memory includes empty pages that a pool keeps, and pages that it has released.
func TestWarm(t *testing.T) {
	if !pool.New[int]().Stats().OffHeap {
		t.Skip("slots are on the Go heap in this build")
	}
	fillAndEmpty := func() pooled[[512]byte] {
		p := newPooled[[512]byte]("warm", 0)
		var xs [1000]*[512]byte
		p.GetBatch(xs[:])
		p.PutBatch(xs[:])
		return p
	}
	eventually(t, func() bool { // on a slow machine, pages may already be purged
		p := fillAndEmpty()
		u := p.usage()
		mapped := p.Stats().MappedBytes
		require.NoError(t, p.close())
		return u.Live == 0 && u.WarmBytes >= 1000*512/2 && u.WarmBytes+u.FreeBytes == mapped
	}, "pages that a pool keeps")
	eventually(t, func() bool {
		require.NoError(t, fillAndEmpty().close())
		return readMemory(usePool, nil).Warm >= 1000*512
	}, "pages that a pool has released")
}

// The memory of ended sessions is warm first, and then purged.
func TestMemoryComesBack(t *testing.T) {
	if !pool.New[int]().Stats().OffHeap {
		t.Skip("slots are on the Go heap in this build")
	}
	c := testConfig(usePool)
	c.VisitorTTL = time.Millisecond
	r := start(t, c)
	before := r.service.sample().Memory.Purged
	r.ask(t, "POST", "/sessions?kind=visitor&first=0&count=10000", "")
	eventually(t, func() bool { return r.liveSessions() == 0 }, "all sessions must expire")
	eventually(t, func() bool {
		m := r.service.sample().Memory
		return m.Warm == 0 && m.Purged-before >= 10000*500
	}, "their memory must go back to the system")
}

func TestTooManyPages(t *testing.T) {
	r := start(t, testConfig(usePool))
	for range maxListeners {
		resp, err := http.Get("http://" + r.addresses().Ops + "/events")
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	status, _, _ := ask(t, "GET", "http://"+r.addresses().Ops+"/events", "")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	eventually(t, func() bool { return r.ops.listeners.Load() == maxListeners }, "a refused listener must not be counted")
}
