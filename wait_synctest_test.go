//go:build go1.25

package pool

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The waiter and the Put are in one bubble: the wait counts as one for the bubble, and ends by the Put.
func TestWaitInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[quote](WithMaxSlots(1))
		x := p.Get()
		var got *quote
		go func() {
			got, _ = p.GetContext(context.Background())
		}()
		synctest.Wait() // it waits
		require.Nil(t, got)
		go func() {
			time.Sleep(time.Hour) // of the bubble, while the other one waits
			p.Put(x)
		}()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.NotNil(t, got)
		p.Put(got)
		require.NoError(t, p.Close())
	})
}

// A deadline ends a wait in a bubble.
func TestWaitInBubbleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[quote](WithMaxSlots(1))
		x := p.Get()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		_, err := p.GetContext(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotContains(t, err.Error(), "TryGet")
		p.Put(x)
		require.NoError(t, p.Close())
	})
}

// A Put outside of the bubble does not end a wait inside. When the wait's time is up, it finds the slot
// if it is still free, and otherwise the error says what to do.
func TestWaitInBubblePutOutside(t *testing.T) {
	for _, taken := range []bool{false, true} {
		p := New[quote](WithMaxSlots(1))
		x := p.Get()
		puts, put := make(chan bool), make(chan bool) // of no bubble
		go func() {
			<-puts
			p.Put(x)
			if taken {
				x = p.Get()
			}
			put <- true
		}()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			var ended atomic.Bool
			go func() {
				defer ended.Store(true)
				y, err := p.GetContext(ctx)
				if taken {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.ErrorContains(t, err, "use TryGet there")
				} else if assert.NoError(t, err) {
					p.Put(y)
				}
			}()
			synctest.Wait()
			puts <- true
			<-put
			synctest.Wait()
			assert.False(t, ended.Load())
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			assert.True(t, ended.Load())
		})
		if taken {
			p.Put(x)
		}
		require.NoError(t, p.Close())
	}
}

// A Put in a bubble ends a wait outside, and passes over one in another bubble.
func TestWaitOutsidePutInBubble(t *testing.T) {
	p := New[quote](WithMaxSlots(1))
	x := p.Get()
	got := make(chan *quote)
	go func() {
		y, err := p.GetContext(context.Background())
		assert.NoError(t, err)
		got <- y
	}()
	awaitWaiting(p, 1)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		go func() {
			_, err := p.GetContext(ctx) // waits behind the one outside
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}()
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Waiting)
		p.Put(x)
		time.Sleep(2 * time.Hour)
	})
	p.Put(<-got)
	require.NoError(t, p.Close())
}

// Each bubble is served by its own Puts.
func TestWaitInTwoBubbles(t *testing.T) {
	p := New[quote](WithMaxSlots(2))
	xs := []*quote{p.Get(), p.Get()}
	var g group
	for _, x := range xs {
		g.Go(func() {
			synctest.Test(t, func(t *testing.T) {
				go func() {
					y, err := p.GetContext(context.Background())
					assert.NoError(t, err)
					p.Put(y)
				}()
				synctest.Wait()
				p.Put(x)
			})
		})
	}
	g.Wait()
	require.Zero(t, p.Live())
	require.NoError(t, p.Close())
}

func TestBubbleID(t *testing.T) {
	require.Zero(t, bubbleID())
	ids := make(map[uint64]bool)
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			id := bubbleID()
			inside := make(chan uint64)
			go func() { inside <- bubbleID() }()
			assert.Equal(t, id, <-inside)
			assert.NotZero(t, id)
			assert.NotEqual(t, uint64(unknownBubble), id)
			ids[id] = true
		})
	}
	require.Len(t, ids, 2)
}
