package main

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testTTL = [kinds]time.Duration{member: 100, visitor: 10}

// A table agrees with a model: a map of the times of last use.
func TestTable(t *testing.T) {
	for _, v := range variants {
		tb := newSessions(v, 0, testTTL)
		type known struct {
			kind kind
			used time.Duration
			n    uint64
		}
		model := make(map[uint64]known)
		rng := rand.New(rand.NewPCG(3, 4))
		var sc scratch
		expired := 0
		for now := time.Duration(0); now < 30_000; now++ {
			id := rng.Uint64N(300)
			m, there := model[id]
			switch rng.IntN(10) {
			case 0, 1, 2:
				k := kind(rng.IntN(int(kinds)))
				isNew, err := tb.open(k, id, now)
				require.NoError(t, err)
				require.Equal(t, !there, isNew)
				if isNew {
					model[id] = known{kind: k, used: now}
				}
			case 3:
				require.Equal(t, there, tb.remove(id))
				delete(model, id)
			case 4:
				want := 0
				for id, m := range model {
					if now-m.used >= testTTL[m.kind] {
						delete(model, id)
						want++
					}
				}
				require.Equal(t, want, tb.expire(now))
				expired += want
			default:
				require.Equal(t, there, tb.trade(id, &sc, now))
				if there {
					m.used, m.n = now, m.n+1
					model[id] = m
					require.Equal(t, m.n, sc.requests)
				}
			}
			require.Equal(t, len(model), tb.usage().Live)
		}
		assert.Greater(t, expired, 1000)
		tb.clear()
		assert.Zero(t, tb.usage().Live)
		assert.Zero(t, tb.expire(1<<40), "the lists must be empty")
		assert.NoError(t, tb.close())
	}
}

// The session that has been unused for longest expires first.
func TestExpireInOrder(t *testing.T) {
	for _, v := range variants {
		tb := newSessions(v, 0, testTTL)
		var sc scratch
		for id := range uint64(1000) {
			_, err := tb.open(visitor, id, time.Duration(id/100))
			require.NoError(t, err)
		}
		require.True(t, tb.trade(0, &sc, 9))
		assert.Equal(t, 99, tb.expire(10))
		assert.True(t, tb.trade(0, &sc, 10))
		assert.False(t, tb.trade(1, &sc, 10))
		assert.True(t, tb.trade(100, &sc, 10))
		tb.clear()
		assert.NoError(t, tb.close())
	}
}

// An ended session in a sync.Pool must not keep others alive.
func TestDroppedSessionHasNoLinks(t *testing.T) {
	p := pointers{newRecycled[heapSession]("test")}
	x, y := new(heapSession), new(heapSession)
	x.links.older = y
	p.drop(x)
	assert.Zero(t, x.links)
}

func TestHistory(t *testing.T) {
	h := newHistory(3)
	samples, last, more := h.after(0)
	assert.Empty(t, samples)
	assert.Zero(t, last)
	for range 5 {
		require.NoError(t, h.add(sample{}))
	}
	select {
	case <-more:
	default:
		t.Error("add must close the channel for those who wait")
	}
	sequences := func(after uint64) (all []uint64) {
		samples, last, _ := h.after(after)
		assert.EqualValues(t, 5, last)
		for _, text := range samples {
			var s sample
			require.NoError(t, json.Unmarshal(text, &s))
			all = append(all, s.Sequence)
		}
		return all
	}
	assert.Equal(t, []uint64{3, 4, 5}, sequences(0), "the oldest samples are dropped")
	assert.Equal(t, []uint64{3, 4, 5}, sequences(1))
	assert.Equal(t, []uint64{5}, sequences(4))
	assert.Empty(t, sequences(5))
	assert.Empty(t, sequences(99))
	assert.EqualValues(t, 4, h.position(h.process+".4"))
	for _, id := range []string{"", "other.4", h.process, h.process + ".x"} {
		assert.Zero(t, h.position(id), id)
	}
}
