//go:build linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28

package pool

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// How a goroutine gets a shard to itself, here: by pinning itself to its P.
//
// procPin keeps the goroutine on its P and that P on its thread until
// procUnpin; the runtime promises to keep both for packages that link to them
// (comment at procPin in runtime/proc.go; the build constraint above names the
// first release for which nobody has checked that). Nothing between the two may
// block, call the system, allocate or panic.
//
// The plain fields of a shard, and of the pages that it owns, are thus written by
// one thread at a time. What one thread wrote, the next one to run the P sees:
// the scheduler hands a P over by atomic operations, which order the two (and on
// which sync.Pool's own per-P state relies).
//
// A goroutine that is not on the P takes a shard over with seize, which makes
// the pinned side pay almost nothing: it sets busy with a plain store and then
// looks at signal. The seizer sets signal, has the kernel run a full barrier on
// every running thread (membarrier(2)), and then waits for busy to clear. The
// barrier falls either after the store to busy, which the seizer then sees, or
// before the load of signal, which then sees the seizer's. This is Dekker's
// handshake with the fence moved to the rare side (asymmetric fences: Dice,
// Huang, Yang, "Asymmetric Dekker Synchronization", 2001). Where the kernel
// refuses membarrier, every shard has signalFence raised for good: that takes
// each operation to heed, which has the barrier that the seizer cannot cause.

// pinned says that a shard is got by pinning, not by locking.
const pinned = true

// The layout that page.go and shard.go describe. A negative array length here
// means that a field has moved.
var (
	_ [0 - unsafe.Offsetof(page{}.bump)%64]struct{}
	_ [64 - unsafe.Offsetof(page{}.bump)]struct{}
	_ [128 - unsafe.Offsetof(page{}.remote)]struct{}
	_ [0 - unsafe.Offsetof(page{}.remote)%128]struct{}
)

var (
	asymmetric     bool // membarrier works; set once before any pool exists
	asymmetricOnce sync.Once
)

func initPin() {
	asymmetricOnce.Do(func() { asymmetric = osBarrierInit() })
}

// pin returns the shard of the P that procPin, its argument, has pinned the
// caller to, marked busy. A P without a shard gets absent, whose signal is never
// 0.
func (t *shardTable) pin(p int) *shard {
	s := t.absent
	if p < len(t.shards) {
		s = t.shards[p]
	}
	s.busy = 1
	yieldPoint()
	return s
}

// repin is pin for a caller who had s: it gets the shard of the P that it is on
// by now.
func (c *core) repin(*shard) *shard { return c.pin() }

// unpin ends what pin began.
func (s *shard) unpin() {
	yieldPoint()
	if runtime.GOARCH == "amd64" {
		s.busy = 0 // stores are not reordered with earlier loads and stores
	} else {
		atomic.StoreUint32(&s.busy, 0)
	}
	procUnpin()
}

// fence orders the store to busy before the next load of signal, for heed.
func (s *shard) fence() { atomic.SwapUint32(&s.busy, 1) }

// grow gives every P a place in shards, and the P that the caller is on a shard.
func (c *core) grow() {
	c.requireNew() // a copy would never find the place of its own absent
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return // absent says so now
	}
	id := procPin() // it may be another P by now: then this one gets its shard later
	procUnpin()
	shards := slices.Clone(c.shards.Load().shards)
	for n := max(id+1, runtime.GOMAXPROCS(0)); len(shards) < n; {
		shards = append(shards, &c.absent)
	}
	if shards[id] == &c.absent {
		shards[id] = newShard(c, id)
		if !asymmetric {
			shards[id].signal.Or(signalFence)
		}
	}
	c.shards.Store(&shardTable{shards: shards, absent: &c.absent})
}

// waitTurn lets a goroutine whose P's shard is seized wait for its return.
// Called unpinned.
func (s *shard) waitTurn() {
	s.mu.Lock()
	//lint:ignore SA2001 waiting is the purpose
	s.mu.Unlock()
}

// seize gives the caller all of shards, from any goroutine, until yield. Shards
// are locked in the order given: callers hold heart.mu, so that there is one
// seizer a pool.
func seize(shards []*shard) {
	for _, s := range shards {
		s.mu.Lock()
		s.signal.Or(signalSeized)
		yieldPoint()
	}
	if asymmetric {
		osBarrier()
	}
	for _, s := range shards {
		// An operation takes well under a microsecond, unless the kernel has
		// suspended its thread.
		for spins := 0; atomic.LoadUint32(&s.busy) != 0; spins++ {
			pause(spins)
		}
	}
}

// yield gives back what seize took. The change of signal publishes what was
// done to the shard to the pinned Load of signal that finds it 0.
func yield(shards []*shard) {
	for _, s := range shards {
		yieldPoint()
		s.signal.And(^uint32(signalSeized))
		s.mu.Unlock()
	}
}
