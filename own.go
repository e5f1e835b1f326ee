package pool

import "sync/atomic"

// How a goroutine gets a shard to itself, and how somebody else takes it over.
//
// There are three ways to get a shard. Stats.Access says which one a process has.
//
//   - nosplit: the fast paths of Get and Put run in functions that the scheduler does not preempt,
//     and use the shard of the P that they are on (own_nosplit.go). What they cannot serve starts
//     over in the next way.
//   - pinned: the goroutine pins itself to its P and uses the P's shard (own_pin.go).
//   - locked: the goroutine locks a shard (own_lock.go).
//
// In all of them, whoever has a shard may not block, call the system, allocate or panic before
// giving it back.
//
// Everybody else stops the shards, by core.stopped, or by stop for some of them: the clock for the
// shards of idle Ps, Trim, Close, All, and a Get at the limit.

// How Get and Put get a shard, as Stats.Access has it.
const (
	accessNosplit = "nosplit"
	accessPinned  = "pinned"
	accessLocked  = "locked"
)

// access returns how Get and Put get a shard in this process.
func access() string {
	switch {
	case !pinned:
		return accessLocked
	case fastBuild && fastPathIsOn():
		return accessNosplit
	}
	return accessPinned
}

// A shardTable has the shard of each P by the P's id, and absent for a P that has none yet. It does
// not change; a new one replaces it.
type shardTable struct {
	core   *core // the one that init made, not a copy of it
	shards []*shard
}

// fewPs is how many Ps have their shards in place in a fastTable.
const fewPs = 16

// A fastTable has the shards by the ids of their Ps, as a shardTable, in the way that is fastest to
// read: those of the first Ps are in place. A P that has no shard finds nil or absent, and if the
// fast paths are off, all find nil.
//
// It is stored to by atomic stores (own_nosplit.go), and any P reads it by plain loads, which cost
// less. That is enough. The compiler loads a pointer before it follows it, and all processors that
// Go runs on order a load behind the load of its address (what RCU in Linux relies on,
// Documentation/RCU/rcu_dereference.rst). So whoever sees a shard sees what newShard wrote. The
// same goes for tableRoot, the leaves, and the headers that they lead to.
type fastTable struct {
	few  [fewPs]*shard
	rest *shardTable // for the others
}

// present returns the shards that there are. They are all there are for a caller that holds stopMu.
func (t *shardTable) present() []*shard {
	var present []*shard
	for _, s := range t.shards {
		if s != &t.core.absent {
			present = append(present, s)
		}
	}
	return present
}

// own gets a shard to the caller alone until it leaves. The caller goes on only if the shard's
// signal is 0 then; otherwise answer comes first.
func (c *core) own() *shard {
	if c == nil {
		panic(errNotNew)
	}
	t := c.shards.Load()
	if t == nil {
		panic(errNotNew)
	}
	if pinned {
		return t.pin()
	}
	return t.lock()
}

// unpin ends what own began.
func (s *shard) unpin() {
	if pinned {
		s.endPin()
	} else {
		s.mu.Unlock()
	}
}

// stop runs f while nobody uses the shards, and appends what f has left in their outboxes to out. The
// caller holds core.stopMu.
func stop(out []outbox, shards []*shard, f func()) []outbox {
	seize(shards)
	defer handBack(shards) // also if f panics
	f()
	for _, s := range shards {
		out = append(out, s.takeOutbox())
	}
	return out
}

// seize gives shards to the caller until handBack. Any goroutine that holds core.stopMu, so that a
// pool has one seizer at a time.
func seize(shards []*shard) {
	for _, s := range shards {
		s.mu.Lock()
		if pinned {
			s.raise(signalSeized)
			yieldPoint()
		}
	}
	if pinned && len(shards) > 0 {
		waitForOwners(shards)
	}
}

// handBack ends what seize began. The change of signal publishes what was done to the shard: the
// next operation loads signal, finds it 0, and sees the rest.
func handBack(shards []*shard) {
	for _, s := range shards {
		yieldPoint()
		if pinned {
			s.lower(signalSeized)
		}
		s.mu.Unlock()
	}
}

// isOwned reports whether a goroutine has the shard to itself. The caller holds core.stopMu, so that
// nobody has seized it.
func (s *shard) isOwned() bool {
	if pinned {
		return atomic.LoadUint32(&s.busy) != 0
	}
	if !s.mu.TryLock() {
		return true
	}
	s.mu.Unlock()
	return false
}

// waitTurn lets a goroutine whose shard is seized wait until it is handed back. The caller has no
// shard.
func (s *shard) waitTurn() {
	s.mu.Lock()
	//lint:ignore SA2001 waiting is the purpose
	s.mu.Unlock()
}
