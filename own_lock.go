package pool

import "unsafe"

// How a goroutine gets a shard to itself: by locking one. This is for platforms for which nobody
// has checked the other ways; for the race detector, which takes plain data guarded by a pin for a
// race; for the debug build, which does much while it has a shard; and for the build tag
// poolportable.
//
// There are as many shards as there were Ps when the pool was made. A goroutine takes the one that
// the address of its stack falls on, so that it finds again what it has put, and another one while
// that is locked.

// lock returns a shard, locked.
func (t *shardTable) lock() *shard {
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 13 // an 8 KiB stack in use is in one or two blocks
	// Fibonacci hashing (Knuth, TAOCP 6.4), scaled to the number of shards.
	n := len(t.shards)
	i := int((stack * 0x9e3779b97f4a7c15 >> 32) * uint64(n) >> 32)
	for k := range n {
		if s := t.shards[(i+k)%n]; s.mu.TryLock() {
			return s
		}
	}
	t.shards[i].mu.Lock()
	return t.shards[i]
}
