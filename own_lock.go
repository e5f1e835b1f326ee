//go:build !linux || !(amd64 || arm64) || race || pooldebug || poolportable || go1.28

package pool

import "unsafe"

// How a goroutine gets a shard to itself, here: by locking one. This is for platforms and Go releases
// for which nobody has checked own_pin.go; for the race detector, which takes plain data guarded by a
// pin for a race; for the debug build, which does much while it has a shard; and for the build tag
// poolportable.
//
// There are as many shards as there were Ps when the pool was made. A goroutine takes the one that the
// address of its stack falls on, so that it finds again what it has put, and another one while that is
// locked.

// pinned says that a shard is got by pinning, not by locking.
const pinned = false

func initOwn() {}

// procPin stands for the runtime's, which is not used here.
func procPin() int { return 0 }

// own returns a shard, locked.
func (t *shardTable) own(int) *shard {
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

// unpin ends what own began.
func (s *shard) unpin() { s.mu.Unlock() }

// grow is never needed: all shards are made with the pool.
func (c *core) grow() {}

// fence is never needed: the lock is one.
func (s *shard) fence() {}

// waitTurn is never needed: own waits.
func (s *shard) waitTurn() {}

// seize gives shards to the caller until handBack. Any goroutine that holds core.stopMu, so that a
// pool has one seizer at a time.
func seize(shards []*shard) {
	for _, s := range shards {
		s.mu.Lock()
	}
}

// handBack ends what seize began.
func handBack(shards []*shard) {
	for _, s := range shards {
		s.mu.Unlock()
	}
}
