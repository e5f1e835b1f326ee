package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

var tiny = work{requests: 3000, goroutines: 5, warm: true}

func runWith(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTable(t *testing.T) {
	code, stdout, stderr := runWith(t.Context(), "-quick", "-requests", "3000", "-goroutines", "5", "-idle", "0s")
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, stderr)
	assert.Contains(t, stdout, "3000 requests over TCP from 5 clients")
	for _, row := range []string{
		`requests/s +\d+ +\d+ +\d+`,
		`round trip, p50 +\S+s +\S+s +\S+s`,
		`  p99 +\S+s +\S+s +\S+s`,
		`allocations per request +[\d.]+ +[\d.]+ +[\d.]+`,
		`  bytes +[\d.]+ +[\d.]+ +[\d.]+`,
		`collections +\d+ +\d+ +\d+`,
		`request objects made +\d+ +\d+ +\d+`,
		`heap after the load( +-?\d+ KiB){3}`,
		`after 5 collections in 0s( +-?\d+ KiB){3}`,
		`  objects still warm +\d of 5 +0 of 5 +0 of 5`,
		`then a leak: 9000 requests, 9 not put`,
		`  counted as in use \(Stats.Live\) +\d +- +-`,
		`  counted as lost \(Stats.Lost\) +\d +- +-`,
		`9 slots, \d+ bytes of requests`,
		`  \(\*server\).serveRequest +server.go:\d+`,
	} {
		assert.Regexp(t, "(?m)^"+row+"$", stdout)
	}
	for line := range strings.Lines(stdout) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
	}
}

// Plain new makes an object for each request. If the counts did not show that, the small counts of
// the pool would mean nothing.
func TestCountsAreAlive(t *testing.T) {
	results, err := measureAll(t.Context(), tiny)
	require.NoError(t, err)
	require.Len(t, results, len(sides))
	pooled, plain := results[0], results[2]
	assert.GreaterOrEqual(t, plain.load.made, int64(tiny.requests))
	assert.GreaterOrEqual(t, plain.load.mallocs, uint64(tiny.requests))
	assert.Less(t, pooled.load.made, int64(tiny.requests))
	assert.Equal(t, tiny.leaks(), pooled.leak.live+int(pooled.leak.lost))
}

// A dirtyStore leaves in its objects what the last request has left.
type dirtyStore struct {
	plainStore
	r chan *request
}

func (s *dirtyStore) get() *request  { return <-s.r }
func (s *dirtyStore) put(r *request) { s.r <- r }

func newDirtyStore() store {
	s := &dirtyStore{r: make(chan *request, tiny.goroutines)}
	for range tiny.goroutines {
		s.r <- s.plainStore.get()
	}
	return s
}

func TestWrongAnswer(t *testing.T) {
	defer func(old []side) { sides = old }(sides)
	sides = append(sides[:1:1], side{"dirty", func(work) store { return newDirtyStore() }, newDirtyStore})
	code, stdout, stderr := runWith(t.Context(), "-requests", "3000", "-goroutines", "5", "-idle", "0s")
	assert.Equal(t, command.ExitFailed, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "dirty: wrong answer to")
}

func TestCheck(t *testing.T) {
	w := work{requests: 700}
	results := []result{{side: "a", leak: leak{counted: true, live: 1, lost: 1}}, {side: "b"}}
	require.NoError(t, check(w, [][]load{{{hash: 1}}, {{hash: 1}}}, results))
	assert.ErrorContains(t, check(w, [][]load{{{hash: 1}}, {{hash: 1}, {hash: 2}}}, results), "b has other answers than a")
	results[0].leak.lost = 0
	assert.ErrorContains(t, check(w, [][]load{{{hash: 1}}, {{hash: 1}}}, results), "a has 1 requests live or lost, and 2 were not put")
}

func TestRequest(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"7 sum user=u1 trace=ab : 1 2 -5\n", "7 ok -2 user=u1 headers=2 args=3\n"},
		{"8 range user=u1 : 9 2 4\n", "8 ok 7 user=u1 headers=1 args=3\n"},
		{"9 median user=u1 tenant=t1 trace=ab : 9 2 4\n", "9 ok 4 user=u1 headers=3 args=3\n"},
		{"10 sum trace=ab : 1\n", "10 error no user\n"},
		{"11 sum user=u1 : one\n", "11 error syntax\n"},
		{"12 sum user=u1 :\n", "12 error syntax\n"},
		{"13 divide user=u1 : 1\n", "13 error syntax\n"},
		{"\n", "0 error syntax\n"},
	} {
		var r request
		prepare(&r)
		if err := r.parse([]byte(test.line)); err != nil {
			r.refuse(err)
		} else {
			r.answer()
		}
		assert.Equal(t, test.want, string(r.reply), test.line)
		reset(&r)
		assert.Empty(t, r.header)
		assert.Empty(t, r.args)
		assert.Empty(t, r.scratch)
		assert.Empty(t, r.line)
		assert.Empty(t, r.reply)
		assert.Zero(t, r.total)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, stdout, stderr := runWith(ctx, "-quick")
	assert.Equal(t, command.ExitInterrupted, code)
	assert.Empty(t, stdout)
	assert.Equal(t, "rpc: interrupted, no results\n", stderr)
}

func TestFlags(t *testing.T) {
	w, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, usual, w)

	w, err = parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, quick, w)

	w, err = parse([]string{"-goroutines", "9", "-quick", "-warm=false"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, work{requests: quick.requests, goroutines: 9, idle: quick.idle}, w)
	assert.Zero(t, w.warmPages())

	_, err = parse([]string{"-h"}, io.Discard)
	assert.ErrorIs(t, err, flag.ErrHelp)
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-requests", [][]string{
		{"-requests", "0", "-requests must be from 1 to 1000000000, not 0"},
		{"-requests", "many", `invalid value "many" for flag -requests`},
		{"-goroutines", "0", "-goroutines must be from 1 to 1000, not 0"},
		{"-goroutines", "1001", "-goroutines must be from 1 to 1000, not 1001"},
		{"-idle", "-1s", "-idle must not be negative: -1s"},
	})
}
