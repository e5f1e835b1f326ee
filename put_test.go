package pool

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// After PutBatch no Ref of its slots resolves, also if another goroutine makes the pool's first Refs
// while PutBatch runs.
func TestPutBatchEndsRefs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var opts []Option
	if !watchAll {
		opts = append(opts, WithProfile(1)) // PutBatch leaves its P at each sampled slot
	}
	for round := range times(2000) {
		p := New[[64]byte](opts...)
		xs := simBatch(p, 64)
		var wg group
		wg.Go(func() { p.PutBatch(xs) })
		var refs []Ref[[64]byte]
		for range round % 50 {
			runtime.Gosched()
		}
		for r := range p.All() {
			refs = append(refs, r)
		}
		wg.Wait()
		for _, r := range refs {
			require.Nil(t, p.Deref(r), "round %d: a slot was put, and its Ref resolves", round)
		}
		require.NoError(t, p.Close())
	}
}

// Of two Puts of a watched slot that race, one frees it and the other panics.
func TestRacingPutsOfWatchedSlot(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t, WithProfile(1))
	x := p.Get()
	c, addr := &p.core, address(x)
	s, err := c.enter("Put")
	require.NoError(t, err)
	first := s.putAt(addr)
	pg, i, _ := c.find(addr)
	*pg.link(i) = watched // the other Put read the word before that
	second := s.putAt(addr)
	c.leave(s)
	require.Equal(t, []putResult{putWatched, putWatched}, []putResult{first, second})
	require.NoError(t, c.finishPut("Put", addr, first))
	require.ErrorIs(t, c.finishPut("Put", addr, second), ErrDoublePut)
	require.NoError(t, c.checkInvariants())
	require.Zero(t, p.Stats().Live)
}
