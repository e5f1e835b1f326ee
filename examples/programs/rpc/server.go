package main

import (
	"bufio"
	"net"
	"sync"
)

// maxLine is longer than any line of a client.
const maxLine = 8 << 10

// A server answers lines on connections of the loopback interface.
type server struct {
	store    store
	forgets  bool // a handler that refuses a request does not put it
	listener net.Listener
	handlers sync.WaitGroup
}

func startServer(st store, forgets bool) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{store: st, forgets: forgets, listener: l}
	s.handlers.Add(1)
	go func() {
		defer s.handlers.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the listener was closed
			}
			s.handlers.Add(1)
			go func() {
				defer s.handlers.Done()
				s.serve(conn)
			}()
		}
	}()
	return s, nil
}

// stop waits until the clients have closed their connections and all requests have been put.
func (s *server) stop() {
	_ = s.listener.Close()
	s.handlers.Wait()
}

// serve answers a client until that ends. An idle connection has a request: there are as many in
// use as there are connections.
func (s *server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	lines := bufio.NewReaderSize(conn, maxLine)
	for s.serveRequest(conn, lines) {
	}
}

// serveRequest answers one line. It reports false at the end of the connection.
func (s *server) serveRequest(conn net.Conn, lines *bufio.Reader) bool {
	r := s.store.get()
	line, err := lines.ReadSlice('\n')
	if err != nil {
		s.store.put(r)
		return false
	}
	if err := r.parse(line); err != nil {
		r.refuse(err)
		_, err = conn.Write(r.reply)
		if !s.forgets { // the leak: an early return without a Put
			s.store.put(r)
		}
		return err == nil
	}
	r.answer()
	_, err = conn.Write(r.reply)
	s.store.put(r)
	return err == nil
}
