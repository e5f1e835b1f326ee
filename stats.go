package pool

import "slices"

// Stats is what a pool has done and holds. Counters count since [New].
type Stats struct {
	ID           uint64 // no other pool of the process has it; later pools have higher ones
	Name         string // as given to WithName
	Type         string // T, as in main.Order
	SlotSize     int    // bytes from one slot to the next; at least the size of T
	SlotsPerPage int    // slots in a page that is full

	Live      int // slots handed out and not yet Put
	Pages     int // pages the pool holds, each guarded slot's included
	WarmPages int // of these, empty ones that are kept for later, for a time or by WithWarmPages

	// Gets counts Gets of all kinds, slots of GetBatch one by one, and those that failed
	// too. What was Put is Gets - FailedGets - Live.
	Gets uint64
	// FailedGets counts Gets that got no slot, for a limit or because the system
	// refused memory.
	FailedGets uint64
	// SlowGets counts Gets, of those that got a slot, that found none ready: they collected slots
	// put before, carved new ones, or took another page than a ready one of their P's. GetBatch
	// counts each such step, for however many slots.
	SlowGets uint64
	// Promotions counts how often an empty page was put in order, so that the
	// next Get from it is fast.
	Promotions uint64
	// Retirements counts empty pages that were kept, Revivals how many of them were seen used
	// again, Releases pages that the pool gave up (after their time in retirement, at once, or by
	// Trim).
	Retirements, Revivals, Releases uint64
	// GuardedGets counts Gets that were served by a guarded slot: see
	// WithGuardSampling.
	GuardedGets uint64
	// RemotePuts counts slots that were Put on another P than the one that owns
	// their page, and were sent there (those handed out again before that are
	// not counted).
	RemotePuts uint64

	MappedBytes    int64 // address space of Pages
	CommittedBytes int64 // of these, what slots were carved from and may be resident (Memory.Committed has whole pages)
	PurgedBytes    int64 // released bytes that went back to the OS since New
	LimitBytes     int64 // what MappedBytes may be by WithLimit, in whole pages; 0: no limit

	// OffHeap says that slots lie outside of the Go heap. They lie inside with the race detector,
	// and on systems other than Linux, macOS, the BSDs and Windows, such as js and wasip1: then they
	// count in the heap's size, and nothing goes back to the OS.
	OffHeap bool
	// Pinned says that Get and Put pin the goroutine to its P. If not, they take
	// locks, which is slower: see "Builds" in the package's documentation.
	Pinned bool
}

// stats adds up. While others use the pool, each number is from a slightly
// different moment; otherwise it is exact. With shards that are pinned rather
// than locked this reads words that their owners are writing: each is read
// whole, and nothing is derived from two of them that must agree, but for Gets (see sample.go).
func (c *core) stats() Stats {
	c.requireNew()
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	shards := c.present()
	if !pinned {
		seize(shards)
		defer yield(shards)
	}
	st := Stats{
		ID:           c.id,
		Name:         c.name,
		Type:         c.typeName,
		SlotSize:     int(c.geo.stride),
		SlotsPerPage: int(c.geo.slots),
		Live:         max(c.live(), 0),
		Pages:        len(c.pages) + len(c.guards.all),
		MappedBytes:  int64(len(c.pages)) * int64(c.geo.pageSize),
		LimitBytes:   int64(c.maxPages) * int64(c.geo.pageSize),
		FailedGets:   c.failedGets.Load(),
		GuardedGets:  c.guards.served,
		Releases:     c.releases,
		PurgedBytes:  c.purged.Load(),
		OffHeap:      offHeap,
		Pinned:       pinned,
	}
	for _, pg := range c.partial {
		if pg.empty && pg.remote.Load()&remoteOwned == 0 {
			st.WarmPages++
		}
	}
	for _, pg := range c.guards.all {
		st.MappedBytes += int64(pg.mem.size())
	}
	for _, pg := range slices.Concat(c.pages, c.guards.all) {
		st.CommittedBytes += int64(pg.capacity) * int64(c.geo.stride)
	}
	for _, s := range shards {
		st.WarmPages += s.retired.len
		if cur := s.cur; cur.retired && cur.used == 0 {
			st.WarmPages++
		}
		st.Gets += s.gets()
		st.SlowGets += s.counts.slowGets
		st.Promotions += s.counts.promotions
		st.Retirements += s.counts.retirements
		st.Revivals += s.counts.revivals
		st.Releases += s.counts.releases
		st.RemotePuts += s.counts.remotePuts
	}
	c.seenGets = max(c.seenGets, st.Gets)
	st.Gets = c.seenGets
	return st
}
