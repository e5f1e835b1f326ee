package main

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

const (
	keySize   = 64
	valueSize = 64
)

// Keys and values have a fixed size. Shorter keys are padded with zero bytes.
type (
	key   [keySize]byte
	value [valueSize]byte
)

// A cache is a set of LRU caches, of which each key belongs to one by its hash:
// goroutines wait for each other only when they want keys of the same shard. What
// has to go when a shard is full is what was used least recently in that shard,
// not in the cache. All methods may be called from any goroutine.
type cache struct {
	shards []shard
	end    func() error
}

// A shard is an LRU cache with a lock around it. There are two kinds, one for each
// side, that do the same.
type shard interface {
	// get returns the value of k, which is then the key used last.
	get(hash uint64, k key) (value, bool)
	// put sets the value of k, which is then the key used last. If k is new and
	// there is no room, the key used least recently has to go.
	put(hash uint64, k key, v value)
	len() int
	// drain removes everything.
	drain()
}

// newCache returns an empty cache, of which make has made the shards, each with
// its part of the capacity.
func newCache(capacity, shards int, make func(capacity int) shard, end func() error) *cache {
	c := &cache{end: end}
	for i := range shards {
		part := capacity / shards
		if i < capacity%shards {
			part++
		}
		c.shards = append(c.shards, make(part))
	}
	return c
}

// Get returns the value of k, if it is in the cache.
func (c *cache) Get(k key) (value, bool) {
	h := k.hash()
	return c.shards[shardOf(h, len(c.shards))].get(h, k)
}

// Put sets the value of k. What was used least recently may have to go for it.
func (c *cache) Put(k key, v value) {
	h := k.hash()
	c.shards[shardOf(h, len(c.shards))].put(h, k, v)
}

// Len returns how many keys are in the cache.
func (c *cache) Len() int {
	n := 0
	for _, s := range c.shards {
		n += s.len()
	}
	return n
}

// Close empties the cache, which must not be used any more. The error says what
// the cache has lost on the way.
func (c *cache) Close() error {
	var errs []error
	for _, s := range c.shards {
		s.drain()
		if n := s.len(); n != 0 {
			errs = append(errs, errors.New("a shard is not empty after drain"))
		}
	}
	return errors.Join(append(errs, c.end())...)
}

// shardOf goes by the lower half of the hash, an index by the upper one: all keys
// of a shard would otherwise crowd in one part of its index.
func shardOf(hash uint64, shards int) int {
	return int(uint64(uint32(hash)) * uint64(shards) >> 32)
}

const (
	hashSeed   = 0x9e3779b97f4a7c15
	hashFactor = 0xd6e8feb86659fd93 // odd, and with its bits well spread
)

// hash is the same in every process, which hash/maphash is not: both sides are to
// have the same keys in the same shard. The price is that whoever knows the
// constants can make keys that collide (a test does), so that a server whose keys
// come from strangers should take maphash.
func (k *key) hash() uint64 {
	h := uint64(hashSeed)
	for i := 0; i < keySize; i += 8 {
		h = fold(h^binary.LittleEndian.Uint64(k[i:]), hashFactor)
	}
	return h
}

// fold returns both halves of the product as one: each bit of x has its say in
// each half of the result.
func fold(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}
