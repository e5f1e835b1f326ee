package migrating_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/internal/migrating"
)

func TestAfter(t *testing.T) {
	migrating.CheckCopyAll(t, copyAll)
	migrating.CheckJobs(t, newJob, (*job).finish)
	migrating.CheckPick(t, pick)
	migrating.CheckMessages(t, newMessage, (*message).free, func(m *message) migrating.Message { return migrating.Message{m.topic, m.header, &m.body} })
	migrating.CheckBuffers(t, buffers.Get, freeBuffer, maxKept)
	migrating.CheckChunks(t, chunks{}, chunkSize)
	migrating.CheckWriteLines(t, writeLines)
	assert.Zero(t, lines.Stats().Live)
	migrating.CheckGreet(t, greet)
	migrating.CheckPackets(t, newPacket, (*packet).release, func(p *packet) []byte { return p.data[:p.n] })
	migrating.CheckCompress(t, compress)
	migrating.CheckSum(t, sumOf)
	migrating.CheckTree(t, insert, drop, keysOf)

	peer := netip.MustParseAddrPort("192.0.2.1:80")
	r := begin(1, peer)
	assert.True(t, r.setBody([]byte("hello")))
	assert.Equal(t, "hello", string(r.body[:r.bodyLen]))
	assert.Equal(t, peer, r.from())
	assert.Equal(t, "/orders", routes[r.route])
	assert.WithinDuration(t, time.Now(), time.Unix(0, r.received), time.Minute)
	assert.False(t, r.setBody(make([]byte, 2000)))
	requests.Put(r)

	assert.False(t, reportUnput(os.Stderr))
}

func keysOf(r pool.Ref[node]) []int64 {
	n := nodes.Deref(r)
	if n == nil {
		return nil
	}
	return append(append(keysOf(n.left), n.key), keysOf(n.right)...)
}

// What varies in the outputs that the document shows: addresses, lines, and sizes.
var varies = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`0x[0-9a-f]+`), "0x0"},
	{regexp.MustCompile(`\S*\bmigrating_test\.`), "main."},
	{regexp.MustCompile(`\S+\.go:\d+`), "main.go:1"},
	{regexp.MustCompile(`\d+ bytes`), "n bytes"},
	{regexp.MustCompile(`(?m)^\d+ slots`), "n slots"}, // a stack can come more than once
	{regexp.MustCompile(`\t+`), "\t"},
}

func withoutWhatVaries(s string) string {
	for _, v := range varies {
		s = v.re.ReplaceAllString(s, v.with)
	}
	return s
}

// The document shows what its code writes.
func TestOutputs(t *testing.T) {
	_, outputs := migrating.ReadDocument(t)
	require.Len(t, outputs, 2)

	var report bytes.Buffer
	for range 3 {
		require.ErrorIs(t, run(""), errNoName)
	}
	require.NoError(t, run("a"))
	require.True(t, reportUnput(&report))
	for r := range tasks.All() {
		tasks.PutRef(r)
	}
	want, ok := strings.CutSuffix(outputs[0], "...\n")
	require.True(t, ok)
	raw := report.String()
	got := withoutWhatVaries(raw)
	want = withoutWhatVaries(want)
	assert.True(t, strings.HasPrefix(got, want), "%s\nis not how this begins:\n%s", want, raw)

	fits := fmt.Sprintf("%v\n%v\n", pool.CheckType[visit](), pool.CheckType[[1 << 27]byte]())
	assert.Equal(t, withoutWhatVaries(outputs[1]), withoutWhatVaries(fits))
	_ = visit{id: 1, at: time.Now(), paths: nil}
	whatFits()
}

func TestLimits(t *testing.T) {
	defer pool.SetProcessLimit(pool.SetProcessLimit(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	setLimits()
	assert.Equal(t, int64(2<<30), pool.SetProcessLimit(-1))
	assert.Equal(t, int64(3<<29), debug.SetMemoryLimit(-1))
}

// What the document says of a weak pointer to a slot of the Go heap.
func TestWeakPointerFollowsPage(t *testing.T) {
	p := pool.New[job](pool.WithGoHeap())
	debugBuild := false
	w := func() weak.Pointer[job] {
		j := p.Get()
		debugBuild = len(pool.Leaks()) > 0
		p.Put(j)
		return weak.Make(j)
	}()
	runtime.GC()
	assert.True(t, w.Value() != nil, "it was put, but the page is there")
	if debugBuild {
		return // it has pointers to slots that were put
	}
	p.Trim()
	runtime.GC()
	assert.Nil(t, w.Value(), "the page is gone")
	runtime.KeepAlive(p)
}
