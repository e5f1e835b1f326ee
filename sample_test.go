package pool

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Gets can be read while others get, and while they begin new intervals of samples, here each few
// hundred Gets: it does not go down, and not beyond what there were.
func TestGetsWhileOthersGet(t *testing.T) {
	needsPreemption(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	const getters, round = 3, 10
	p := New[[64]byte](WithProfile(64 * 200))
	var stop atomic.Bool
	var wg group
	var done atomic.Uint64
	for range getters {
		wg.Go(func() {
			for !stop.Load() {
				for range round {
					p.Put(p.GetNoZero())
				}
				done.Add(round)
			}
		})
	}
	last := uint64(0)
	for n := 0; n < times(1<<17) || done.Load() < 100_000; n++ {
		least := done.Load()
		gets := p.Stats().Gets
		if !assert.GreaterOrEqual(t, gets, max(last, least)) || !assert.LessOrEqual(t, gets, done.Load()+getters*round) {
			break
		}
		last = gets
	}
	stop.Store(true)
	wg.Wait()
	assert.Equal(t, done.Load(), p.Stats().Gets)
	require.NoError(t, p.Close())
}

// A Get that counts itself, finds that it has to be slow, and begins anew is not seen to be
// taken back.
func TestGetsDoesNotGoDown(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	s := p.core.shards.Load().present()[0]
	s.sampleIn--
	assert.EqualValues(t, 2, p.Stats().Gets)
	s.sampleIn++
	assert.EqualValues(t, 2, p.Stats().Gets)
	p.Put(p.Get())
	assert.EqualValues(t, 2, p.Stats().Gets)
}
