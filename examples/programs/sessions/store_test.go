package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/pooltest"
)

func TestMain(m *testing.M) { pooltest.VerifyNone(m) }

var stores = map[string]func(limit int) store{"pooled": newPooled, "plain": newPlain}

// A session ends when it was not used for long enough, and not before.
func TestExpiry(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(1000)
			for id := range uint64(500) {
				s.open(id, id*3, int64(id))
			}
			for id := uint64(0); id < 500; id += 2 {
				user, ok := s.touch(id, 1000)
				assert.True(t, ok)
				assert.Equal(t, id*3, user)
			}
			assert.Equal(t, 100, s.expire(200), "those with odd ids below 200")
			assert.Equal(t, 400, s.live())
			for id := range uint64(500) {
				_, ok := s.touch(id, 2000)
				assert.Equal(t, id%2 == 0 || id >= 200, ok, "session %d", id)
			}
			assert.Equal(t, 400, s.expire(3000))
			assert.Zero(t, s.live())
			require.NoError(t, s.close())
		})
	}
}

// A full store ends the session of the same part that was not used for longest.
func TestEviction(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(3)
			for k := range uint64(3) {
				s.open(k*parts, k, int64(k))
			}
			s.touch(0, 10)
			s.open(3*parts, 3, 11)
			assert.Equal(t, 3, s.live())
			_, ok := s.touch(1*parts, 12)
			assert.False(t, ok, "it was the oldest")
			_, ok = s.touch(0, 12)
			assert.True(t, ok)
			s.open(1, 1, 13) // a part that has none
			_, ok = s.touch(1, 13)
			assert.False(t, ok)
			s.open(0, 7, 14) // again
			user, _ := s.touch(0, 14)
			assert.EqualValues(t, 7, user)
			assert.Equal(t, 3, s.live())
			require.NoError(t, s.close())
		})
	}
}

// Under load, no session is another user's, none is seen after it has expired, and the bound holds.
func TestUnderLoad(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			const limit, ttl = 300, 50
			s := newStore(limit)
			var clock, swept atomic.Int64
			var g sync.WaitGroup
			g.Add(4)
			for range 4 {
				go func() {
					defer g.Done()
					for range 5000 {
						id := rand.Uint64N(1000)
						now := clock.Add(1)
						if user, ok := s.touch(id, now); ok {
							assert.Equal(t, id*7, user)
						} else {
							s.open(id, id*7, now)
						}
						if now%100 == 0 {
							s.expire(now - ttl)
							swept.Add(1)
						}
						assert.LessOrEqual(t, s.live(), limit+4)
					}
				}()
			}
			g.Wait()
			assert.Positive(t, swept.Load())
			assert.LessOrEqual(t, s.live(), limit)
			s.expire(clock.Load() + 1)
			assert.Zero(t, s.live())
			require.NoError(t, s.close())
		})
	}
}

func TestRun(t *testing.T) {
	var out, errs strings.Builder
	require.Zero(t, run(context.Background(), []string{"-sessions", "1000", "-time", "30ms"}, &out, &errs), errs.String())
	for _, want := range []string{"on a pool: 1000 sessions at most", "on the heap", "expired; GC"} {
		assert.Contains(t, out.String(), want)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		assert.LessOrEqual(t, len(line), 80, line)
	}
	assert.Equal(t, command.ExitUsage, run(context.Background(), []string{"-goroutines", "0"}, &out, &errs))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Equal(t, command.ExitInterrupted, run(ctx, nil, &out, &errs))
}
