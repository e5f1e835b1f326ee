package pool

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A list ends where it leads out of its page. Two racing Puts of one slot can damage a list.
func TestListThatLeadsOutOfThePage(t *testing.T) {
	c, shards := sim(t, 64, 1)
	xs := simFill(t, c, shards[0], 5)
	pg := pageOf(xs[0])
	i, _ := pg.indexOf(xs[0])
	for _, word := range []uint16{none, taken, parking, watched, leaving, uint16(pg.reserved)} {
		require.True(t, pg.push(i))
		pg.useLocal()
		*pg.link(i) = word
		require.Equal(t, xs[0], uintptr(pg.popFree()))
		require.Nil(t, pg.popFree(), "after the word %#x", word)
	}
	pg.free = none
	require.NoError(t, c.checkInvariants())
	simDrain(t, c, shards[0], xs)
}
