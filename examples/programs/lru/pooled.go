package main

import (
	"sync"

	"github.com/warmpage/pool"
)

// An entry is a slot of the pool. It refers to its neighbours by Refs rather than by pointers, so
// the garbage collector has nothing to follow, and does not know that the entries exist.
type entry struct {
	key          key
	value        value
	newer, older pool.Ref[entry] // zero at the ends of the list; guarded by the shard's mu
}

// newPooled returns a cache whose entries are in a pool, and that pool. Closing the cache closes
// the pool.
func newPooled(capacity, shards int) (*cache, *pool.Pool[entry]) {
	p := pool.New[entry](pool.WithName("lru"))
	return newCache(capacity, shards, func(part int) shard { return newPooledShard(p, part) }, p.Close), p
}

// A pooledShard has a list of its entries, from the most recently used one to the one that is
// evicted next, and an index of them.
//
//	count == entries in the list == used places of the index <= capacity
//
// The put of a new key gets a slot, and evict puts it back with PutRef. Both hold mu, so an entry
// that Deref has returned stays valid while the caller holds mu.
type pooledShard struct {
	entries  *pool.Pool[entry] // shared by all shards
	capacity int               // at least 1

	mu             sync.Mutex // guards the fields below
	index          index
	newest, oldest pool.Ref[entry]
	count          int

	_ [64]byte // keeps the locks of two shards on different cache lines
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
		s.evict() // before the Get, so that there are never more than capacity entries
	}
	e := s.entries.GetNoZero() // the code below sets all fields
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

// find returns the entry of k, or nil if there is none. Two keys may have the same hash, so find
// also compares the key in the entry.
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

// use makes e, which is in the list, the newest entry.
func (s *pooledShard) use(r pool.Ref[entry], e *entry) {
	if r == s.newest {
		return
	}
	s.unlink(e)
	s.pushNewest(r, e)
}

// pushNewest adds e, which is not in the list, as the newest entry.
func (s *pooledShard) pushNewest(r pool.Ref[entry], e *entry) {
	e.newer, e.older = pool.Ref[entry]{}, s.newest
	if head := s.entries.Deref(s.newest); head != nil {
		head.newer = r
	} else {
		s.oldest = r
	}
	s.newest = r
}

// unlink removes e from the list.
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

// evict removes the least recently used entry and gives it back to the pool. The shard must not be
// empty.
func (s *pooledShard) evict() {
	r := s.oldest
	e := s.entries.Deref(r)
	s.unlink(e)
	s.index.remove(e.key.hash(), r)
	s.entries.PutRef(r)
	s.count--
}
