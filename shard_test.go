package pool

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Pages nobody owns are full, and the shard that frees into one claims it.
func TestFullPageIsNobodys(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	n := int(c.geo.slots)
	xs := simFill(t, c, a, n)
	last := simGet(t, c, a) // finds the page full
	pg := pageOf(xs[0])
	assert.Equal(t, uint32(noOwner), pg.owner.Load())
	simDrain(t, c, b, xs[:lotSize+1])
	assert.Equal(t, b.id, pg.owner.Load(), "claimed when the parking lot was full")
	assert.Zero(t, b.counts.remotePuts)
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, b, xs[lotSize+1:])
	assert.Equal(t, 1, b.retired.len)
	require.True(t, simPut(c, a, last))
}

func TestPick(t *testing.T) {
	_, shards := sim(t, 64, 1)
	s := shards[0]
	for used := range uint32(6) {
		s.queue.pushBack(&page{pageOwned: pageOwned{used: 10 - used + used*used%7}}, onQueue)
	}
	var used []uint32
	for s.queue.len > 0 {
		used = append(used, s.pick().used)
	}
	assert.Equal(t, "[12 10 10 9 9 8]", fmt.Sprint(used))
}

// A full page to which a slot has come home meanwhile stays its owner's.
func TestDisownFails(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, int(c.geo.slots))
	require.True(t, simPut(c, b, xs[7]))
	b.flush(0)
	c.settle(b.takeOutbox())
	assert.Equal(t, xs[7], simGet(t, c, a))
	assert.Equal(t, a.id, pageOf(xs[7]).owner.Load())
	require.NoError(t, c.checkInvariants())
}

// A full page, which nobody owns, gets an owner before half of its slots have
// been put: a shard that empties pages owns them in time to keep them warm.
func TestClaimEarly(t *testing.T) {
	c, shards := sim(t, 1024, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, 65) // one more than a page has, so that the first page is given up
	pg := pageOf(xs[0])
	require.EqualValues(t, noOwner, pg.owner.Load())
	few := b.lot.room / 4
	for k, x := range xs[:few+1] {
		require.True(t, simPut(c, b, x))
		if k < int(few) {
			require.EqualValues(t, noOwner, pg.owner.Load(), "a few slots are parked")
		}
	}
	require.Equal(t, b.id, pg.owner.Load())
	require.LessOrEqual(t, b.lot.n, uint32(1), "those that were parked have come home; one of its own may be")
	for _, x := range xs[few+1 : 64] {
		require.True(t, simPut(c, b, x))
	}
	require.NoError(t, c.checkInvariants())
}
