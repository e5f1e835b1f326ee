package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/pace"
)

// A config is the configuration of a server.
type config struct {
	Variant                    variant
	Address, OpsAddress        string
	ScratchLimit, SessionLimit int64 // in bytes; 0: none; ignored with sync.Pool
	MemberTTL, VisitorTTL      time.Duration
	Sample                     time.Duration // time between two samples of the history
	Grace                      time.Duration // how long requests may take to end when the server shuts down
}

// historyTime is how much time the page shows.
const historyTime = 5 * time.Minute

// idleTime is how long a connection may stay open without a request.
const idleTime = 3 * time.Minute

// sweepPeriod is the time between two searches for expired sessions.
const sweepPeriod = 50 * time.Millisecond

// A server is a service and its operators' side, each with its own listener.
type server struct {
	config     config
	service    *service
	ops        *ops
	history    *history
	api, admin *http.Server

	apiListener, adminListener net.Listener
}

// newServer returns a server that listens, but does not answer before run.
func newServer(c config) (*server, error) {
	s := &server{config: c, service: newService(c), history: newHistory(int(historyTime / c.Sample))}
	s.ops = &ops{service: s.service, history: s.history, ending: make(chan struct{})}
	// A client that does not send its body, or does not read its answer, must not hold a connection
	// and a slot forever.
	s.api = &http.Server{Handler: s.service.handler(), ReadTimeout: wholeTime, WriteTimeout: 2 * wholeTime, IdleTimeout: idleTime}
	s.admin = &http.Server{Handler: s.ops.handler(), ReadHeaderTimeout: wholeTime, IdleTimeout: idleTime}
	// Shutdown waits for all requests, and requests for events do not end by themselves.
	s.admin.RegisterOnShutdown(func() { close(s.ops.ending) })
	var err error
	if s.apiListener, err = net.Listen("tcp", c.Address); err != nil {
		return nil, errors.Join(err, s.service.close())
	}
	if s.adminListener, err = net.Listen("tcp", c.OpsAddress); err != nil {
		return nil, errors.Join(err, s.apiListener.Close(), s.service.close())
	}
	return s, nil
}

// run serves until ctx ends. It returns when every request has ended and both sources are closed.
// The error says so if a slot was not put back.
func (s *server) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	serve := func(srv *http.Server, l net.Listener) {
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	serve(s.api, s.apiListener)
	serve(s.admin, s.adminListener)
	s.takeSample()
	stopSamples := pace.Every(s.config.Sample, s.takeSample)
	stopSweeps := pace.Every(sweepPeriod, func() { s.service.sessions.expire(s.service.now()) })

	<-ctx.Done()
	var errs []error
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		errs = append(errs, cause)
	}
	serving.Go(func() { s.shutdown(s.admin) })
	s.shutdown(s.api)
	serving.Wait()
	stopSamples()
	stopSweeps()
	return errors.Join(append(errs, s.service.close())...)
}

// shutdown closes the connections: those without a request at once, the others when their request
// ends or when the time of grace is over. Handlers that still read or write then get errors, and
// end.
func (s *server) shutdown(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Grace)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}

func (s *server) takeSample() { _ = s.history.add(s.service.sample()) }
