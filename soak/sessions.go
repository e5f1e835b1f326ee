package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// Sessions are found by their keys, and expire. A session is read and put under the lock.
type sessions struct {
	*checked[session]
	mu    sync.Mutex
	byKey map[uint64]refOf[session]
}

type session struct {
	words   [60]uint64
	key     uint64
	expires time.Duration // from the start of the run
}

const (
	sessionTime = time.Second
	sweepTime   = 500 * time.Millisecond
)

func newSessions(s *soak) *sessions {
	return &sessions{
		checked: newChecked(s, "sessions", 0, func(x *session) []uint64 { return x.words[:] },
			pool.WithProfile(32<<10), pool.WithGuardSampling(100)),
		byKey: make(map[uint64]refOf[session]),
	}
}

// touch looks a session up, and makes one if there is none.
func (ss *sessions) touch(o *owner, key uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	r, ok := ss.byKey[key]
	if !ok {
		ref, h := ss.getRef(o)
		if h.x == nil {
			return
		}
		h.x.key, h.x.expires = key, time.Since(ss.s.began)+sessionTime
		ss.byKey[key] = refOf[session]{ref, h.id}
		return
	}
	x := ss.Deref(r.ref)
	switch {
	case x == nil || x.key != key:
		ss.fault(fmt.Errorf("the Ref of session %#x refers to %v", key, x))
	case o.IntN(8) == 0: // it ends
		delete(ss.byKey, key)
		ss.putByRef(r.ref, r.id)
	default:
		if err := checkStamp(x.words[:], r.id); err != nil {
			ss.fault(err)
		}
	}
}

// expire ends old sessions until the run ends.
func (ss *sessions) expire() {
	for ss.s.sleep(sweepTime) {
		ss.sweep(time.Since(ss.s.began))
	}
}

// sweep ends the sessions that expire before now. It goes over the slots in use, which must be those
// of the map.
func (ss *sessions) sweep(now time.Duration) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	want := len(ss.byKey)
	found := 0
	for ref, x := range ss.All() {
		found++
		r, ok := ss.byKey[x.key]
		if !ok || r.ref != ref {
			ss.fault(fmt.Errorf("session %#x is %v for All, and %v in the map", x.key, ref, r.ref))
			return
		}
		if x.expires <= now {
			delete(ss.byKey, x.key)
			ss.putByRef(ref, r.id)
		}
	}
	if found != want {
		ss.fault(fmt.Errorf("%d sessions of %d were found by All", found, want))
	}
}

func (ss *sessions) close() {
	ss.sweep(time.Since(ss.s.began) + 2*sessionTime)
	ss.closePool()
}
