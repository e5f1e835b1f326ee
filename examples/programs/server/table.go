package main

import (
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// The kind of a session decides how long the session is kept when nobody uses it.
type kind uint8

const (
	member  kind = iota // somebody who has logged in: kept for a long time
	visitor             // somebody who just looks: kept for seconds
	kinds               // number of kinds
)

// sessions is a table of sessions. The client chooses the id of a session. The methods are safe for
// concurrent use, except close.
type sessions interface {
	// open opens a session unless one with the id is open. It reports whether it did.
	open(k kind, id uint64, now time.Duration) (bool, error)
	// trade books the fills of sc in the session, and copies the new totals to sc. It returns false
	// if there is no such session.
	trade(id uint64, sc *scratch, now time.Duration) bool
	// remove ends a session, and reports whether there was one.
	remove(id uint64) bool
	// expire ends the sessions that nobody has used for the time of their kind. It returns how many
	// there were.
	expire(now time.Duration) int
	// clear ends all sessions.
	clear()
	usage() usage
	close() error
}

// A table implements sessions with handles of type H: Refs of this library, which the garbage
// collector does not look at, or pointers. The zero H is no session.
type table[H comparable] struct {
	memory holder[H]
	ttl    [kinds]time.Duration
	shards [64]shard[H]
}

// A holder owns the memory of the sessions. The results of state and links may be used only while
// the session's shard is locked: the lock keeps others from dropping the session.
type holder[H comparable] interface {
	hold() (H, error) // returns a new session, which is not cleared
	drop(H)
	state(H) *state
	links(H) *links[H]
	usage() usage
	close() error
}

// A shard has the sessions whose ids hash to it. For each kind it has a list of sessions by last
// use.
type shard[H comparable] struct {
	mu     sync.Mutex // guards the fields below, and the sessions
	byID   map[uint64]H
	oldest [kinds]H // the session that has been unused for longest
	newest [kinds]H // the session used last
	_      [64]byte // keeps the locks of two shards on different cache lines
}

// links are a session's neighbours in the list of its kind.
type links[H comparable] struct{ older, newer H }

// newSessions returns an empty table. limit is in bytes; 0 means none.
func newSessions(v variant, limit int64, ttl [kinds]time.Duration) sessions {
	if v == usePool {
		return newTable(refs{newPooled[pooledSession]("sessions", limit)}, ttl)
	}
	return newTable(pointers{newRecycled[heapSession]("sessions")}, ttl)
}

func newTable[H comparable](m holder[H], ttl [kinds]time.Duration) *table[H] {
	t := &table[H]{memory: m, ttl: ttl}
	for i := range t.shards {
		t.shards[i].byID = make(map[uint64]H)
	}
	return t
}

func (t *table[H]) shard(id uint64) *shard[H] { return &t.shards[mix(id)%uint64(len(t.shards))] }

func (t *table[H]) open(k kind, id uint64, now time.Duration) (bool, error) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; ok {
		return false, nil
	}
	h, err := t.memory.hold()
	if err != nil {
		return false, err
	}
	*t.memory.state(h) = state{id: id, kind: k, lastUse: now}
	s.byID[id] = h
	t.append(s, h)
	return true, nil
}

func (t *table[H]) trade(id uint64, sc *scratch, now time.Duration) bool {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.byID[id]
	if !ok {
		return false
	}
	st := t.memory.state(h)
	st.lastUse = now
	st.book(sc)
	t.unlink(s, h)
	t.append(s, h)
	return true
}

func (t *table[H]) remove(id uint64) bool {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.byID[id]
	if ok {
		t.drop(s, h)
	}
	return ok
}

func (t *table[H]) expire(now time.Duration) (n int) {
	for i := range t.shards {
		for {
			some := t.expireSome(&t.shards[i], now)
			if some == 0 {
				break
			}
			n += some
		}
	}
	return n
}

// expireSome drops a few expired sessions at a time, so that requests can get the lock in between.
// It returns how many it has dropped.
func (t *table[H]) expireSome(s *shard[H], now time.Duration) (n int) {
	const few = 64
	s.mu.Lock()
	defer s.mu.Unlock()
	var none H
	for k, ttl := range t.ttl {
		for n < few && s.oldest[k] != none && now-t.memory.state(s.oldest[k]).lastUse >= ttl {
			t.drop(s, s.oldest[k])
			n++
		}
	}
	return n
}

func (t *table[H]) clear() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, h := range s.byID {
			t.drop(s, h)
		}
		s.mu.Unlock()
	}
}

func (t *table[H]) usage() usage { return t.memory.usage() }
func (t *table[H]) close() error { return t.memory.close() }

// drop ends a session. The caller has locked the shard.
func (t *table[H]) drop(s *shard[H], h H) {
	t.unlink(s, h)
	delete(s.byID, t.memory.state(h).id)
	t.memory.drop(h)
}

// append adds a session at the end of its list, as the newest. The caller has locked the shard.
func (t *table[H]) append(s *shard[H], h H) {
	var none H
	k := t.memory.state(h).kind
	last := s.newest[k]
	*t.memory.links(h) = links[H]{older: last}
	s.newest[k] = h
	if last == none {
		s.oldest[k] = h
	} else {
		t.memory.links(last).newer = h
	}
}

// unlink removes a session from its list. The caller has locked the shard.
func (t *table[H]) unlink(s *shard[H], h H) {
	var none H
	k := t.memory.state(h).kind
	l := *t.memory.links(h)
	if l.older == none {
		s.oldest[k] = l.newer
	} else {
		t.memory.links(l.older).newer = l.newer
	}
	if l.newer == none {
		s.newest[k] = l.older
	} else {
		t.memory.links(l.newer).older = l.older
	}
}

// A pooledSession is a session in a pool. A heapSession is the same, except for the type of its
// links.
type pooledSession struct {
	links links[pool.Ref[pooledSession]]
	state state
}

// refs holds sessions in a pool. Deref and PutRef cannot fail here: a correct table has no stale
// Refs.
type refs struct{ pooled[pooledSession] }

func (r refs) hold() (pool.Ref[pooledSession], error) {
	x, err := r.get()
	return r.Ref(x), err
}

func (r refs) drop(h pool.Ref[pooledSession])         { r.PutRef(h) }
func (r refs) state(h pool.Ref[pooledSession]) *state { return &r.Deref(h).state }

func (r refs) links(h pool.Ref[pooledSession]) *links[pool.Ref[pooledSession]] {
	return &r.Deref(h).links
}

type heapSession struct {
	links links[*heapSession]
	state state
}

// pointers holds sessions on the heap, and keeps ended sessions in a sync.Pool for reuse.
type pointers struct{ *recycled[heapSession] }

func (p pointers) hold() (*heapSession, error) { return p.get() }

func (p pointers) drop(h *heapSession) {
	h.links = links[*heapSession]{} // so that it does not keep its neighbours alive
	p.put(h)
}

func (p pointers) state(h *heapSession) *state               { return &h.state }
func (p pointers) links(h *heapSession) *links[*heapSession] { return &h.links }
