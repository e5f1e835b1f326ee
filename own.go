package pool

// How a goroutine gets a shard to itself, and how somebody else does.
//
// An operation gets a shard by table.own: own_pin.go pins the goroutine to its P and takes the P's
// shard; own_lock.go locks a shard. It gives the shard back by unpin. In between it may not block,
// call the system, allocate or panic.
//
// Everybody else stops the shards (core.stopped, or stop for some of them): the clock for the shards
// of idle Ps, Trim, Close, All, a Get at the limit.

// A shardTable has the shard of each P by the P's id, and absent for a P that has none yet. It does
// not change; a new one replaces it.
type shardTable struct {
	core   *core // the one that init made, not a copy of it
	shards []*shard
}

// stop runs f while nobody uses the shards, and returns what f has left in their outboxes. The caller
// holds core.stopMu.
func stop(shards []*shard, f func()) (out []outbox) {
	seize(shards)
	defer handBack(shards) // also if f panics
	f()
	for _, s := range shards {
		out = append(out, s.takeOutbox())
	}
	return out
}
