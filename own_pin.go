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
// procPin keeps the goroutine on its P, and that P on its thread, until procUnpin. The runtime promises
// to keep both functions for the packages that link to them (comment at procPin in runtime/proc.go;
// the build constraint above names the first release that nobody has checked). Nothing between the
// two may block, call the system, allocate or panic.
//
// So the plain fields of a shard, and of the pages that it owns, are written by one thread at a time.
// What one thread has written, the next thread that runs the P sees: the scheduler hands a P over by
// atomic operations, which order the two. sync.Pool's own state relies on the same.
//
// A goroutine that is not on the P takes the shard over by seize, at almost no cost to the pinned side:
// that sets busy with a plain store and then looks at signal. The seizer sets signal, has the kernel
// run a full barrier on every running thread (membarrier(2)), and then waits for busy to clear. The
// barrier falls after the store to busy, and then the seizer sees busy, or before the load of signal,
// and then the load sees the seizer's signal. This is Dekker's handshake with the fence moved to the
// rare side (asymmetric fences: Dice, Huang, Yang, "Asymmetric Dekker Synchronization", 2001). Where
// the kernel refuses membarrier, every shard has signalFence raised for good. That takes each
// operation to answer, which has the barrier that the seizer cannot cause.

// pinned says that a shard is got by pinning, not by locking.
const pinned = true

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

var (
	asymmetric     bool // membarrier works; set once before any pool exists
	asymmetricOnce sync.Once
)

func initOwn() {
	asymmetricOnce.Do(func() { asymmetric = osBarrierInit() })
}

// own returns the shard of the P that procPin, its argument, has pinned the caller to, marked busy. A P
// without a shard gets absent, whose signal is never 0.
func (t *shardTable) own(p int) *shard {
	s := &t.core.absent
	if p < len(t.shards) {
		s = t.shards[p]
	}
	s.busy = 1
	yieldPoint()
	return s
}

// unpin ends what own began.
func (s *shard) unpin() {
	yieldPoint()
	if runtime.GOARCH == "amd64" {
		s.busy = 0 // stores are not reordered with earlier loads and stores
	} else {
		atomic.StoreUint32(&s.busy, 0)
	}
	procUnpin()
}

// fence orders the store to busy before the next load of signal, for answer.
func (s *shard) fence() { atomic.SwapUint32(&s.busy, 1) }

// grow gives every P a place in the table, and a shard to the P that the caller is on.
func (c *core) grow() {
	c.requireNew()
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
		shards[id] = newShard(&c.spec, &c.depot, id)
		if !asymmetric {
			shards[id].signal.Or(signalFence)
		}
	}
	c.shards.Store(&shardTable{core: c, shards: shards})
}

// waitTurn lets a goroutine whose P's shard is seized wait until it is handed back. The caller is not
// pinned.
func (s *shard) waitTurn() {
	s.mu.Lock()
	//lint:ignore SA2001 waiting is the purpose
	s.mu.Unlock()
}

// seize gives shards to the caller until handBack. Any goroutine that holds core.stopMu, so that a
// pool has one seizer at a time.
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
		// An operation takes well under a microsecond, unless the kernel has suspended its thread.
		for spins := 0; atomic.LoadUint32(&s.busy) != 0; spins++ {
			pause(spins)
		}
	}
}

// handBack ends what seize began. The change of signal publishes what was done to the shard: the next
// operation loads signal, finds it 0, and sees the rest.
func handBack(shards []*shard) {
	for _, s := range shards {
		yieldPoint()
		s.signal.And(^uint32(signalSeized))
		s.mu.Unlock()
	}
}
