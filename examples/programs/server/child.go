package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/pace"
)

// Each variant's server is a child process, so that the heap of one does not affect the other, and
// the load is not in the server's numbers.

// addresses are the addresses on which a server listens, as host:port.
type addresses struct{ Service, Ops string }

// serveParent is the work of a child: a server, which tells the parent where it listens.
func serveParent(ctx context.Context, c config, send func(addresses) error) error {
	s, err := newServer(c)
	if err != nil {
		return err
	}
	if err := send(s.addresses()); err != nil {
		return err
	}
	return s.run(ctx)
}

func (s *server) addresses() addresses {
	return addresses{s.apiListener.Addr().String(), s.adminListener.Addr().String()}
}

// A remote is a server in a child process.
type remote struct {
	*child.Process
	addresses
}

// startRemote starts a server, and returns when it listens. When ctx ends, it is told to end as
// well.
func startRemote(ctx context.Context, c config) (*remote, error) {
	ch, err := child.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &remote{Process: ch}
	if err := ch.Next(&r.addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), r.stop())
	}
	return r, nil
}

// stop makes the server shut down, and waits for that. It returns an error if the server failed,
// for example because a pool had slots in use.
func (r *remote) stop() error {
	if err := r.Stop(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// sample asks the server for a sample.
func (r *remote) sample(ctx context.Context) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Ops+"/stats", nil)
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
	stop   func()
}

// A point is what a server had at one point in time.
type point struct {
	At       time.Duration // since the steady phase began
	Resident int64         // resident memory in bytes
	Sessions int
}

// watch starts a watcher that asks the server once per period.
func (r *remote) watch(ctx context.Context, period time.Duration) *watcher {
	w := new(watcher)
	start := time.Now()
	ask := func() {
		if s, err := r.sample(ctx); err == nil {
			w.points = append(w.points, point{time.Since(start), s.Resident.Now, s.Sources[1].Live})
		}
	}
	ask()
	w.stop = pace.Every(period, ask)
	return w
}

// end stops the watcher and returns the points.
func (w *watcher) end() []point {
	w.stop()
	return w.points
}
