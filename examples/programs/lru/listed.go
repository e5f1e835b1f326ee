package main

import (
	"container/list"
	"sync"
)

// newListed returns a cache built the usual way: entries on the Go heap, in a container/list, with
// a map from keys to list elements.
func newListed(capacity, shards int) *cache {
	return newCache(capacity, shards, func(part int) shard { return newListedShard(part) }, func() error { return nil })
}

// A listedShard is a shard with its entries on the Go heap. The keys of the map are arrays, not
// strings. That makes two objects per entry for the garbage collector instead of three, and a put
// need not make a string.
type listedShard struct {
	capacity int // at least 1

	mu    sync.Mutex // guards the fields below
	index map[key]*list.Element
	order *list.List // of *listedEntry, the most recently used one first

	_ [64]byte // see pooledShard
}

type listedEntry struct {
	key   key
	value value
}

func newListedShard(capacity int) *listedShard {
	return &listedShard{capacity: capacity, index: make(map[key]*list.Element, capacity), order: list.New()}
}

func (s *listedShard) get(_ uint64, k key) (value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	el, ok := s.index[k]
	if !ok {
		return value{}, false
	}
	s.order.MoveToFront(el)
	return el.Value.(*listedEntry).value, true
}

func (s *listedShard) put(_ uint64, k key, v value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el, ok := s.index[k]; ok {
		el.Value.(*listedEntry).value = v
		s.order.MoveToFront(el)
		return
	}
	if s.order.Len() == s.capacity {
		s.evict()
	}
	s.index[k] = s.order.PushFront(&listedEntry{k, v})
}

func (s *listedShard) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

func (s *listedShard) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.index)
	s.order.Init()
}

func (s *listedShard) evict() {
	e := s.order.Remove(s.order.Back()).(*listedEntry)
	delete(s.index, e.key)
}
