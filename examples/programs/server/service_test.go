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

// testConfig returns a config with frequent samples, so that tests need not wait long for them.
func testConfig(v variant) config {
	c := usualConfig
	c.Variant, c.Sample = v, 20*time.Millisecond
	return c
}

// A running is a running server, and the means to stop it.
type running struct {
	*server
	stop context.CancelFunc
	done chan error
}

// start runs a server until the test ends. The test fails if a slot is not back then.
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

// end stops the server and returns the error of run. Further calls return nil.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	r.done <- nil // for further calls
	return err
}

// waitTime is how long a test waits for something that must happen.
const waitTime = 20 * time.Second

// eventually waits until f returns true, and fails the test if that does not happen in waitTime.
func eventually(t *testing.T, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, waitTime, time.Millisecond, what)
}

// ask sends a request to the service. It returns the status, body and header of the answer.
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

// half sends a request without the end of its body, so that the handler gets a slot and waits. rest
// sends the end, and returns status and body of the answer.
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

// Both variants give the same answer to every request.
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
	assert.Equal(t, "opened 10\n", both("POST", "/sessions?kind=visitor&first=40&count=20", ""), "40 to 49 were open already")
	k := &connection{rng: rand.New(rand.NewPCG(1, 2))}
	for range 300 {
		id := uint64(k.rng.IntN(62)) // sessions 60 and 61 do not exist
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
		assert.Positive(t, statuses[want], "no answer with status %d", want)
	}
	assert.Equal(t, 17, statuses[400])
	assert.Equal(t, ours.service.answered.Load(), theirs.service.answered.Load())
	assert.Positive(t, ours.service.answered.Load())
}

// A session remembers its trades.
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
		assert.Negative(t, cash, "buying and selling costs the spread")
		r.ask(t, "DELETE", "/sessions/7", "")
		r.ask(t, "POST", "/sessions?kind=member&first=7&count=1", "")
		_, again, _ := r.ask(t, "POST", "/sessions/7/trades", "B 5 1")
		assert.Equal(t, buy, again, "a new session must not remember the old one")
	}
}

// The longest reply fits into the slot.
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

// When all scratch slots are in use, the service answers 503. It works again as soon as one request
// has ended.
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
	eventually(t, func() bool { return r.liveScratch() == most }, "all slots must be in use")
	status, text, header := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "memory limit reached, try again\n", text)
	assert.Equal(t, "1", header.Get("Retry-After"))
	assert.EqualValues(t, 1, r.service.refused.Load())
	assert.Positive(t, r.service.scratch.usage().FailedGets)

	status, text = rests[0]()
	assert.Equal(t, http.StatusOK, status, text)
	eventually(t, func() bool { return r.liveScratch() == most-1 }, "one slot must be back")
	status, text, _ = r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Equal(t, http.StatusOK, status, text)
	for _, rest := range rests[1:] {
		status, _ := rest()
		assert.Equal(t, http.StatusOK, status)
	}
}

// The same holds for sessions, which make room when they end.
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
	assert.Equal(t, (64<<10)/r.service.sessions.usage().SlotSize, most, "the sessions that fit must be open")
	for id := range most {
		status, _, _ := r.ask(t, "DELETE", fmt.Sprintf("/sessions/%d", id), "")
		require.Equal(t, http.StatusNoContent, status, id)
	}
	status, text := open(5000, 100)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "opened 100\n", text)
}

// A client that disconnects in the middle of a request does not cost a slot.
func TestAbort(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		for range 5 {
			conn, _ := r.half(t)
			eventually(t, func() bool { return r.liveScratch() == 1 }, "the request must get a slot")
			require.NoError(t, conn.Close())
			eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot must be back")
		}
		assert.Zero(t, r.service.answered.Load())
	}
}

// An upload in chunks that breaks off does not count as a shorter request.
func TestAbortedChunks(t *testing.T) {
	r := start(t, testConfig(usePool))
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
	conn, err := net.Dial("tcp", r.addresses().Service)
	require.NoError(t, err)
	_, err = fmt.Fprint(conn, "POST /sessions/1/trades HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nB 1 1\n\r\n")
	require.NoError(t, err)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request must get a slot")
	require.NoError(t, conn.Close())
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot must be back")
	_, text, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Contains(t, text, "session 1 request 1 ", "the aborted request must not be booked")
}

// Nor does a body that ends early, or that is not a valid chunk. The client still listens, and gets
// an error.
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
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slots must be back")
	_, text, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
	assert.Contains(t, text, "session 1 request 1 ", "nothing must be booked")
}

// The server closes the connection of a client that sends only a part of a request.
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
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot must be back")
}

// A handler that panics puts back its slot and releases its locks.
func TestPanic(t *testing.T) {
	for _, v := range variants {
		panics := true
		r := start(t, testConfig(v), func(s *server) {
			s.api.ErrorLog = discard
			s.service.whileOut = func() {
				if panics {
					panic("from the test")
				}
			}
		})
		r.ask(t, "POST", "/sessions?kind=member&first=1&count=1", "")
		resp, err := http.Post("http://"+r.addresses().Service+"/sessions/1/trades", "", strings.NewReader("B 1 1\n"))
		if err == nil {
			_ = resp.Body.Close()
		}
		assert.ErrorContains(t, err, "EOF")
		eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot must be back")
		assert.EqualValues(t, 1, r.service.scratch.usage().Gets)
		panics = false
		status, _, _ := r.ask(t, "POST", "/sessions/1/trades", "B 1 1\n")
		assert.Equal(t, http.StatusOK, status)
	}
}

// A request that is under way when the server shuts down gets its answer, if it ends within the
// time of grace. Afterwards both pools are closed.
func TestShutdownWaits(t *testing.T) {
	c := testConfig(usePool)
	c.Grace = waitTime
	r := start(t, c)
	r.ask(t, "POST", "/sessions?kind=member&first=1&count=1000", "")
	_, rest := r.half(t)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request must get a slot")
	r.stop()
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", r.addresses().Service)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, "the server must stop listening")
	status, text := rest()
	assert.Equal(t, http.StatusOK, status, text)
	assert.Contains(t, text, "session 1 request 1 ")
	require.NoError(t, r.end())
	assertClosed(t, r)
}

// assertClosed checks that all slots are back and that both sources are closed.
func assertClosed(t *testing.T, r *running) {
	t.Helper()
	assert.Zero(t, r.liveScratch())
	assert.Zero(t, r.liveSessions())
	assert.Positive(t, r.service.sessions.usage().Gets, "the sessions must have been used")
	if r.service.variant == usePool {
		assert.ErrorIs(t, r.service.scratch.close(), pool.ErrClosed, "close must have been called before")
		assert.ErrorIs(t, r.service.sessions.close(), pool.ErrClosed, "close must have been called before")
	}
}

// A request that takes longer is cut off, and puts back its slot before the pools are closed. Open
// pages are cut off too.
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
		eventually(t, func() bool { return r.liveScratch() == 1 }, "the request must get a slot")
		require.NoError(t, r.end())
		assertClosed(t, r)
		_, err = bufio.NewReader(conn).ReadByte()
		assert.Error(t, err, "the request must get no answer")
		_, err = io.Copy(io.Discard, events.Body)
		assert.NoError(t, err, "the stream of a page must end properly")
	}
}

// The pools stay open even for a handler that continues after its connection was closed.
func TestShutdownWaitsForHandlers(t *testing.T) {
	c := testConfig(usePool)
	c.Grace = time.Millisecond
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	defer goOn()
	r := start(t, c, func(s *server) { s.service.whileOut = func() { <-release } })
	r.half(t)
	eventually(t, func() bool { return r.liveScratch() == 1 }, "the request must get a slot")
	r.stop()
	eventually(t, func() bool {
		free := r.service.gate.TryRLock()
		if free {
			r.service.gate.RUnlock()
		}
		return !free
	}, "close must wait for the handler")
	select {
	case err := <-r.done:
		t.Errorf("run returned before the handler: %v", err)
		r.done <- err
	default:
	}
	goOn()
	require.NoError(t, r.end())
	assert.ErrorIs(t, r.service.scratch.close(), pool.ErrClosed, "close must have been called before")
}

// The other tests of shutdown rely on this: a slot that was not put back makes run return an error.
func TestShutdownReportsLeaks(t *testing.T) {
	for _, v := range variants {
		r := start(t, testConfig(v))
		sc, err := r.service.scratch.get()
		require.NoError(t, err)
		assert.ErrorIs(t, r.end(), pool.ErrInUse)
		r.service.scratch.put(sc)
		require.NoError(t, r.service.scratch.close()) // so that it is not in the metrics of later tests
	}
}

// The service refuses a request that comes after close.
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

// The server itself ends the sessions that nobody has used for the time of their kind.
func TestVisitorsExpire(t *testing.T) {
	for _, v := range variants {
		c := testConfig(v)
		c.VisitorTTL = time.Millisecond
		r := start(t, c)
		r.ask(t, "POST", "/sessions?kind=member&first=0&count=100", "")
		r.ask(t, "POST", "/sessions?kind=visitor&first=100&count=5000", "")
		eventually(t, func() bool { return r.liveSessions() == 100 }, "only members must be left")
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
	eventually(t, func() bool { return r.liveScratch() == 0 }, "the slot must be back")
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
		assert.True(t, strings.Contains(text, want), want) //nolint:testifylint // Contains would print the whole text
	}
}

// The profile shows which code got the slots that are in use.
func TestPoolLive(t *testing.T) {
	r := start(t, testConfig(usePool))
	for first := 0; first < 200_000; first += maxOpen { // 100 MB, or about a dozen samples
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
	assert.Equal(t, http.StatusNotFound, status, "the service must not serve profiles")
}
