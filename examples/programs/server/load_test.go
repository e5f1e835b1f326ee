package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/process"
)

var tiny = workload{
	Seed: 1, Connections: 4, Members: 500, Visitors: 700, Rate: 400,
	WarmUp: 10 * time.Millisecond, Steady: 100 * time.Millisecond, Burst: 100 * time.Millisecond, Idle: 200 * time.Millisecond,
}

// fake starts a server with the given handler, and connects a client to it.
func fake(t *testing.T, w workload, handler http.HandlerFunc) *client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c, err := connect(t.Context(), s.Listener.Addr().String(), w)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.close()) })
	return c
}

// The number and the contents of the requests do not depend on the server. Each session belongs to
// one connection.
func TestLoadIsDeterministic(t *testing.T) {
	record := func(seed uint64, status int) (map[string]string, tally) {
		var mu sync.Mutex
		requests := make(map[string]string) // by session: the sender, and what it sent
		w := tiny
		w.Seed = seed
		c := fake(t, w, func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			from, what, _ := strings.Cut(requests[r.URL.Path], "\n")
			if from != "" && from != r.RemoteAddr {
				t.Errorf("%s used by %s and by %s", r.URL.Path, from, r.RemoteAddr)
			}
			requests[r.URL.Path] = r.RemoteAddr + "\n" + what + string(body)
			mu.Unlock()
			rw.WriteHeader(status)
			fmt.Fprintf(rw, "%s %s", r.URL.Path, body)
		})
		total, err := c.steady(t.Context(), w.Rate, w.Steady)
		require.NoError(t, err)
		for id, text := range requests {
			_, requests[id], _ = strings.Cut(text, "\n") // addresses differ
		}
		return requests, total
	}
	requests, total := record(1, 200)
	assert.EqualValues(t, 40, total.Requests)
	assert.Equal(t, 40, total.Latency.Count())
	assert.Zero(t, total.Failed+total.Refused+total.Opened)
	again, total2 := record(1, 200)
	assert.Equal(t, requests, again)
	assert.Equal(t, total.Checksum, total2.Checksum)
	other, total3 := record(2, 200)
	assert.NotEqual(t, requests, other)
	assert.NotEqual(t, total.Checksum, total3.Checksum)
	_, refused := record(1, 503)
	assert.EqualValues(t, 40, refused.Refused)
	assert.Zero(t, refused.Failed)
	assert.NotEqual(t, total.Checksum, refused.Checksum, "the checksum must include the status")
	_, failed := record(1, 404)
	assert.EqualValues(t, 40, failed.Failed)
}

// The checksum detects a single answer that differs by one byte.
func TestChecksum(t *testing.T) {
	run := func(spoil int) uint64 {
		var mu sync.Mutex
		n := 0
		w := tiny
		w.Connections = 1
		c := fake(t, w, func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n++
			if n == spoil {
				fmt.Fprint(rw, "answers")
				return
			}
			fmt.Fprint(rw, "answer")
		})
		total, err := c.steady(t.Context(), w.Rate, w.Steady)
		require.NoError(t, err)
		return total.Checksum
	}
	good := run(0)
	assert.Equal(t, good, run(0))
	seen := map[uint64]bool{good: true}
	for _, spoil := range []int{1, 2, 20, 40} {
		seen[run(spoil)] = true
	}
	assert.Len(t, seen, 5)
}

// If a server stops, all requests that are due in that time are late, not just the one that it was
// busy with.
func TestLatencyCountsFromTheDueTime(t *testing.T) {
	const stop = 200 * time.Millisecond
	w := tiny
	w.Connections, w.Members, w.Rate = 1, 1, 1000
	var first sync.Once
	c := fake(t, w, func(http.ResponseWriter, *http.Request) { first.Do(func() { time.Sleep(stop) }) })
	total, err := c.steady(t.Context(), w.Rate, stop/2)
	require.NoError(t, err)
	require.EqualValues(t, 100, total.Requests)
	// The first answer comes after 200 ms at the earliest. By then all 100 requests were due.
	assert.GreaterOrEqual(t, total.Latency.Quantile(0.02), stop/2)
	assert.GreaterOrEqual(t, total.Latency.Quantile(1), stop)
	assert.GreaterOrEqual(t, total.Late.Quantile(0.02), stop/2, "all requests but the first had to wait for the first")
}

// Every session of a member or visitor is opened exactly once, by any of the connections.
func TestOpens(t *testing.T) {
	w := tiny
	w.Members, w.Visitors = 2*openBatch+1, 3*openBatch-1
	var mu sync.Mutex
	opened := make(map[string]int)
	trades := 0
	c := fake(t, w, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/sessions" {
			opened[r.URL.RawQuery]++
		} else {
			trades++
		}
	})
	total, err := c.openMembers(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, total.Opened)
	assert.Equal(t, map[string]int{
		"kind=member&first=0&count=250": 1, "kind=member&first=250&count=250": 1, "kind=member&first=500&count=1": 1,
	}, opened)
	clear(opened)
	total, err = c.burst(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, total.Opened)
	assert.EqualValues(t, 80, total.Requests, "the burst has twice the rate")
	assert.Equal(t, 80, total.Latency.Count(), "the latency must not include opening sessions")
	assert.Equal(t, 80, trades)
	assert.Equal(t, map[string]int{
		"kind=visitor&first=1099511627776&count=250": 1, "kind=visitor&first=1099511628026&count=250": 1, "kind=visitor&first=1099511628276&count=249": 1,
	}, opened)
}

func TestServerGone(t *testing.T) {
	c := fake(t, tiny, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := c.steady(t.Context(), tiny.Rate, tiny.Steady)
	assert.ErrorContains(t, err, "trade: the server has closed the connection")
}

// made returns a result that passes the check.
func made(v variant) result {
	r := result{Variant: v, Steady: tally{Requests: 40, Checksum: 5}, Burst: tally{Requests: 80, Checksum: 6}, Open: tally{Checksum: 7}}
	r.IdleEnd.Sources[1].Live = tiny.Members
	r.IdleEnd.Resident = process.Resident{Now: 10 * mib, Peak: 20 * mib, Known: true}
	r.Watched = []point{{0, 10 * mib, 500}, {time.Second, 20 * mib, 900}}
	for i := range 40 {
		r.Steady.Latency.Record(time.Duration(i) * time.Millisecond)
	}
	return r
}

// This is what the program is for: check must reject a service that loses slots or gives different
// answers, and counters that do not count.
func TestCheck(t *testing.T) {
	assert.NoError(t, check(tiny, []result{made(usePool), made(useSync)}))
	for _, test := range []struct {
		want  string
		spoil func(*result)
	}{
		{"119 trades were answered, want 120", func(r *result) { r.Steady.Requests-- }},
		{"0 trades were answered", func(r *result) { r.Steady, r.Burst = tally{Checksum: 5}, tally{Checksum: 6} }},
		{"1 requests got an answer other than 200 or 503", func(r *result) { r.Burst.Failed = 1 }},
		{"2 requests got an answer other than 200 or 503", func(r *result) { r.Open.Failed = 2 }},
		{"501 sessions are left, want the 500 of members", func(r *result) { r.IdleEnd.Sources[1].Live++ }},
		{"1 requests have not put back their scratch slot", func(r *result) { r.IdleEnd.Sources[0].Live = 1 }},
		{"the answers differ from those of this pool: checksum 0000000000000013, want 0000000000000012", func(r *result) { r.Burst.Checksum++ }},
	} {
		bad := made(useSync)
		test.spoil(&bad)
		assert.ErrorContains(t, check(tiny, []result{made(usePool), bad}), "sync.Pool: "+test.want)
	}
	refusing := made(usePool)
	refusing.Burst.Refused, refusing.Burst.Checksum, refusing.IdleEnd.Sources[1].Live = 1, 9, 3
	assert.NoError(t, check(tiny, []result{refusing, made(useSync)}), "answers cannot be compared after a refusal")
}
