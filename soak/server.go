package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool"
)

// A server has the clients and the handlers, and what lies between them. A request is got by a
// client, and put by the handler that answers it; an answer is put by the client's receiver.
type server struct {
	s       *soak
	queue   chan held[request]
	inboxes []chan held[answer]

	requests *checked[request]
	answers  *checked[answer]
	work     *work

	handling           atomic.Int32 // handlers
	clients, receivers sync.WaitGroup
	handlers, sweeper  sync.WaitGroup
}

type request struct {
	words  [4]uint64
	client int
	key    uint64
	sent   time.Duration // from the start of the run
}

type answer struct {
	words [16]uint64
	sent  time.Duration
}

const (
	maxRequests = 64 // at a time, so that clients wait
	minHandlers = 4
	maxHandlers = 32
)

func newServer(s *soak) *server {
	srv := &server{
		s:     s,
		queue: make(chan held[request], maxRequests),
		requests: newChecked(s, "requests", 0, func(x *request) []uint64 { return x.words[:] },
			pool.WithMaxSlots(maxRequests), pool.WithProfile(16<<10)),
		answers: newChecked(s, "answers", 0, func(x *answer) []uint64 { return x.words[:] }),
		work:    newWork(s),
	}
	for range s.clients {
		srv.inboxes = append(srv.inboxes, make(chan held[answer], 16))
	}
	return srv
}

func (srv *server) start() {
	for range minHandlers {
		srv.startHandler()
	}
	for i, inbox := range srv.inboxes {
		srv.receivers.Go(func() { srv.receive(inbox) })
		srv.clients.Go(func() { srv.send(i) })
	}
	srv.sweeper.Go(srv.work.sessions.expire)
}

// stop waits until all requests are answered and all answers are put, and closes the pools.
func (srv *server) stop() {
	srv.clients.Wait()
	close(srv.queue)
	srv.handlers.Wait()
	for _, inbox := range srv.inboxes {
		close(inbox)
	}
	srv.receivers.Wait()
	srv.sweeper.Wait()
	srv.requests.closePool()
	srv.answers.closePool()
	srv.work.close()
}

// pace is how often a client sends what is due. What a client could not send in time is not sent
// later: a slow machine has fewer requests and not a queue that grows.
const pace = 10 * time.Millisecond

// send is a client. It sends requests until the run ends.
func (srv *server) send(client int) {
	s, o := srv.s, newOwner(srv.s.seed)
	ctx := context.Background()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	time.Sleep(time.Duration(o.Int64N(int64(pace)))) // clients do not send all at once
	due := 0.0
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ; !s.stopping.Load(); <-tick.C {
		due += float64(s.rate) * pace.Seconds() / float64(s.config.clients)
		n := int(due)
		due -= float64(n)
		switch phase(s.phase.Load()) {
		case burst:
			n *= 10
		case cooling, idle:
			n = 0
		}
		for range n {
			sent := time.Since(s.began)
			var r held[request]
			switch o.IntN(64) {
			case 0:
				if r = srv.requests.getContext(ended, o); r.x != nil {
					srv.requests.fault(errors.New("GetContext has got a slot although its context had ended"))
				}
			case 1:
				short, cancel := context.WithTimeout(ctx, time.Duration(o.IntN(200))*time.Microsecond)
				r = srv.requests.getContext(short, o)
				cancel()
			default:
				r = srv.requests.getContext(ctx, o)
			}
			if r.x == nil {
				continue
			}
			r.x.client, r.x.sent = client, sent
			r.x.key = o.Uint64()
			if o.IntN(2) == 0 {
				r.x.key %= 1 << 14 // a user who comes again
			}
			srv.queue <- r
		}
	}
}

func (srv *server) startHandler() {
	srv.handling.Add(1)
	srv.handlers.Go(srv.handle)
}

// handle is a handler. It answers some requests, and then leaves its place to none, one or two others.
func (srv *server) handle() {
	s, o := srv.s, newOwner(srv.s.seed)
	for range 50 + o.IntN(400) {
		r, ok := <-srv.queue
		if !ok {
			srv.handling.Add(-1)
			return
		}
		client, key, sent := r.x.client, r.x.key, r.x.sent
		putFirst := o.IntN(2) == 0
		if putFirst {
			srv.requests.putHeld(r)
		}
		srv.work.do(o, key)
		a := srv.answers.get(o)
		if !putFirst {
			srv.requests.putHeld(r)
		}
		if a.x != nil {
			a.x.sent = sent
			srv.inboxes[client] <- a
		}
		s.requests.Add(1)
	}
	others, n := srv.handling.Add(-1), 1
	switch d := o.IntN(8); {
	case d == 0 && others >= minHandlers:
		n = 0
	case d == 1 && others < maxHandlers-1:
		n = 2
	}
	for range n {
		srv.startHandler()
	}
}

// receive puts the answers that come to a client.
func (srv *server) receive(inbox chan held[answer]) {
	for a := range inbox {
		srv.s.request.record(time.Since(srv.s.began) - a.x.sent)
		srv.answers.putHeld(a)
	}
}

// keepEcho measures how late a goroutine wakes up, sends something to another one and has it back: how
// long this machine keeps a program waiting at this moment, whatever the pools do.
func keepEcho(s *soak) {
	there, back := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(back)
		for range there {
			back <- struct{}{}
		}
	}()
	const pause = 2 * time.Millisecond
	for due := time.Now().Add(pause); s.sleep(time.Until(due)); due = time.Now().Add(pause) {
		there <- struct{}{}
		<-back
		s.echo.record(time.Since(due))
	}
	close(there)
	<-back
}
