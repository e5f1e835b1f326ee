//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && ((linux && (amd64 || arm64)) || (poolfast && !go1.28 && !poolunknown && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

import (
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"
)

// How a goroutine gets a shard to itself: by pinning itself to its P.
//
// procPin keeps the goroutine on its P, and that P on its thread, until procUnpin. Nothing between
// the two may block, call the system, allocate or panic. So the plain fields of a shard, and of the
// pages that it owns, are written by one thread at a time. What one thread has written, the next
// thread that runs the P sees: the scheduler hands a P over by atomic operations, which order the
// two. sync.Pool's own state relies on the same.
//
// A goroutine that is not on the P takes the shard over by seize, at almost no cost to the owner:
// an operation sets busy with a plain store and then looks at signal. The seizer sets signal, has a
// full barrier run on every processor that runs the program, and then waits for busy to clear. The
// barrier falls after the store to busy, and then the seizer sees busy, or before the load of
// signal, and then the load sees the seizer's signal. This is Dekker's handshake with the fence
// moved to the rare side (asymmetric fences: Dice, Huang, Yang, "Asymmetric Dekker
// Synchronization", 2001).
//
// The barrier is the system's (osBarrier: membarrier(2) on Linux). Where the system has none or
// refuses it, at the start or at any later time, a stop of the world takes its place: it ends every
// operation that was under way.

// The layout that page.go and shard.go describe. If the compiler says that an array has a negative
// length here, a field has moved.
var (
	_ [0 - unsafe.Offsetof(page{}.bump)%64]struct{}
	_ [64 - unsafe.Offsetof(page{}.bump)]struct{}
	_ [128 - unsafe.Offsetof(page{}.remote)]struct{}
	_ [0 - unsafe.Offsetof(page{}.remote)%128]struct{}
	_ [0 - unsafe.Offsetof(shard{}.lot)%64]struct{}
	_ [64 - unsafe.Offsetof(shard{}.lot)]struct{}
)

// pin returns the shard of the P that the caller is on by now, pinned and marked busy. A P without
// a shard gets absent, whose signal is never 0.
func (t *shardTable) pin() *shard {
	s := &t.core.absent
	if p := procPin(); p < len(t.shards) {
		s = t.shards[p]
	}
	s.busy = 1
	yieldPoint()
	return s
}

// endPin ends what pin began.
func (s *shard) endPin() {
	yieldPoint()
	if runtime.GOARCH == "amd64" {
		s.busy = 0 // amd64 does not reorder a store with the loads and stores before it
	} else {
		atomic.StoreUint32(&s.busy, 0)
	}
	procUnpin()
}

// grow gives every P a place in the table, and a shard to the P that the caller is on.
func (c *core) grow() {
	c.requireNew()
	if !checkLayoutHere() {
		turnFastOff()
	}
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	if c.depot.closed.Load() {
		return // absent says so now
	}
	id := procPin() // it may be another P by now; then this one gets its shard later
	procUnpin()
	shards := slices.Clone(c.shards.Load().shards)
	for n := max(id+1, runtime.GOMAXPROCS(0)); len(shards) < n; {
		shards = append(shards, &c.absent)
	}
	if shards[id] == &c.absent {
		shards[id] = c.firstShard(id)
	}
	t := &shardTable{core: c, shards: shards}
	c.shards.Store(t)
	yieldPoint()
	// makeRefs stores hasRefs and then loads the table, and this is the other way round: one of the
	// two tells the new shard.
	if c.hasRefs.Load() {
		shards[id].raise(signalRefs)
	}
	c.tellOfWaiters(shards[id])
	c.fast.store(t)
}

// firstShard makes a shard. It knows all that the others know before anybody can use it. stopMu is held.
func (c *core) firstShard(id int) *shard {
	s := newShard(c.spec, &c.depot, id)
	s.raise(signalExhausted) // it has nothing, whatever a search has found
	s.raise(signalWaiting)   // until tellOfWaiters knows better
	if c.hasRefs.Load() {
		s.raise(signalRefs)
	}
	if c.closing.begun.Load() { // it begins under stopMu
		s.raise(signalClosing)
	}
	return s
}

// tellOfWaiters tells a new shard whether somebody waits. The table with the shard has been stored,
// with the signal up. join adds to n and loads the table, both under the lock: it sees the shard, or
// n is seen here.
func (c *core) tellOfWaiters(s *shard) {
	q := &c.waiters
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n.Load() == 0 {
		s.lower(signalWaiting)
	} else {
		s.raise(signalWaiting)
	}
}

// waitForOwners returns when the operations that were under way on shards, which the caller has
// signalled, have ended.
func waitForOwners(shards []*shard) {
	barrier()
	for _, s := range shards {
		// An operation takes well under a microsecond, unless the kernel has suspended its thread.
		for spins := 0; atomic.LoadUint32(&s.busy) != 0; spins++ {
			pause(spins)
		}
	}
}

// barriers says what barriers have cost. Any goroutine.
var barriers struct {
	mu         mutex
	begun      atomic.Uint64 // stops of the world that began
	worldStops atomic.Uint64 // those that ended
}

// barrier has every processor that runs the program execute a full barrier.
//
// A system that has refused it is asked again each time. It may refuse it after a time, too: a
// program may enter a sandbox that allows less, or may be restored from a checkpoint by another
// process.
func barrier() {
	if system.Load().barrier() {
		return
	}
	// Whoever comes while the world is being stopped shares the next stop with all that come
	// meanwhile: it needs one that began after its own call.
	before := barriers.begun.Load()
	barriers.mu.Lock()
	defer barriers.mu.Unlock()
	if barriers.begun.Load() != before {
		return
	}
	barriers.begun.Add(1)
	stopWorld()
	barriers.worldStops.Add(1)
}

// worldStops returns how often the world was stopped for want of a barrier.
func worldStops() uint64 { return barriers.worldStops.Load() }
