package main

import (
	"sync"
	"sync/atomic"

	"github.com/warmpage/pool"
)

// A store is where handlers get their requests from.
type store interface {
	get() *request
	put(*request)
	made() int64 // how many requests had to be made
}

// counter counts the requests that are made.
type counter struct{ n atomic.Int64 }

func (c *counter) prepare(r *request) {
	c.n.Add(1)
	prepare(r)
}

func (c *counter) made() int64 { return c.n.Load() }

// A plainStore makes each request anew.
type plainStore struct{ counter }

func (s *plainStore) get() *request {
	r := new(request)
	s.prepare(r)
	return r
}

func (s *plainStore) put(*request) {}

type syncStore struct {
	counter
	pool sync.Pool
}

func newSyncStore() *syncStore {
	s := new(syncStore)
	s.pool.New = func() any {
		r := new(request)
		s.prepare(r)
		return r
	}
	return s
}

func (s *syncStore) get() *request { return s.pool.Get().(*request) }

func (s *syncStore) put(r *request) {
	reset(r)
	s.pool.Put(r)
}

type poolStore struct {
	counter
	pool *pool.Pool[request]
}

func newPoolStore(opts ...pool.Option) *poolStore {
	s := new(poolStore)
	s.pool = pool.New[request](append([]pool.Option{
		pool.WithName("requests"),
		pool.WithGoHeap(),
		pool.WithInit(s.prepare),
		pool.WithReset(reset),
	}, opts...)...)
	return s
}

func (s *poolStore) get() *request  { return s.pool.Get() }
func (s *poolStore) put(r *request) { s.pool.Put(r) }
