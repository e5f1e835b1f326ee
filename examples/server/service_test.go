package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool"
)

var variants = []variant{usePool, useSync}

// testConfig is of a server that a test can wait for.
func testConfig(v variant) config {
	c := usualConfig
	c.Variant, c.Sample = v, 20*time.Millisecond
	return c
}

// A running server, and what ends it.
type running struct {
	*server
	stop context.CancelFunc
	done chan error
}

// start runs a server until the test ends, which must then find every slot back.
func start(t *testing.T, c config, prepare ...func(*server)) *running {
	t.Helper()
	s, err := newServer(c)
	require.NoError(t, err)
	for _, f := range prepare {
		f(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, cancel, make(chan error, 1)}
	go func() { r.done <- s.run(ctx) }()
	t.Cleanup(func() { assert.NoError(t, r.end()) })
	return r
}

// end ends the server, once, and returns what run did.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	r.done <- nil // for the next one who asks
	return err
}

// waitTime is how long a test waits for what must come.
const waitTime = 20 * time.Second

func eventually(t *testing.T, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, waitTime, time.Millisecond, what)
}

// ask sends a request to the service, and returns status, body and header.
func (r *running) ask(t *testing.T, method, path, body string) (int, string, http.Header) {
	t.Helper()
	return ask(t, method, "http://"+r.addresses().Service+path, body)
}

func ask(t *testing.T, method, url, body string) (int, string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(text), resp.Header
}

func (r *running) liveScratch() int  { return r.service.scratch.usage().Live }
func (r *running) liveSessions() int { return r.service.sessions.usage().Live }

// half begins a request and keeps the rest of its body back: the handler has a slot, and
// waits. rest sends it.
func (r *running) half(t *testing.T) (conn net.Conn, rest func() (int, string)) {
	t.Helper()
	conn, err := net.Dial("tcp", r.addresses().Service)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitTime)))
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprint(conn, "POST /sessions/1/trades HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nB 1")
	require.NoError(t, err)
	return conn, func() (int, string) {
		_, err := fmt.Fprint(conn, "7 30\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
}

// Both variants give the same answers to whatever is asked.
func TestSameAnswers(t *testing.T) {
	ours, theirs := start(t, testConfig(usePool)), start(t, testConfig(useSync))
	statuses := make(map[int]int)
	both := func(method, path, body string) string {
		t.Helper()
		status, answer, _ := ours.ask(t, method, path, body)
		status2, answer2, _ := theirs.ask(t, method, path, body)
		assert.Equal(t, status2, status, "%s %s %q", method, path, body)
		assert.Equal(t, answer2, answer, "%s %s %q", method, path, body)
		statuses[status]++
		return answer
	}
	assert.Equal(t, "opened 50\n", both("POST", "/sessions?kind=member&first=0&count=50", ""))
	assert.Equal(t, "opened 10\n", both("POST", "/sessions?kind=visitor&first=40&count=20", ""), "40 to 49 were open")
	k := &connection{rng: rand.New(rand.NewPCG(1, 2))}
	for range 300 {
		id := uint64(k.rng.IntN(62)) // 60 and 61 are nobody's
		k.makeTrade(id)
		both("POST", fmt.Sprintf("/sessions/%d/trades", id), string(k.body))
		if k.rng.IntN(20) == 0 {
			both("DELETE", fmt.Sprintf("/sessions/%d", k.rng.IntN(62)), "")
		}
	}
	for _, body := range []string{"", "\n", "B 1 0\n", "B 4096 1\n", "B 1 10001\n", "X 1 1\n", "B 1\n", "B  1\n", "B 1 1 1\n", "B -1 1\n",
		"B 99999999999999999999 1\n", strings.Repeat("B 1 1\n", maxLegs+1)} {
		both("POST", "/sessions/1/trades", body)
	}
	for _, path := range []string{"/sessions/x/trades", "/sessions?kind=king&first=1&count=1", "/sessions?kind=member&first=1&count=10001",
		"/sessions?kind=member&first=-1&count=1", "/sessions?kind=member&count=1"} {
		both("POST", path, "B 1 1\n")
	}
	both("POST", "/sessions/1/trades", strings.Repeat("B 1 1\n", 500))
	for _, want := range []int{200, 204, 400, 404, 413} {
		assert.Positive(t, statuses[want], "%d did not come up", want)
	}
	assert.Equal(t, 17, statuses[400])
	assert.Equal(t, ours.service.answered.Load(), theirs.service.answered.Load())
	assert.Positive(t, ours.service.answered.Load())
}

// The session remembers what was traded in it.
func TestTrade(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		r.ask(t, "POST", "/sessions?kind=member&first=7&count=1", "")
		_, buy, _ := r.ask(t, "POST", "/sessions/7/trades", "B 5 1")
		var cost int64
		_, err := fmt.Sscanf(buy, "fill 5 1 for %d\nsession 7 request 1 cash", &cost)
		require.NoError(t, err, buy)
		assert.Contains(t, buy, fmt.Sprintf("session 7 request 1 cash %d exposure 6\n", -cost))
		_, sell, _ := r.ask(t, "POST", "/sessions/7/trades", "S 5 1\n")
		var back, cash int64
		_, err = fmt.Sscanf(sell, "fill 5 -1 for %d\nsession 7 request 2 cash %d exposure 0", &back, &cash)
		require.NoError(t, err, sell)
		assert.Equal(t, -cost-back, cash)
		assert.Negative(t, cash, "who buys and sells pays the spread")
		r.ask(t, "DELETE", "/sessions/7", "")
		r.ask(t, "POST", "/sessions?kind=member&first=7&count=1", "")
		_, again, _ := r.ask(t, "POST", "/sessions/7/trades", "B 5 1")
		assert.Equal(t, buy, again, "a new session knows nothing of the old one")
	}
}

// A reply fits, and stays in the slot.
func TestLongestReply(t *testing.T) {
	var sc scratch
	sc.n = maxLegs
	sc.requests, sc.cash, sc.exposure = 1<<64-1, -1<<63, -1<<63
	for i := range sc.fills {
		sc.fills[i] = fill{instruments - 1, -maxQuantity, -maxQuantity * (100_000 + 5*depth)}
	}
	reply := sc.write(1<<64 - 1)
	assert.Same(t, &sc.reply[0], &reply[0])
	assert.Less(t, len(reply), len(sc.reply))
}

// At the limit of its scratch the service answers 503, and goes on as soon as a
// request is done.
func TestScratchLimit(t *testing.T) {
	c := testConfig(usePool)
	c.ScratchLimit = 64 << 10
	r := start(t, c)
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
	most := (64 << 10) / r.service.scratch.usage().SlotSize
	var rests []func() (int, string)
	for range most {
		_, rest := r.half(t)
		rests = append(rests, rest)
	}
	eventually(t, func() bool { return r.liveScratch() == most }, "all slots are out")
	status, text, header := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "memory limit reached, try again\n", text)
	assert.Equal(t, "1", header.Get("Retry-After"))
	assert.EqualValues(t, 1, r.service.refused.Load())
	assert.Positive(t, r.service.scratch.usage().FailedGets)

	status, text = rests[0]()
	assert.Equal(t, http.StatusOK, status, text)
	eventually(t, func() bool { return r.liveScratch() == most-1 }, "one slot is back")
	status, text, _ = r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Equal(t, http.StatusOK, status, text)
	for _, rest := range rests[1:] {
		status, _ := rest()
		assert.Equal(t, http.StatusOK, status)
	}
}

// The same with sessions, which make room when they end.
func TestSessionLimit(t *testing.T) {
	c := testConfig(usePool)
	c.SessionLimit = 64 << 10
	r := start(t, c)
	open := func(first, count int) (int, string) {
		status, text, _ := r.ask(t, "POST", fmt.Sprintf("/sessions?kind=member&first=%d&count=%d", first, count), "")
		return status, text
	}
	status, _ := open(0, 10_000)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	most := r.liveSessions()
	assert.Equal(t, (64<<10)/r.service.sessions.usage().SlotSize, most, "what fitted is open")
	for id := range most {
		status, _, _ := r.ask(t, "DELETE", fmt.Sprintf("/sessions/%d", id), "")
		require.Equal(t, http.StatusNoContent, status, id)
	}
	status, text := open(5000, 100)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "opened 100\n", text)
}

// A client that goes in the middle of a request leaves no slot out.
func TestAbort(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		for range 5 {
			conn, _ := r.half(t)
			eventually(t, func() bool { return r.liveScratch() == 1 }, "the request has a slot")
			require.NoError(t, conn.Close())
			eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot is back")
		}
		assert.Zero(t, r.service.answered.Load())
	}
}

// An upload in chunks that breaks off is no shorter request.
func TestAbortedChunks(t *testing.T) {
	r := start(t, testConfig(usePool))
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
	conn, err := net.Dial("tcp", r.addresses().Service)
	require.NoError(t, err)
	_, err = fmt.Fprint(conn, "POST /sessions/1/trades HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nB 1 1\n\r\n")
	require.NoError(t, err)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request has a slot")
	require.NoError(t, conn.Close())
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot is back")
	_, text, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Contains(t, text, "session 1 request 1 ", "it was not booked")
}

// Nor is a body that ends early, by a client that still listens, or that is no chunk: it gets an
// answer that says so.
func TestBrokenBody(t *testing.T) {
	r := start(t, testConfig(usePool))
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
	for _, header := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", r.addresses().Service)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(waitTime)))
		_, err = fmt.Fprintf(conn, "POST /sessions/1/trades HTTP/1.1\r\nHost: test\r\n%s\r\n\r\nB 1 1\n", header)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, resp.StatusCode, header)
		_ = resp.Body.Close()
		require.NoError(t, conn.Close())
	}
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slots are back")
	_, text, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Contains(t, text, "session 1 request 1 ", "nothing was booked")
}

// A client that sends only a part of a request does not keep the connection.
func TestStalledRequest(t *testing.T) {
	r := start(t, testConfig(usePool), func(s *server) { s.api.ReadTimeout = 50 * time.Millisecond })
	for _, path := range []string{"POST /sessions/1/trades", "POST /sessions?kind=member&first=1&count=1", "DELETE /sessions/5", "POST /nowhere"} {
		conn, err := net.Dial("tcp", r.addresses().Service)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(waitTime)))
		_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nB 1 1\n", path)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, conn)
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, path)
		_ = conn.Close()
	}
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot is back")
}

// A handler that panics leaves no slot out, and no lock held.
func TestPanic(t *testing.T) {
	for _, v := range variants {
		panics := true
		r := start(t, testConfig(v), func(s *server) {
			s.api.ErrorLog = discard
			s.service.whileOut = func() {
				if panics {
					panic("as a test wants")
				}
			}
		})
		r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
		resp, err := http.Post("http://"+r.addresses().Service+"/sessions/1/trades", "", strings.NewReader("B 1 1\n"))
		if err == nil {
			_ = resp.Body.Close()
		}
		assert.ErrorContains(t, err, "EOF")
		eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot is back")
		assert.EqualValues(t, 1, r.service.scratch.usage().Gets)
		panics = false
		status, _, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
		assert.Equal(t, http.StatusOK, status)
	}
}

// Who is in a request when the server shuts down gets an answer, if it does not take
// longer than the time of grace. In the end both pools are closed.
func TestShutdownWaits(t *testing.T) {
	c := testConfig(usePool)
	c.Grace = waitTime
	r := start(t, c)
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1000", "")
	_, rest := r.half(t)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request has a slot")
	r.stop()
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", r.addresses().Service)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, "the server does not listen any more")
	status, text := rest()
	assert.Equal(t, http.StatusOK, status, text)
	assert.Contains(t, text, "session 1 request 1 ")
	require.NoError(t, r.end())
	assertClosed(t, r)
}

func assertClosed(t *testing.T, r *running) {
	t.Helper()
	assert.Zero(t, r.liveScratch())
	assert.Zero(t, r.liveSessions())
	assert.Positive(t, r.service.sessions.usage().Gets, "it was used")
	if r.service.variant == usePool {
		assert.ErrorIs(t, r.service.scratch.close(), pool.ErrClosed, "it is closed already")
		assert.ErrorIs(t, r.service.sessions.close(), pool.ErrClosed, "it is closed already")
	}
}

// Who takes longer is cut off, and has put back its slot before the pools are closed. So
// have the pages that are open.
func TestShutdownCutsOff(t *testing.T) {
	for _, v := range variants {
		c := testConfig(v)
		c.Grace = 10 * time.Millisecond
		r := start(t, c)
		r.ask(t, "POST", "/sessions?kind=visitor&first=1&count=1000", "")
		conn, _ := r.half(t)
		events, err := http.Get("http://" + r.addresses().Ops + "/events")
		require.NoError(t, err)
		defer events.Body.Close()
		eventually(t, func() bool { return r.liveScratch() == 1 }, "the request has a slot")
		require.NoError(t, r.end())
		assertClosed(t, r)
		_, err = bufio.NewReader(conn).ReadByte()
		assert.Error(t, err, "there is no answer")
		_, err = io.Copy(io.Discard, events.Body)
		assert.NoError(t, err, "a page is told that this is the end")
	}
}

// Not even a handler that goes on after its connection was closed has its pools closed
// under it.
func TestShutdownWaitsForHandlers(t *testing.T) {
	c := testConfig(usePool)
	c.Grace = time.Millisecond
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	defer goOn()
	r := start(t, c, func(s *server) { s.service.whileOut = func() { <-release } })
	r.half(t)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request has a slot")
	r.stop()
	eventually(t, func() bool {
		free := r.service.gate.TryRLock()
		if free {
			r.service.gate.RUnlock()
		}
		return !free
	}, "the service waits to be closed")
	select {
	case err := <-r.done:
		t.Errorf("run has returned %v", err)
		r.done <- err
	default:
	}
	goOn()
	require.NoError(t, r.end())
	assert.ErrorIs(t, r.service.scratch.close(), pool.ErrClosed, "it is closed already")
}

// What TestShutdown relies on: a slot that nobody has put back is told.
func TestShutdownTellsLeaks(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		sc, err := r.service.scratch.get()
		require.NoError(t, err)
		assert.ErrorIs(t, r.end(), pool.ErrInUse)
		r.service.scratch.put(sc)
		require.NoError(t, r.service.scratch.close()) // or it would be in the metrics of later tests
	}
}

// A request that comes after the last one is refused.
func TestAfterClose(t *testing.T) {
	r := start(t, testConfig(usePool))
	require.NoError(t, r.end())
	w := &recorded{header: make(http.Header)}
	req, err := http.NewRequest(http.MethodPost, "/sessions/1/trades", strings.NewReader("B 1 1\n"))
	require.NoError(t, err)
	r.service.handler().ServeHTTP(w, req)
	assert.Equal(t, http.StatusServiceUnavailable, w.status)
	assert.Equal(t, "1", w.header.Get("Retry-After"))
}

type recorded struct {
	header http.Header
	status int
}

func (w *recorded) Header() http.Header         { return w.header }
func (w *recorded) WriteHeader(status int)      { w.status = status }
func (w *recorded) Write(b []byte) (int, error) { return len(b), nil }

func TestNoAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c := testConfig(usePool)
	c.OpsAddress = taken.Addr().String()
	_, err = newServer(c)
	assert.ErrorContains(t, err, "in use")
}

// Sessions go when they have not been used for their kind's time, by the server itself.
func TestVisitorsExpire(t *testing.T) {
	for _, v := range variants {
		c := testConfig(v)
		c.VisitorTTL = time.Millisecond
		r := start(t, c)
		r.ask(t, "POST", "/sessions?kind=member&first=0&count=100", "")
		r.ask(t, "POST", "/sessions?kind=visitor&first=100&count=5000", "")
		eventually(t, func() bool { return r.liveSessions() == 100 }, "only members are left")
		status, _, _ := r.ask(t, "POST", "/sessions/100/trades", "B 1 1\n")
		assert.Equal(t, http.StatusNotFound, status)
		status, _, _ = r.ask(t, "POST", "/sessions/99/trades", "B 1 1\n")
		assert.Equal(t, http.StatusOK, status)
	}
}

func TestMetrics(t *testing.T) {
	r := start(t, testConfig(usePool))
	r.ask(t, "POST", "/sessions?kind=member&first=0&count=123", "")
	r.ask(t, "POST", "/sessions/5/trades", "B 1 1\n")
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot is back")
	status, text, _ := ask(t, "GET", "http://"+r.addresses().Ops+"/metrics", "")
	require.Equal(t, http.StatusOK, status)
	for _, want := range []string{
		`warmpage_pool_live_slots{pool="sessions",type="main.pooledSession"} 123` + "\n",
		`warmpage_pool_live_slots{pool="scratch",type="main.scratch"} 0` + "\n",
		`warmpage_pool_gets_total{pool="scratch",type="main.scratch"} 1` + "\n",
		`warmpage_pool_limit_bytes{pool="scratch",type="main.scratch"} 6.7108864e+07` + "\n",
		"warmpage_memory_committed_bytes ",
		"go_gc_duration_seconds",
	} {
		assert.True(t, strings.Contains(text, want), want) //nolint:testifylint // the whole would fill screens
	}
}

// The profile says who holds the slots that are in use.
func TestPoolLive(t *testing.T) {
	r := start(t, testConfig(usePool))
	for first := 0; first < 100_000; first += maxOpen { // 50 MB: some dozen samples
		r.ask(t, "POST", fmt.Sprintf("/sessions?kind=member&first=%d&count=%d", first, maxOpen), "")
	}
	status, profile, _ := ask(t, "GET", "http://"+r.addresses().Ops+"/debug/pprof/pool_live", "")
	require.Equal(t, http.StatusOK, status)
	file := filepath.Join(t.TempDir(), "pool_live")
	require.NoError(t, os.WriteFile(file, []byte(profile), 0o666))
	out, err := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-top", "-cum", file).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "(*service).open")

	_, text, _ := ask(t, "GET", "http://"+r.addresses().Ops+"/debug/pprof/", "")
	assert.Contains(t, text, "pool_live")
	_, text, _ = ask(t, "GET", "http://"+r.addresses().Ops+"/debug/pprof/cmdline", "")
	assert.NotEmpty(t, text)
	status, _, _ = r.ask(t, "GET", "/debug/pprof/", "")
	assert.Equal(t, http.StatusNotFound, status, "not where the service is")
}
