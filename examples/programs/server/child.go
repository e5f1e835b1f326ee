package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Each variant's server is a child process, which is this program again. That way the heap of one
// does not affect the other, and the load is not in the server's numbers. A child finds its config
// in the environment and writes its addresses to standard output. It serves until its standard
// input ends, which also happens when the parent dies.

// configVariable is the environment variable that makes a process a child. It holds the config as
// JSON.
const configVariable = "WARMPAGE_SERVER_CONFIG"

// addresses are the addresses on which a server listens, as host:port.
type addresses struct{ Service, Ops string }

// beChild is the main function of a child. It returns the exit code.
func beChild(ctx context.Context, text string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", configVariable, err)
		return exitUsage
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	s, err := newServer(c)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(s.addresses())
	}
	if err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

func (s *server) addresses() addresses {
	return addresses{s.apiListener.Addr().String(), s.adminListener.Addr().String()}
}

// A child is a server in a child process.
type child struct {
	addresses
	cmd  *exec.Cmd
	end  io.Closer       // the child's standard input; closing it ends the child
	errs strings.Builder // what the child writes to standard error
}

// startChild starts a child, and returns when its server listens. When ctx ends, the child is told
// to end as well.
func startChild(ctx context.Context, c config) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	ch := &child{cmd: exec.CommandContext(ctx, self)}
	ch.cmd.Env = append(os.Environ(), configVariable+"="+string(text))
	ch.cmd.Stderr = &ch.errs
	if ch.end, err = ch.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	ch.cmd.Cancel = ch.end.Close
	ch.cmd.WaitDelay = c.Grace + 2*time.Second // then kill it
	out, err := ch.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := ch.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(&ch.addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), ch.stop())
	}
	return ch, nil
}

// stop makes the server shut down, and waits for the child to end. It returns an error if the
// server failed, for example because a pool had slots in use.
func (ch *child) stop() error {
	_ = ch.end.Close()
	if err := ch.cmd.Wait(); err != nil {
		return fmt.Errorf("server: %w\n%s", err, strings.TrimSpace(ch.errs.String()))
	}
	return nil
}

// sample asks the server for a sample.
func (ch *child) sample(ctx context.Context) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ch.Ops+"/stats", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, errors.Join(err, resp.Body.Close())
}

// A watcher records points at regular intervals.
type watcher struct {
	points []point
	stop   chan struct{}
	done   chan struct{}
}

// A point is what a server had at one point in time.
type point struct {
	At       time.Duration // since the steady phase began
	Resident int64         // resident memory in bytes
	Sessions int
}

// watch starts a watcher that asks the server once per period.
func (ch *child) watch(ctx context.Context, period time.Duration) *watcher {
	w := &watcher{stop: make(chan struct{}), done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(w.done)
		every(period, w.stop, func() {
			if s, err := ch.sample(ctx); err == nil {
				w.points = append(w.points, point{time.Since(start), s.Resident.Now, s.Sources[1].Live})
			}
		})
	}()
	return w
}

// end stops the watcher and returns the points.
func (w *watcher) end() []point {
	close(w.stop)
	<-w.done
	return w.points
}
