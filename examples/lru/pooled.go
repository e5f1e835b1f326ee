package main

import (
	"sync"

	"github.com/warmpage/pool"
)

// An entry is a slot of the pool. Its neighbours are Refs rather than pointers:
// the garbage collector has nothing to follow, and does not know that there are
// entries at all.
type entry struct {
	key          key
	value        value
	newer, older pool.Ref[entry] // zero at the ends of the list; under the shard's mu
}

// newPooled returns a cache whose entries are in a pool.
func newPooled(capacity, shards int) (*cache, *pool.Pool[entry]) {
	p := pool.New[entry](pool.WithName("lru"))
	return newCache(capacity, shards, func(part int) shard { return newPooledShard(p, part) }, p.Close), p
}

// A pooledShard has a list of entries from the one used last to the one that goes
// next, and an index of them.
//
//	len == entries in the list == used places of the index <= capacity
//
// An entry is got by the put of a new key, and put back with PutRef when it is
// evicted, both under mu: so nobody else can put what Deref has returned.
type pooledShard struct {
	entries  *pool.Pool[entry] // of all shards
	capacity int               // at least 1

	mu             sync.Mutex // for all that follows
	index          index
	newest, oldest pool.Ref[entry]
	count          int

	_ [64]byte // so that no two locks share a cache line
}

func newPooledShard(p *pool.Pool[entry], capacity int) *pooledShard {
	return &pooledShard{entries: p, capacity: capacity, index: newIndex(capacity)}
}

func (s *pooledShard) get(hash uint64, k key) (value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, e := s.find(hash, &k)
	if e == nil {
		return value{}, false
	}
	s.use(r, e)
	return e.value, true
}

func (s *pooledShard) put(hash uint64, k key, v value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, e := s.find(hash, &k); e != nil {
		e.value = v
		s.use(r, e)
		return
	}
	if s.count == s.capacity {
		s.evict() // first, so that there are never more entries than promised
	}
	e := s.entries.GetNoZero() // all of it is set here
	e.key, e.value = k, v
	r := s.entries.Ref(e)
	s.pushNewest(r, e)
	s.index.insert(hash, r)
	s.count++
}

func (s *pooledShard) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *pooledShard) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.count > 0 {
		s.evict()
	}
}

// find returns the entry of k, or nil. Two keys may have the same hash, so it also
// looks at the key in the entry.
func (s *pooledShard) find(hash uint64, k *key) (pool.Ref[entry], *entry) {
	for i := s.index.home(hash); !s.index[i].ref.IsZero(); i = s.index.next(i) {
		if s.index[i].hash != hash {
			continue
		}
		if e := s.entries.Deref(s.index[i].ref); e.key == *k {
			return s.index[i].ref, e
		}
	}
	return pool.Ref[entry]{}, nil
}

// use makes e, which is in the list, the newest.
func (s *pooledShard) use(r pool.Ref[entry], e *entry) {
	if r == s.newest {
		return
	}
	s.unlink(e)
	s.pushNewest(r, e)
}

// pushNewest puts e, which is not in the list, at its head.
func (s *pooledShard) pushNewest(r pool.Ref[entry], e *entry) {
	e.newer, e.older = pool.Ref[entry]{}, s.newest
	if head := s.entries.Deref(s.newest); head != nil {
		head.newer = r
	} else {
		s.oldest = r
	}
	s.newest = r
}

// unlink takes e out of the list.
func (s *pooledShard) unlink(e *entry) {
	if e.newer.IsZero() {
		s.newest = e.older
	} else {
		s.entries.Deref(e.newer).older = e.older
	}
	if e.older.IsZero() {
		s.oldest = e.newer
	} else {
		s.entries.Deref(e.older).newer = e.newer
	}
}

// evict takes the entry used least recently out of the shard and gives it back to
// the pool. There must be one.
func (s *pooledShard) evict() {
	r := s.oldest
	e := s.entries.Deref(r)
	s.unlink(e)
	s.index.remove(e.key.hash(), r)
	s.entries.PutRef(r)
	s.count--
}
