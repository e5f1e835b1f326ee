package patterns

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/warmpage/pool"
)

type task struct{ n int }

// send gives a task to whoever receives from queue, who puts it.
func send(ctx context.Context, tasks *pool.Pool[task], queue chan<- *task, n int) error {
	t, err := tasks.GetContext(ctx)
	if err != nil {
		return err
	}
	t.n = n
	select {
	case queue <- t:
		return nil // it is not ours any more
	case <-ctx.Done():
		tasks.Put(t) // nobody has it
		return ctx.Err()
	}
}

type session struct {
	id, user uint64
	expires  int64
}

// A store finds sessions by their ids. A session is read and put under the lock.
type store struct {
	mu       sync.RWMutex
	byID     map[uint64]pool.Ref[session]
	sessions *pool.Pool[session]
}

func newStore() *store {
	return &store{byID: make(map[uint64]pool.Ref[session]), sessions: pool.New[session](pool.WithName("sessions"))}
}

func (s *store) add(id, user uint64, expires int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.PutRef(s.byID[id]) // if there is one
	r, x := s.sessions.GetRef()
	*x = session{id, user, expires}
	s.byID[id] = r
}

func (s *store) user(id uint64, now int64) (user uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.sessions.Deref(s.byID[id])
	if x == nil || x.expires <= now {
		return 0, false
	}
	return x.user, true // a copy, and not x
}

func (s *store) expire(now int64) (expired int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, x := range s.sessions.All() {
		if x.expires <= now {
			delete(s.byID, x.id)
			s.sessions.PutRef(r)
			expired++
		}
	}
	return expired
}

type block struct {
	holders atomic.Int32
	data    [4096]byte
}

var blocks = pool.New[block](pool.WithName("blocks"))

// newBlock returns a block with one holder.
func newBlock() *block {
	b := blocks.Get()
	b.holders.Store(1)
	return b
}

// share makes a second holder. The caller is one.
func (b *block) share() *block {
	b.holders.Add(1)
	return b
}

// release ends the use by one holder. The last one puts the block.
func (b *block) release() {
	if b.holders.Add(-1) == 0 {
		blocks.Put(b)
	}
}

// A scratch is what a worker needs. There are eight, so eight work at a time.
type scratch struct{ buf [64 << 10]byte }

var workers = pool.New[scratch](pool.WithName("workers"), pool.WithMaxSlots(8))

func work(ctx context.Context, do func(*scratch) error) error {
	s, err := workers.GetContext(ctx)
	if err != nil {
		return err // ctx has ended before it was our turn
	}
	defer workers.Put(s)
	return do(s)
}

// A server does tasks on some goroutines.
type server struct {
	tasks   *pool.Pool[task]
	queue   chan *task
	sending sync.RWMutex // held by who sends, and then by who closes the queue
	workers sync.WaitGroup
}

func newServer(workers int, do func(n int)) *server {
	s := &server{tasks: pool.New[task](pool.WithMaxSlots(100)), queue: make(chan *task, 10)}
	s.workers.Add(workers)
	for range workers {
		go func() {
			defer s.workers.Done()
			for t := range s.queue {
				do(t.n)
				s.tasks.Put(t) // the last one closes the pool
			}
		}()
	}
	return s
}

func (s *server) submit(ctx context.Context, n int) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	return send(ctx, s.tasks, s.queue, n)
}

func (s *server) shutdown() error {
	err := s.tasks.CloseWhenEmpty() // submit fails with ErrClosed from here on
	s.sending.Lock()
	defer s.sending.Unlock()
	if err == nil {
		close(s.queue)
	}
	s.workers.Wait()
	return err
}

type particle struct{ x, y, dx, dy float32 }

// A level has particles that end together.
type level struct{ particles *pool.Pool[particle] }

func (l *level) play(explosions int) {
	defer l.particles.Clear() // no particle is in use after the level
	for range explosions {
		*l.particles.GetNoZero() = particle{0, 0, 1, 1}
	}
}
