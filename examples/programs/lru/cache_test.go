package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keys returns the keys in a shard, the most recently used one first. It follows the list in both
// directions, and looks up each entry in the index.
func (s *pooledShard) keys(t *testing.T) []key {
	t.Helper()
	var keys, back []key
	for r := s.newest; !r.IsZero(); {
		e := s.entries.Deref(r)
		require.NotNil(t, e, "a Ref in the list is stale")
		found, _ := s.find(e.key.hash(), &e.key)
		require.Equal(t, r, found, "the index has a different entry for the key, or none")
		keys = append(keys, e.key)
		r = e.older
	}
	for r := s.oldest; !r.IsZero(); {
		e := s.entries.Deref(r)
		back = append(back, e.key)
		r = e.newer
	}
	slices.Reverse(back)
	require.Equal(t, keys, back, "the list differs between the two directions")
	used := 0
	for _, p := range s.index {
		if !p.ref.IsZero() {
			used++
		}
	}
	require.Equal(t, s.count, used)
	require.Len(t, keys, s.count)
	return keys
}

// keys returns the keys in a shard, the most recently used one first. It looks up each one in the
// map.
func (s *listedShard) keys(t *testing.T) []key {
	t.Helper()
	var keys []key
	for el := s.order.Front(); el != nil; el = el.Next() {
		e := el.Value.(*listedEntry)
		require.Same(t, el, s.index[e.key])
		keys = append(keys, e.key)
	}
	require.Len(t, s.index, len(keys))
	return keys
}

// A model is an LRU shard that is too simple to be wrong.
type model struct {
	capacity int
	keys     []key // the most recently used one first
	values   map[key]value
}

func (m *model) use(k key) {
	m.keys = slices.DeleteFunc(m.keys, func(x key) bool { return x == k })
	m.keys = slices.Insert(m.keys, 0, k)
}

func (m *model) get(k key) (value, bool) {
	v, ok := m.values[k]
	if ok {
		m.use(k)
	}
	return v, ok
}

func (m *model) put(k key, v value) {
	m.values[k] = v
	m.use(k)
	if len(m.keys) > m.capacity {
		delete(m.values, m.keys[m.capacity])
		m.keys = m.keys[:m.capacity]
	}
}

// numbered returns the key with number i.
func numbered(i int) key { return (&trace{}).key(uint32(i)) }

// colliding returns n keys with the same hash. In each key, the second word cancels the effect of
// the first: it brings the state of the hash back to 0.
func colliding(n int) []key {
	keys := make([]key, n)
	for i := range keys {
		first := uint64(i)
		binary.LittleEndian.PutUint64(keys[i][0:], first)
		binary.LittleEndian.PutUint64(keys[i][8:], fold(hashSeed^first, hashFactor))
	}
	return keys
}

// Both sides agree with the model after each operation. The capacities make the cache evict many
// keys, few or none, and some of the keys collide.
func TestModel(t *testing.T) {
	var usual []key
	for i := range 24 {
		usual = append(usual, numbered(i))
	}
	for name, keys := range map[string][]key{
		"usual": usual, "colliding": colliding(24), "both": append(colliding(12), usual[:12]...),
	} {
		for _, capacity := range []int{1, 2, 3, 8, 23, 24, 40} {
			p, pl := newPooled(capacity, 1)
			l := newListed(capacity, 1)
			m := &model{capacity: capacity, values: map[key]value{}}
			rng := rand.New(rand.NewPCG(1, uint64(capacity)))
			for range 600 {
				k := keys[rng.IntN(len(keys))]
				if rng.IntN(2) == 0 {
					want, wantOK := m.get(k)
					v, ok := p.Get(k)
					require.Equal(t, wantOK, ok, "%s, capacity %d", name, capacity)
					require.Equal(t, want, v)
					v, ok = l.Get(k)
					require.Equal(t, wantOK, ok, "%s, capacity %d", name, capacity)
					require.Equal(t, want, v)
				} else {
					v := value{0: byte(rng.Uint32()), valueSize - 1: byte(rng.Uint32())}
					m.put(k, v)
					p.Put(k, v)
					l.Put(k, v)
				}
				want := m.keys
				if len(want) == 0 {
					want = nil
				}
				require.Equal(t, want, p.shards[0].(*pooledShard).keys(t), "%s, capacity %d", name, capacity)
				require.Equal(t, want, l.shards[0].(*listedShard).keys(t), "%s, capacity %d", name, capacity)
				require.Equal(t, len(want), pl.Stats().Live, "as many slots in use as entries")
			}
			require.NoError(t, p.Close())
			require.NoError(t, l.Close())
		}
	}
}

func TestCollidingKeysCollide(t *testing.T) {
	keys := colliding(3)
	assert.NotEqual(t, keys[0], keys[1])
	assert.Equal(t, keys[0].hash(), keys[1].hash())
	assert.Equal(t, keys[0].hash(), keys[2].hash())
}

func TestEvictionOrder(t *testing.T) {
	p, _ := newPooled(3, 1)
	for _, c := range []*cache{p, newListed(3, 1)} {
		a, b, d, e, f := numbered(1), numbered(2), numbered(3), numbered(4), numbered(5)
		c.Put(a, valueOf(a))
		c.Put(b, valueOf(b))
		c.Put(d, valueOf(d))
		v, ok := c.Get(a) // makes b the oldest
		assert.True(t, ok)
		assert.Equal(t, valueOf(a), v)
		c.Put(e, valueOf(e))
		_, ok = c.Get(b)
		assert.False(t, ok, "b was the oldest")
		c.Put(d, value{1}) // makes a the oldest, not d
		c.Put(f, valueOf(f))
		_, ok = c.Get(a)
		assert.False(t, ok, "a was the oldest")
		v, ok = c.Get(d)
		assert.True(t, ok)
		assert.Equal(t, value{1}, v)
		assert.Equal(t, 3, c.Len())
		assert.NoError(t, c.Close())
	}
}

// The Ref of an evicted entry is stale, and stays so when its slot is handed out again.
func TestEvictedRefIsStale(t *testing.T) {
	c, entries := newPooled(1, 1)
	s := c.shards[0].(*pooledShard)
	c.Put(numbered(1), value{})
	old := s.newest
	assert.NotNil(t, entries.Deref(old))
	for i := range 5 {
		c.Put(numbered(2+i), value{})
		assert.Nil(t, entries.Deref(old))
		assert.False(t, entries.PutRef(old))
		assert.Equal(t, 1, entries.Stats().Live)
	}
	assert.NoError(t, c.Close())
}

func TestShards(t *testing.T) {
	c, _ := newPooled(10, 4)
	total := 0
	for _, s := range c.shards {
		total += s.(*pooledShard).capacity
	}
	assert.Equal(t, 10, total)

	seen := make([]int, 64)
	for i := range 64_000 {
		k := numbered(i)
		seen[shardOf(k.hash(), len(seen))]++
	}
	for i, n := range seen {
		assert.InDelta(t, 1000, n, 200, "keys of shard %d", i)
	}
}

// Through random inserts and removes, a small index contains what it should and nothing else.
func TestIndex(t *testing.T) {
	_, entries := newPooled(1, 1)
	rng := rand.New(rand.NewPCG(3, 4))
	x := newIndex(12)
	var places []place
	for range 20_000 {
		if len(places) < 12 && rng.IntN(2) == 0 {
			// Hashes near both ends, so that chains wrap around.
			hash := rng.Uint64() | 0xe000000000000000
			if rng.IntN(3) == 0 {
				hash >>= 3
			}
			p := place{hash, entries.Ref(entries.Get())}
			x.insert(p.hash, p.ref)
			places = append(places, p)
		} else if len(places) > 0 {
			i := rng.IntN(len(places))
			x.remove(places[i].hash, places[i].ref)
			entries.PutRef(places[i].ref)
			places = slices.Delete(places, i, i+1)
		}
		used := 0
		for _, p := range x {
			if !p.ref.IsZero() {
				used++
			}
		}
		require.Equal(t, len(places), used)
		for _, p := range places {
			i := x.home(p.hash)
			for x[i].ref != p.ref {
				require.False(t, x[i].ref.IsZero(), "a gap between the home and the place")
				i = x.next(i)
			}
		}
	}
}

// All goroutines use all shards, which gives the race detector something to check. Every hit must
// return the value of its key.
func TestConcurrent(t *testing.T) {
	const capacity, goroutines = 200, 8
	p, entries := newPooled(capacity, 8)
	for _, c := range []*cache{p, newListed(capacity, 8)} {
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(5, uint64(g)))
				hits := 0
				for range 5000 {
					k := numbered(rng.IntN(2 * capacity))
					v, ok := c.Get(k)
					if !ok {
						c.Put(k, valueOf(k))
						continue
					}
					hits++
					if v != valueOf(k) {
						t.Errorf("%s has the value of another key", k[:])
						return
					}
				}
				assert.Positive(t, hits)
			})
		}
		wg.Wait()
		assert.Equal(t, capacity, c.Len())
	}
	for _, s := range p.shards {
		s.(*pooledShard).keys(t)
	}
	assert.Equal(t, capacity, entries.Stats().Live)
	assert.NoError(t, p.Close())
}

// On both sides, Gets and Puts of keys that are in the cache allocate nothing. In the pooled cache,
// Puts that evict allocate nothing either.
func TestAllocations(t *testing.T) {
	p, _ := newPooled(100, 4)
	for _, c := range []*cache{p, newListed(100, 4)} {
		k := numbered(1)
		c.Put(k, valueOf(k))
		assert.Zero(t, testing.AllocsPerRun(1000, func() {
			c.Get(k)
			c.Put(k, valueOf(k))
		}))
	}
	i := 0
	put := func() { i++; k := numbered(i); p.Put(k, valueOf(k)) }
	for range 1000 {
		put()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, put))
}
