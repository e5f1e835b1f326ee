package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool"
)

// A service answers the clients:
//
//	POST   /sessions?kind=member&first=1&count=1000   opens sessions 1 to 1000, if not open yet
//	POST   /sessions/17/trades                        fills and books the legs in the body
//	DELETE /sessions/17                               ends the session
//
// When a pool is at its limit, the answer is 503, and Retry-After says when to try again.
type service struct {
	variant  variant
	scratch  source[scratch]
	sessions sessions
	start    time.Time

	// Each request holds gate for reading. Locking it waits for all requests to end, and keeps out
	// new ones.
	gate sync.RWMutex

	answered, refused atomic.Uint64

	whileOut func() // for tests: called while a request has its scratch slot
}

const (
	maxOpen   = 10_000           // sessions that one request may open
	wholeTime = 10 * time.Second // how long a request may take from its first byte to its last
	retryTime = "1"              // value of Retry-After, in seconds
)

func newService(c config) *service {
	s := &service{variant: c.Variant, start: time.Now(), whileOut: func() {}}
	if c.Variant == usePool {
		s.scratch = newPooled[scratch]("scratch", c.ScratchLimit)
	} else {
		s.scratch = newRecycled[scratch]("scratch")
	}
	s.sessions = newSessions(c.Variant, c.SessionLimit, [kinds]time.Duration{member: c.MemberTTL, visitor: c.VisitorTTL})
	return s
}

// close waits for the last request to end, ends all sessions, and closes both sources. It returns
// an error if a slot is still in use then.
func (s *service) close() error {
	s.gate.Lock() // and never unlock it
	s.sessions.clear()
	return errors.Join(s.scratch.close(), s.sessions.close())
}

// now returns the time since the service started.
func (s *service) now() time.Duration { return time.Since(s.start) }

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sessions", s.open)
	mux.HandleFunc("POST /sessions/{id}/trades", s.trade)
	mux.HandleFunc("DELETE /sessions/{id}", s.remove)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.gate.TryRLock() {
			s.refuse(w, pool.ErrClosed)
			return
		}
		defer s.gate.RUnlock()
		mux.ServeHTTP(w, r)
	})
}

// trade handles most of the requests. It puts the scratch slot back however the request ends: with
// an answer, an error, a client that has disconnected, or a panic.
func (s *service) trade(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "the session must be a number", http.StatusBadRequest)
		return
	}
	sc, err := s.scratch.get()
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer s.scratch.put(sc)
	s.whileOut()
	n, err := readBody(r.Body, sc.body[:])
	switch {
	case errors.Is(err, errTooLong):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		http.Error(w, "the body took too long", http.StatusRequestTimeout)
		return
	case err != nil:
		http.Error(w, "the body is incomplete", http.StatusBadRequest)
		return
	}
	if err := sc.parse(sc.body[:n]); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sc.price()
	if !s.sessions.trade(id, sc, s.now()) {
		http.Error(w, "no such session: it was never opened, or has expired", http.StatusNotFound)
		return
	}
	s.answered.Add(1)
	// When Write returns, it has copied or sent the bytes, so the slot can go back.
	_, _ = w.Write(sc.write(id))
}

var errTooLong = fmt.Errorf("the body is longer than %d bytes", maxBody)

// readBody reads all of body into b and returns its length. b must be longer than the longest body
// that is allowed: if body fills b, the error is errTooLong.
func readBody(body io.Reader, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := body.Read(b[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, errTooLong
}

// open opens sessions. If it is refused half-way, asking again opens the rest.
func (s *service) open(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	k, ok := map[string]kind{"member": member, "visitor": visitor}[q.Get("kind")]
	first, err1 := strconv.ParseUint(q.Get("first"), 10, 63)
	count, err2 := strconv.ParseUint(q.Get("count"), 10, 63)
	if !ok || err1 != nil || err2 != nil || count > maxOpen {
		http.Error(w, fmt.Sprintf("want kind=member or visitor, first=number, and count=number up to %d", maxOpen), http.StatusBadRequest)
		return
	}
	opened := 0
	for id := first; id < first+count; id++ {
		isNew, err := s.sessions.open(k, id, s.now())
		if err != nil {
			s.refuse(w, err)
			return
		}
		if isNew {
			opened++
		}
	}
	s.answered.Add(1)
	fmt.Fprintf(w, "opened %d\n", opened)
}

func (s *service) remove(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || !s.sessions.remove(id) {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	s.answered.Add(1)
	w.WriteHeader(http.StatusNoContent)
}

// refuse answers a request that cannot be served now, for the reason in err.
func (s *service) refuse(w http.ResponseWriter, err error) {
	s.refused.Add(1)
	reason := "out of memory"
	switch {
	case errors.Is(err, pool.ErrLimit):
		reason = "memory limit reached"
	case errors.Is(err, pool.ErrClosed):
		reason = "shutting down"
	}
	w.Header().Set("Retry-After", retryTime)
	http.Error(w, reason+", try again", http.StatusServiceUnavailable)
}
