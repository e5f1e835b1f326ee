package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// A config is what a server needs to know.
type config struct {
	Variant                    variant
	Address, OpsAddress        string
	ScratchLimit, SessionLimit int64 // bytes; 0: none. sync.Pool has none
	MemberTTL, VisitorTTL      time.Duration
	Sample                     time.Duration // from one sample of the history to the next
	Grace                      time.Duration // for requests to end when the server is to
}

// historyTime is how much the page shows.
const historyTime = 5 * time.Minute

// idleTime is how long a connection may be without a request.
const idleTime = 3 * time.Minute

// sweepPeriod is how often sessions are looked at that may have expired.
const sweepPeriod = 50 * time.Millisecond

// A server is a service and its operators' side, each with a listener.
type server struct {
	config     config
	service    *service
	ops        *ops
	history    *history
	api, admin *http.Server

	apiListener, adminListener net.Listener
}

// newServer listens, but does not answer yet.
func newServer(c config) (*server, error) {
	s := &server{config: c, service: newService(c), history: newHistory(int(historyTime / c.Sample))}
	s.ops = &ops{service: s.service, history: s.history, ending: make(chan struct{})}
	// A client that does not send its body, or does not read its answer, must not hold a
	// connection and a slot for ever.
	s.api = &http.Server{Handler: s.service.handler(), ReadTimeout: wholeTime, WriteTimeout: 2 * wholeTime, IdleTimeout: idleTime}
	s.admin = &http.Server{Handler: s.ops.handler(), ReadHeaderTimeout: wholeTime, IdleTimeout: idleTime}
	// Shutdown waits for all requests, and those of pages do not end by themselves.
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

// run serves until ctx ends. It returns when every request has ended and every slot is
// back; the error says so if one is not.
func (s *server) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving, chores sync.WaitGroup
	serve := func(srv *http.Server, l net.Listener) {
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	serve(s.api, s.apiListener)
	serve(s.admin, s.adminListener)
	stop := make(chan struct{})
	chores.Go(func() { every(s.config.Sample, stop, s.takeSample) })
	chores.Go(func() { every(sweepPeriod, stop, func() { s.service.sessions.expire(s.service.now()) }) })

	<-ctx.Done()
	var errs []error
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		errs = append(errs, cause)
	}
	serving.Go(func() { s.shutdown(s.admin) })
	s.shutdown(s.api)
	serving.Wait()
	close(stop)
	chores.Wait()
	return errors.Join(append(errs, s.service.close())...)
}

// shutdown ends the connections: first those without a request, and when the time of
// grace is over, all. Handlers that read or write then get errors, and end.
func (s *server) shutdown(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Grace)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}

func (s *server) takeSample() { _ = s.history.add(s.service.sample()) }

// every calls f at once, and then each period, until stop is closed.
func every(period time.Duration, stop <-chan struct{}, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}
