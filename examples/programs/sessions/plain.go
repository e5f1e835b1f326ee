package main

import (
	"container/list"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// plain is a store on the heap.
type plain struct {
	limit int
	n     atomic.Int64
	parts [parts]plainPart
}

type plainPart struct {
	mu   sync.Mutex
	byID map[uint64]*list.Element
	used list.List // of *plainSession, the newest first
}

type plainSession struct {
	id, user uint64
	used     int64
	token    [64]byte
}

func newPlain(limit int) store {
	s := &plain{limit: limit}
	for k := range s.parts {
		s.parts[k].byID = make(map[uint64]*list.Element)
	}
	return s
}

func (s *plain) open(id, user uint64, now int64) {
	p := &s.parts[id%parts]
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.byID[id]; ok {
		s.end(p, e)
	}
	for s.n.Add(1) > int64(s.limit) {
		s.n.Add(-1)
		if p.used.Len() == 0 {
			return
		}
		s.end(p, p.used.Back())
	}
	x := &plainSession{id: id, user: user, used: now}
	binary.LittleEndian.PutUint64(x.token[:], rand.Uint64())
	p.byID[id] = p.used.PushFront(x)
}

func (s *plain) touch(id uint64, now int64) (user uint64, ok bool) {
	p := &s.parts[id%parts]
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[id]
	if e == nil {
		return 0, false
	}
	x := e.Value.(*plainSession)
	x.used = now
	p.used.MoveToFront(e)
	return x.user, true
}

func (s *plain) expire(before int64) (ended int) {
	for k := range s.parts {
		p := &s.parts[k]
		p.mu.Lock()
		for e := p.used.Back(); e != nil && e.Value.(*plainSession).used < before; e = p.used.Back() {
			s.end(p, e)
			ended++
		}
		p.mu.Unlock()
	}
	return ended
}

func (s *plain) end(p *plainPart, e *list.Element) {
	delete(p.byID, p.used.Remove(e).(*plainSession).id)
	s.n.Add(-1)
}

func (s *plain) live() int { return int(s.n.Load()) }

func (s *plain) close() error { return nil }
