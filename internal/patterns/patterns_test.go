package patterns

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/internal/document"
	"github.com/warmpage/pool/pooltest"
)

func TestMain(m *testing.M) { pooltest.VerifyNone(m) }

// The code of the document is what runs here.
func TestDocumentIsWhatRuns(t *testing.T) {
	code, _ := document.Read(t, "patterns.md")
	document.RequireIn(t, code, "code_test.go")
}

// together runs f on some goroutines.
func together(n int, f func(k int)) {
	var g sync.WaitGroup
	g.Add(n)
	for k := range n {
		go func() {
			defer g.Done()
			f(k)
		}()
	}
	g.Wait()
}

// Readers see the session that they asked for, or none, while others add and expire.
func TestExpire(t *testing.T) {
	s := newStore()
	var clock atomic.Int64
	together(4, func(k int) {
		for i := range 500 {
			id := uint64(i*4 + k)
			now := clock.Add(1)
			s.add(id, id*7, now+100)
			if user, ok := s.user(id, now); ok {
				assert.Equal(t, id*7, user)
			} else {
				assert.GreaterOrEqual(t, clock.Load(), now+100, "it has not expired yet")
			}
			if user, ok := s.user(id/2, clock.Load()); ok {
				assert.Equal(t, id/2*7, user)
			}
			if i%50 == 0 {
				s.expire(clock.Load())
			}
		}
	})
	s.add(1, 2, 1<<60)
	s.add(1, 3, 1<<60) // takes the place of the other one
	user, _ := s.user(1, clock.Load())
	assert.EqualValues(t, 3, user)
	s.expire(clock.Load() + 1000)
	assert.Equal(t, 1, s.sessions.Live())
	assert.Len(t, s.byID, 1)
	s.expire(1 << 61)
	assert.Empty(t, s.byID)
	require.NoError(t, s.sessions.Close())
}

// The last holder puts the block, whoever that is.
func TestHolders(t *testing.T) {
	for range 100 {
		b := newBlock()
		b.data[0] = 7
		shares := make([]*block, 8)
		for k := range shares {
			shares[k] = b.share()
		}
		b.release()
		together(len(shares), func(k int) {
			assert.EqualValues(t, 7, shares[k].data[0])
			shares[k].release()
		})
		require.Zero(t, blocks.Live())
	}
}

// No more than eight work at a time, and who gives up gets the error of the context.
func TestSemaphore(t *testing.T) {
	var working, most atomic.Int32
	together(64, func(int) {
		for range 20 {
			err := work(context.Background(), func(s *scratch) error {
				n := working.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				s.buf[0]++
				working.Add(-1)
				return nil
			})
			assert.NoError(t, err)
		}
	})
	assert.LessOrEqual(t, most.Load(), int32(8))
	busy := make([]*scratch, 8)
	workers.GetBatch(busy)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, work(ctx, nil), context.DeadlineExceeded)
	workers.PutBatch(busy)
	broken := errors.New("broken")
	require.ErrorIs(t, work(context.Background(), func(*scratch) error { return broken }), broken)
	require.Zero(t, workers.Live())
}

// All tasks that were sent are done, and the pool is closed by the last one.
func TestShutdown(t *testing.T) {
	for range 20 {
		var done, sent atomic.Int64
		s := newServer(3, func(n int) { done.Add(int64(n)) })
		var g sync.WaitGroup
		g.Add(4)
		for range 4 {
			go func() {
				defer g.Done()
				for {
					err := s.submit(context.Background(), 2)
					if errors.Is(err, pool.ErrClosed) {
						return
					}
					assert.NoError(t, err)
					sent.Add(2)
				}
			}()
		}
		for sent.Load() < 200 {
			_ = s.submit(context.Background(), 0)
		}
		require.NoError(t, s.shutdown())
		g.Wait()
		assert.Equal(t, sent.Load(), done.Load())
		require.ErrorIs(t, s.tasks.Close(), pool.ErrClosed)
		require.ErrorIs(t, s.shutdown(), pool.ErrClosed)
	}
}

// A task that could not be sent is put.
func TestSendGivesUp(t *testing.T) {
	tasks := pooltest.New[task](t)
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := make(chan bool)
	go func() {
		defer close(cancelled)
		for tasks.Live() == 0 {
			runtime.Gosched()
		}
		cancel()
	}()
	require.ErrorIs(t, send(ctx, tasks, make(chan *task), 1), context.Canceled)
	<-cancelled
}

// After a level, nothing is in use.
func TestLevel(t *testing.T) {
	l := level{pooltest.New[particle](t)}
	for range 3 {
		l.play(10_000)
		assert.Zero(t, l.particles.Live())
	}
}
