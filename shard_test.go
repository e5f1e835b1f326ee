package pool

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nobody owns a full page. The first shard that sends slots home to it claims it.
func TestFullPageIsNobodys(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	n := int(c.geo.slots)
	xs := simFill(t, c, a, n)
	last := simGet(t, c, a) // finds the page full
	pg := pageOf(xs[0])
	assert.Equal(t, uint32(noOwner), pg.ownerID())
	simDrain(t, c, b, xs[:lotSize+1])
	assert.Equal(t, b.id, pg.ownerID(), "b claims the page when its lot is full")
	assert.EqualValues(t, lotSize-1, b.lot.n, "what is parked stays")
	assert.Zero(t, b.counts.remotePuts)
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, b, xs[lotSize+1:])
	b.flush(0)
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

// A shard does not give up a full page if a slot has come home to it meanwhile.
func TestDisownFails(t *testing.T) {
	c, shards := sim(t, 64, 2)
	a, b := shards[0], shards[1]
	xs := simFill(t, c, a, int(c.geo.slots))
	require.True(t, simPut(c, b, xs[7]))
	b.flush(0)
	c.settle(b.takeOutbox())
	assert.Equal(t, xs[7], simGet(t, c, a))
	assert.Equal(t, a.id, pageOf(xs[7]).ownerID())
	require.NoError(t, c.checkInvariants())
}
