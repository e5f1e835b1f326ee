package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/warmpage/pool"
)

// A store has open sessions, by their ids. Times are in nanoseconds. Methods are safe for concurrent
// use.
type store interface {
	// open opens a session. If there are too many, it ends those that nobody has used for longest.
	open(id, user uint64, now int64)
	// touch returns the user of a session, and notes that it was used.
	touch(id uint64, now int64) (user uint64, ok bool)
	// expire ends the sessions that were not used since a time, and returns how many.
	expire(before int64) int
	live() int
	close() error
}

// parts is how many locks a store has. A session belongs to one of them by its id.
const parts = 64

// A session is a slot. It is read, changed and put under the lock of its part.
type session struct {
	id, user uint64
	used     int64
	newer    pool.Ref[session] // in the list of its part, by used
	older    pool.Ref[session]
	token    [64]byte // what the browser sends
}

// pooled is a store on a pool. The garbage collector sees neither sessions nor the links between them.
type pooled struct {
	sessions *pool.Pool[session]
	parts    [parts]pooledPart
}

type pooledPart struct {
	mu             sync.Mutex
	byID           map[uint64]pool.Ref[session]
	newest, oldest pool.Ref[session]
}

func newPooled(limit int) store {
	s := &pooled{sessions: pool.New[session](pool.WithName("sessions"), pool.WithMaxSlots(limit))}
	for k := range s.parts {
		s.parts[k].byID = make(map[uint64]pool.Ref[session])
	}
	return s
}

func (s *pooled) open(id, user uint64, now int64) {
	p := &s.parts[id%parts]
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.byID[id]; ok { // another goroutine was faster
		s.end(p, r)
	}
	x, err := s.sessions.TryGet()
	for err != nil {
		if !errors.Is(err, pool.ErrLimit) || p.oldest.IsZero() {
			return // all sessions are other parts', which may happen if there are few
		}
		s.end(p, p.oldest)
		x, err = s.sessions.TryGet()
	}
	r := s.sessions.Ref(x)
	x.id, x.user, x.used = id, user, now
	binary.LittleEndian.PutUint64(x.token[:], rand.Uint64())
	s.push(p, r, x)
	p.byID[id] = r
}

func (s *pooled) touch(id uint64, now int64) (user uint64, ok bool) {
	p := &s.parts[id%parts]
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.byID[id]
	x := s.sessions.Deref(r)
	if x == nil {
		return 0, false
	}
	s.unlink(p, x)
	x.used = now
	s.push(p, r, x)
	return x.user, true
}

func (s *pooled) expire(before int64) (ended int) {
	for k := range s.parts {
		p := &s.parts[k]
		p.mu.Lock()
		for x := s.sessions.Deref(p.oldest); x != nil && x.used < before; x = s.sessions.Deref(p.oldest) {
			s.end(p, p.oldest)
			ended++
		}
		p.mu.Unlock()
	}
	return ended
}

// end ends the session that r refers to. The lock of p is held.
func (s *pooled) end(p *pooledPart, r pool.Ref[session]) {
	x := s.sessions.Deref(r)
	s.unlink(p, x)
	delete(p.byID, x.id)
	s.sessions.PutRef(r)
}

// push makes x the newest session of p.
func (s *pooled) push(p *pooledPart, r pool.Ref[session], x *session) {
	x.older, x.newer = p.newest, pool.Ref[session]{}
	if older := s.sessions.Deref(p.newest); older != nil {
		older.newer = r
	} else {
		p.oldest = r
	}
	p.newest = r
}

// unlink takes x out of the list of p.
func (s *pooled) unlink(p *pooledPart, x *session) {
	if newer := s.sessions.Deref(x.newer); newer != nil {
		newer.older = x.older
	} else {
		p.newest = x.older
	}
	if older := s.sessions.Deref(x.older); older != nil {
		older.newer = x.newer
	} else {
		p.oldest = x.newer
	}
}

func (s *pooled) live() int { return s.sessions.Live() }

func (s *pooled) close() error {
	s.sessions.Clear() // nobody uses it any more
	return s.sessions.Close()
}
