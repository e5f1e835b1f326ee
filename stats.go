package pool

import (
	"fmt"
	"slices"
	"strings"
)

// Stats is what a pool has done and holds. Counters count from [New] on.
type Stats struct {
	ID           uint64 // no other pool of the process has it; later pools have higher ones
	Name         string // as given to WithName
	Type         string // T, as in main.Order
	SlotSize     int    // bytes from one slot to the next; at least the size of T, see WithAlign
	SlotsPerPage int    // slots in a full page
	PageBytes    int    // bytes of a page, without those of guarded slots

	MaxSlots int // bound of Live by WithMaxSlots; 0: no bound

	Live      int // slots handed out and not yet Put, without those in Lost
	Pages     int // pages that the pool holds, one for each guarded slot included
	WarmPages int // empty ones among them, kept for later, for a time or by WithWarmPages

	// Lost counts slots of the Go heap that the program has forgotten without a Put, and that the
	// garbage collector has taken: see WithGoHeap. They are not in Live any more. Until it takes
	// them, a page at a time, they are: look at Live + Lost for a leak. Close adds those that are
	// out then.
	Lost uint64

	// Gets counts Gets of all kinds, each slot of GetBatch, and also those that failed. Gets -
	// FailedGets - Live - Lost slots were put, or taken back by Clear. A GetBatch that fails has
	// put the slots that it had got by then.
	Gets uint64
	// FailedGets counts Gets that got no slot, because of a limit or because the system refused
	// memory.
	FailedGets uint64
	// Waits counts the GetContexts that had to wait for a slot.
	Waits uint64
	// Waiting is how many wait now.
	Waiting int
	// SlowGets counts the Gets that got a slot and found none on their P: they collected slots that
	// were put on other Ps, or carved new ones, or took a page from elsewhere. GetBatch counts each
	// such step, however many slots it brings.
	SlowGets uint64
	// Promotions counts how often an empty page was put in order, so that the next Get from it is
	// fast.
	Promotions uint64
	// Retirements counts empty pages that were kept, Revivals those of them that were used again,
	// and Releases the pages that the pool gave up: after their time in retirement, at once, or by
	// Trim.
	Retirements, Revivals, Releases uint64
	// GuardedGets counts Gets that returned a guarded slot: see WithGuardSampling.
	GuardedGets uint64
	// RemotePuts counts slots that were put on another P than the one that owns their page, and
	// were sent there. It does not count those that were handed out again before that.
	RemotePuts uint64

	MappedBytes    int64 // address space of Pages
	CommittedBytes int64 // the part of it that slots were carved from and that may be resident (Memory.Committed counts whole pages)
	PurgedBytes    int64 // released bytes that went back to the OS
	LimitBytes     int64 // bound of MappedBytes by WithLimit, in whole pages (of all classes of a Bytes together); 0: no limit

	// OffHeap says that slots lie outside of the Go heap. They lie inside with WithGoHeap, with the
	// race detector, and on systems other than Linux, macOS, the BSDs and Windows, such as js and
	// wasip1. There they count in the heap's size, and the pool gives nothing back to the OS.
	OffHeap bool
	// Access says how Get and Put get a part of the pool to themselves: "nosplit" if they cannot be
	// preempted, which is fastest; "pinned" if they pin the goroutine to its P; "locked" if they
	// take a lock. The last two take about as long. See "Builds" in the package's documentation. It
	// is the same for all pools of a process.
	Access string
}

// String returns what people look for first, in lines of up to 80 columns.
func (st Stats) String() string {
	var b strings.Builder
	name := st.Type
	if st.Name != "" {
		name = fmt.Sprintf("%q (%s)", st.Name, st.Type)
	}
	fmt.Fprintf(&b, "pool %s, slots of %d bytes\n", name, st.SlotSize)
	fmt.Fprintf(&b, "  slots:  %d in use", st.Live)
	if st.MaxSlots != 0 {
		fmt.Fprintf(&b, ", %d at most", st.MaxSlots)
	}
	if st.Waiting != 0 {
		fmt.Fprintf(&b, ", %d waiting", st.Waiting)
	}
	if st.Lost != 0 {
		fmt.Fprintf(&b, ", %d lost", st.Lost)
	}
	fmt.Fprintf(&b, "\n  memory: %s in %d pages, %d empty", kibiBytes(st.MappedBytes), st.Pages, st.WarmPages)
	if st.LimitBytes != 0 {
		fmt.Fprintf(&b, "; at most %s", kibiBytes(st.LimitBytes))
	}
	fmt.Fprintf(&b, "\n  gets:   %d, %d failed, %d slow", st.Gets, st.FailedGets, st.SlowGets)
	if st.Waits != 0 {
		fmt.Fprintf(&b, ", %d waited", st.Waits)
	}
	return b.String()
}

// kibiBytes returns bytes in KiB, or in MiB if there are many.
func kibiBytes(bytes int64) string {
	if bytes < 100<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// stats adds up. While others use the pool, each number is from a slightly different moment;
// otherwise it is exact. Where shards are pinned and not locked, this reads words that their owners
// are writing. Each is read whole, and nothing is derived from two of them that must agree. (Gets
// is: see sample.go.)
func (c *core) stats() (st Stats) {
	c.requireNew()
	if !pinned {
		c.stopped(func(shards []*shard) { st = c.statsOf(shards) })
		return st
	}
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	return c.statsOf(c.shards.Load().present())
}

// liveNow is Stats.Live without a lock: it may count what was true at different moments. It reads words
// that others are writing, as stats does where shards are pinned, and the list of pages as depot.show
// has it. The race detector is not to look at that.
//
//go:norace
func (c *core) liveNow() int {
	c.requireNew()
	n := int(c.guards.used.Load()) - c.watches.quarantined()
	if shown := c.depot.shown.Load(); shown != nil {
		for _, pg := range *shown {
			if pg == nil {
				break
			}
			n += max(int(pg.used)-int(uint16(pg.remote.Load()>>16)), 0)
		}
	}
	for _, s := range c.shards.Load().shards {
		n -= int(s.lot.n)
	}
	return max(n, 0)
}

// statsOf is stats for a caller that holds stopMu.
func (c *core) statsOf(shards []*shard) Stats {
	d := &c.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	st := Stats{
		ID:           c.id,
		Name:         c.name,
		Type:         c.typeName,
		SlotSize:     int(c.geo.stride),
		SlotsPerPage: int(c.geo.slots),
		PageBytes:    int(c.geo.pageSize),
		MaxSlots:     c.maxSlots,
		Waits:        c.waiters.waits.Load(),
		Waiting:      int(c.waiters.n.Load()),
		Live:         max(c.live(shards), 0),
		Pages:        len(d.pages) + len(c.guards.all),
		MappedBytes:  int64(len(d.pages)) * int64(c.geo.pageSize),
		LimitBytes:   int64(c.maxPages) * int64(c.geo.pageSize),
		FailedGets:   c.failedGets.Load(),
		GuardedGets:  c.guards.served,
		Releases:     d.releases,
		PurgedBytes:  d.purged.Load(),
		OffHeap:      offHeap && !c.goHeap,
		Lost:         d.lostSlots,
		Access:       access(),
	}
	if c.family != nil {
		st.LimitBytes = c.family.limit
	}
	for _, pg := range d.spare {
		if pg.empty && !pg.remoteState().isOwned() {
			st.WarmPages++
		}
	}
	for _, pg := range c.guards.all {
		st.MappedBytes += int64(pg.mem.size())
	}
	for _, pg := range slices.Concat(d.pages, c.guards.all) {
		st.CommittedBytes += int64(pg.capacity) * int64(c.geo.stride)
	}
	for _, s := range shards {
		s.addTo(&st)
	}
	c.seenGets = max(c.seenGets, st.Gets)
	st.Gets = c.seenGets
	return st
}

// addTo adds what s has counted.
func (s *shard) addTo(st *Stats) {
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
