//go:build !linux || !(amd64 || arm64) || race || pooldebug || poolportable || go1.28

package pool

import "unsafe"

// How a goroutine gets a shard to itself, here: by locking one. This is for
// platforms and Go releases for which nobody has checked pin.go, for the race
// detector, which takes plain data guarded by a pin for a race, for the debug
// build, which does much between pin and unpin, and for the build tag
// poolportable.
//
// There are as many shards as there were Ps when the pool was made. A goroutine
// takes the one that the address of its stack falls on, so that it finds again
// what it put, and another one while that is locked.

// pinned says that a shard is got by pinning, not by locking.
const pinned = false

func initPin() {}

// procPin stands for the runtime's, which is not used here.
func procPin() int { return 0 }

// pin returns a shard, locked.
func (t *shardTable) pin(int) *shard {
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

// repin returns s, locked again.
func (c *core) repin(s *shard) *shard {
	s.mu.Lock()
	return s
}

// unpin ends what pin began.
func (s *shard) unpin() { s.mu.Unlock() }

// grow is never needed: all shards are made with the pool.
func (c *core) grow() {}

// fence is never needed: the lock is one.
func (s *shard) fence() {}

// waitTurn is never needed: pin waits.
func (s *shard) waitTurn() {}

// seize gives the caller all of shards until yield. Callers hold heart.mu, so
// that there is one seizer a pool.
func seize(shards []*shard) {
	for _, s := range shards {
		s.mu.Lock()
	}
}

// yield gives back what seize took.
func yield(shards []*shard) {
	for _, s := range shards {
		s.mu.Unlock()
	}
}
