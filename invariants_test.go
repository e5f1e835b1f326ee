package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The check that all other tests rely on finds damage of each kind.
func TestInvariantsAreChecked(t *testing.T) {
	damages := []struct {
		want string
		do   func(c *core, s *shard, pg *page) (undo func())
	}{
		{"does not hold: ", func(_ *core, _ *shard, pg *page) func() { pg.used++; return func() { pg.used-- } }},
		{"bump <= capacity", func(_ *core, _ *shard, pg *page) func() {
			before := pg.bump
			pg.bump = pg.capacity + 1
			return func() { pg.bump = before }
		}},
		{"of the bump range has the word", func(_ *core, _ *shard, pg *page) func() {
			pg.links[pg.bump] = taken
			return func() { pg.links[pg.bump] = none }
		}},
		{"which is not carved", func(_ *core, _ *shard, pg *page) func() {
			before := pg.localFree
			pg.localFree = pg.capacity
			return func() { pg.localFree = before }
		}},
		{"on one twice", func(_ *core, _ *shard, pg *page) func() {
			before := pg.links[pg.localFree]
			pg.links[pg.localFree] = uint16(pg.localFree)
			return func() { pg.links[pg.localFree] = before }
		}},
		{"is on no list and has the word", func(_ *core, _ *shard, pg *page) func() {
			pg.links[0] = none
			return func() { pg.links[0] = taken }
		}},
		{"says it is 7", func(_ *core, _ *shard, pg *page) func() {
			before := pg.index
			pg.index = 7
			return func() { pg.index = before }
		}},
		{"remoteFree has", func(_ *core, _ *shard, pg *page) func() {
			before := pg.remote.Load()
			pg.remote.Store(before + 1<<16)
			return func() { pg.remote.Store(before) }
		}},
		{"that does not own it", func(_ *core, _ *shard, pg *page) func() {
			before := pg.remote.Load()
			pg.remote.Store(before &^ uint64(remoteOwned))
			return func() { pg.remote.Store(before) }
		}},
		{"has a page of owner", func(_ *core, s *shard, pg *page) func() {
			pg.setOwner(s.id + 1)
			return func() { pg.setOwner(s.id) }
		}},
		{"of at most", func(_ *core, s *shard, _ *page) func() {
			before := s.lot.room
			s.lot.room = 0
			return func() { s.lot.room = before }
		}},
		{"which is not parked", func(_ *core, s *shard, _ *page) func() {
			word := s.lot.places[0].word
			*word = none
			return func() { *word = parking }
		}},
		{"pages are in transit", func(c *core, _ *shard, _ *page) func() {
			c.depot.transit.leave()
			return func() { c.depot.transit.word.Add(1) }
		}},
		{"spare pages", func(c *core, _ *shard, _ *page) func() {
			c.depot.spares.Add(1)
			return func() { c.depot.spares.Add(-1) }
		}},
		{"not the pool's", func(c *core, s *shard, _ *page) func() {
			pages := c.depot.pages
			c.depot.pages = pages[:0]
			return func() { c.depot.pages = pages }
		}},
		{"in its outbox", func(_ *core, s *shard, _ *page) func() {
			s.outbox.arm = true
			return func() { s.outbox.arm = false }
		}},
		{"nobody knows of them", func(_ *core, s *shard, pg *page) func() {
			before := pg.remote.Load()
			s.cur = noPage
			pg.remote.Store(before &^ uint64(remoteOwned))
			return func() { s.cur = pg; pg.remote.Store(before) }
		}},
	}
	for _, damage := range damages {
		t.Run(damage.want, func(t *testing.T) {
			c, shards := sim(t, 64, 2)
			s := shards[0]
			xs := simFill(t, c, s, 5)
			for _, x := range xs[2:] { // one is parked
				require.True(t, simPut(c, s, x))
			}
			pg := pageOf(xs[0])
			require.NoError(t, c.checkInvariants())
			undo := damage.do(c, s, pg)
			assert.ErrorContains(t, c.checkInvariants(), damage.want)
			undo()
			require.NoError(t, c.checkInvariants())
			simDrain(t, c, s, xs[:2])
		})
	}
}
