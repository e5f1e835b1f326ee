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

// A cache is a set of LRU caches, called shards. The hash of a key decides which shard it belongs
// to, so goroutines wait for each other only when they want keys of the same shard. A full shard
// evicts the key that was used least recently in the shard, not in the whole cache. The methods are
// safe for concurrent use, except Close.
type cache struct {
	shards []shard
	end    func() error
}

// A shard is an LRU cache with a lock. There is one implementation for each side; both behave the
// same. The methods are safe for concurrent use.
type shard interface {
	// get returns the value of k, and makes k the most recently used key.
	get(hash uint64, k key) (value, bool)
	// put sets the value of k, and makes k the most recently used key. If k is new and there is no
	// room, put evicts the least recently used key.
	put(hash uint64, k key, v value)
	len() int
	// drain removes everything.
	drain()
}

// newCache returns an empty cache. It calls make for each shard, with the shard's part of the
// capacity. Close calls end.
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

// Get returns the value of k, and whether k is in the cache.
func (c *cache) Get(k key) (value, bool) {
	h := k.hash()
	return c.shards[shardOf(h, len(c.shards))].get(h, k)
}

// Put sets the value of k. It may evict another key.
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

// Close empties the cache, which must not be used afterwards. The error lists what the cache has
// lost.
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

// shardOf returns the shard that a hash belongs to. It uses the lower half of the hash because an
// index uses the upper half. Otherwise all keys of a shard would crowd into one part of its index.
func shardOf(hash uint64, shards int) int {
	return int(uint64(uint32(hash)) * uint64(shards) >> 32)
}

const (
	hashSeed   = 0x9e3779b97f4a7c15
	hashFactor = 0xd6e8feb86659fd93 // odd, with well-spread bits
)

// hash returns the same value in every process, unlike hash/maphash, because both sides must have
// the same keys in the same shards. The price is that anyone who knows the constants can make keys
// that collide, as a test does. A server whose keys come from strangers should use maphash.
func (k *key) hash() uint64 {
	h := uint64(hashSeed)
	for i := 0; i < keySize; i += 8 {
		h = fold(h^binary.LittleEndian.Uint64(k[i:]), hashFactor)
	}
	return h
}

// fold combines the two halves of the product, so that each bit of x affects both halves of the
// result.
func fold(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}
