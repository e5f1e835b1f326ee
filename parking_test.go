package pool

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A second Put is caught also if the lot has a stale entry for the slot at the place where it parks
// next.
func TestSecondPutMeetsStaleEntry(t *testing.T) {
	c, shards := sim(t, 64, 2)
	s := shards[1]
	xs := simFill(t, c, shards[0], 4)
	simDrain(t, c, s, xs[:3])
	for k := 2; k >= 0; k-- {
		require.Equal(t, xs[k], simGet(t, c, s))
	}
	simDrain(t, c, s, []uintptr{xs[2], xs[0]})
	require.Equal(t, xs[2], uintptr(s.lot.places[s.lot.n].slot), "the stale entry")
	require.False(t, s.lot.repark(xs[2]), "it is parked elsewhere in the lot")
	require.False(t, simPut(c, s, xs[2]))
	require.EqualValues(t, 2, s.lot.n)
	require.NoError(t, c.checkInvariants())
	require.True(t, simPut(c, s, xs[1]))
	require.NoError(t, c.checkInvariants())
}

// A shard that flushes its lot leaves the slots of other pools alone. Two racing Puts of one slot can
// leave it in a lot when its page is released, and then another pool can park it as well.
func TestFlushLeavesOtherPoolsAlone(t *testing.T) {
	c, shards := sim(t, 64, 2)
	x := simGet(t, c, shards[0])
	require.True(t, simPut(c, shards[1], x))
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	*pg.link(i) = taken // what the other Put saw
	require.True(t, pg.push(i))
	shards[0].discardEmpty()
	c.settle(shards[0].takeOutbox())
	require.Equal(t, noPage, pageOf(x), "released")

	other, theirs := sim(t, 64, 2)
	require.Equal(t, x, simGet(t, other, theirs[0]), "the arena uses the memory again")
	require.True(t, simPut(other, theirs[1], x))
	shards[1].flush(0)
	c.settle(shards[1].takeOutbox())
	require.NoError(t, other.checkInvariants())
	require.Equal(t, x, simGet(t, other, theirs[1]))
	require.NoError(t, c.checkInvariants())
}
