package pool_test

import (
	"fmt"

	"github.com/warmpage/pool"
)

// An Entry is one key of a Cache, in a list in the order of last use.
type Entry struct {
	Key, Value   uint64
	Newer, Older pool.Ref[Entry]
}

// A Cache keeps the entries that were used last. Its map and its entries hold no Go pointers, so
// that the garbage collector looks into neither of them, however many entries there are. A Cache is
// not safe for concurrent use.
type Cache struct {
	entries        *pool.Pool[Entry]
	byKey          map[uint64]pool.Ref[Entry]
	newest, oldest pool.Ref[Entry]
	most           int
}

// NewCache makes a Cache of at most n entries.
func NewCache(n int) *Cache {
	return &Cache{
		entries: pool.New[Entry](pool.WithName("cache")),
		byKey:   make(map[uint64]pool.Ref[Entry], n),
		most:    n,
	}
}

// Get returns the value of key, and reports whether the cache has it.
func (c *Cache) Get(key uint64) (uint64, bool) {
	e := c.entries.Deref(c.byKey[key]) // nil for the zero Ref
	if e == nil {
		return 0, false
	}
	c.unlink(e)
	c.link(e)
	return e.Value, true
}

// Set sets the value of key. If the key is new and the cache is full, the entry that was not used
// for the longest time goes.
func (c *Cache) Set(key, value uint64) {
	e := c.entries.Deref(c.byKey[key])
	if e != nil {
		c.unlink(e)
	} else {
		if len(c.byKey) == c.most {
			c.evict()
		}
		e = c.entries.Get()
		c.byKey[key] = c.entries.Ref(e)
	}
	e.Key, e.Value = key, value
	c.link(e)
}

// evict removes the oldest entry.
func (c *Cache) evict() {
	e := c.entries.Deref(c.oldest)
	c.unlink(e)
	delete(c.byKey, e.Key)
	c.entries.Put(e)
}

// link makes e the newest.
func (c *Cache) link(e *Entry) {
	ref := c.byKey[e.Key]
	e.Newer, e.Older = pool.Ref[Entry]{}, c.newest
	if n := c.entries.Deref(c.newest); n != nil {
		n.Newer = ref
	} else {
		c.oldest = ref
	}
	c.newest = ref
}

// unlink takes e out of the list.
func (c *Cache) unlink(e *Entry) {
	if n := c.entries.Deref(e.Newer); n != nil {
		n.Older = e.Older
	} else {
		c.newest = e.Older
	}
	if o := c.entries.Deref(e.Older); o != nil {
		o.Newer = e.Newer
	} else {
		c.oldest = e.Newer
	}
}

// A cache that evicts the entry that was not used for the longest time. Refs link its list.
func Example_cache() {
	squares := NewCache(2)
	squares.Set(3, 9)
	squares.Set(4, 16)
	squares.Get(3)
	squares.Set(5, 25) // 4 goes
	for _, key := range []uint64{3, 4, 5} {
		fmt.Println(squares.Get(key))
	}
	fmt.Println(squares.entries.Stats().Live)
	// Output:
	// 9 true
	// 0 false
	// 25 true
	// 2
}
