package pool

// What concerns all pools of the process: which there are, what they have together, and what is in
// use.

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// The pools of the process, for calls that concern all of them. The references are weak: the
// garbage collector takes a pool that was never closed and is not referred to any more, if it has no
// page, or its pages are on the Go heap. Then it is not here any more either.
var pools struct {
	mu    sync.Mutex
	next  uint64 // id of the next pool
	cores map[uint64]weak.Pointer[core]
}

// register adds a pool and gives it its id.
func register(c *core) {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	if pools.cores == nil {
		pools.cores = make(map[uint64]weak.Pointer[core])
	}
	id := pools.next
	pools.next++
	pools.cores[id] = weak.Make(c)
	c.id = id
	runtime.AddCleanup(c, unregister, id)
	if c.goHeap {
		runtime.AddCleanup(c, (*heapPages).abandon, c.depot.onHeap)
	}
}

func unregister(id uint64) {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	delete(pools.cores, id)
}

// coreOf returns the pool with a spec, or nil if it was closed.
func coreOf(sp *spec) *core {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	return pools.cores[sp.id].Value()
}

// openPools returns the pools that are not closed, in the order in which they were made.
func openPools() []*core {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	var open []*core
	for _, w := range pools.cores {
		if c := w.Value(); c != nil && !c.depot.closed.Load() {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *core) int { return cmp.Compare(a.id, b.id) })
	return open
}

// ReadStats returns the [Stats] of all pools that are open, in the order in which they were made.
// It costs what [Pool.Stats] costs for each of them. It is safe for concurrent use.
func ReadStats() []Stats {
	var all []Stats
	for _, c := range openPools() {
		all = append(all, c.stats())
	}
	return all
}

// TrimAll calls [Pool.Trim] for all pools that are open, those on the Go heap included, and returns
// how many bytes went back to the OS. It is safe for concurrent use.
func TrimAll() (bytes int64) {
	for _, c := range openPools() {
		bytes += c.trim("TrimAll")
	}
	return bytes
}

// taking is for takeFromOthers.
var taking struct {
	mu    mutex
	begun atomic.Uint64
}

// takeFromOthers has the other pools release pages that have no slot in use, for c, which gets no
// memory. It reports whether anything was released. The caller has no lock and no shard.
//
// Callers that come while one is at it wait, and then share what it has released, or what the next
// one does.
func takeFromOthers(c *core) bool {
	before := taking.begun.Load()
	taking.mu.Lock()
	defer taking.mu.Unlock()
	if taking.begun.Load() != before {
		return true // since this call
	}
	taking.begun.Add(1)
	// What is on the Go heap would not help.
	return releaseSome(slices.DeleteFunc(openPools(), func(other *core) bool { return other == c || other.goHeap }))
}

// releaseSome has pools release pages that have no slot in use: at first those that they keep for a
// time, and if there is none, those of WithWarmPages. It reports whether anything was released. The
// caller has no shard, and no lock but one of those that come first in the order.
func releaseSome(pools []*core) bool {
	for _, all := range []bool{false, true} {
		released := false
		for _, other := range pools {
			keep := other.warmPages
			if all && keep == 0 {
				continue // it has released all already
			} else if all {
				keep = 0
			}
			before := other.depot.size()
			other.releaseEmpty(keep)
			released = released || other.depot.size() < before
		}
		if released {
			return true
		}
	}
	return false
}

// Memory is what all pools of the process have together. All fields except SystemCalls are in
// bytes. Where the memory is the system's ([Stats].OffHeap), the garbage collector's statistics and
// GOMEMLIMIT know nothing of it. They do count GoHeap.
type Memory struct {
	Reserved  int64 // address space, most of it without memory behind it; never given back
	Committed int64 // pages that may have memory behind them: InUse + Warm
	InUse     int64 // pages that pools hold, including the empty ones that they keep

	// Warm counts pages that pools have released and that have not gone back to the OS yet, among
	// them those that it has refused to take back. (Stats.WarmPages counts others, which a pool
	// keeps.)
	Warm   int64
	Purged int64 // given back to the OS since the process started

	// GoHeap counts pages that pools with WithGoHeap hold. They are part of the Go heap and of none
	// of the other fields. What objects refer to is not counted.
	GoHeap int64

	// Records counts the two bytes that the library keeps for each slot of a page, in units of 4 KiB
	// that may have memory behind them. They are no part of Committed, and no limit counts them.
	Records int64

	// WorldStops counts how often the world was stopped for a moment because the system has no
	// memory barrier for all processors, or refused it: see docs/runtime.md.
	WorldStops uint64

	// SystemCalls counts the calls that reserve, commit and purge memory since the process started.
	// It does not count those that guard slots.
	SystemCalls uint64
}

// ReadMemory returns what all pools have together, at one moment. It is safe for concurrent use.
func ReadMemory() Memory {
	a := theArena
	a.mu.Lock()
	defer a.mu.Unlock()
	m := Memory{
		InUse:       int64(a.total.inUse) * granuleSize,
		Warm:        int64(a.total.committed()-a.total.inUse) * granuleSize,
		Purged:      a.total.purged,
		Reserved:    a.reserved,
		GoHeap:      heapBytes.Load(),
		Records:     a.words.bytes(),
		SystemCalls: a.sysCall,
		WorldStops:  worldStops(),
	}
	m.Committed = m.InUse + m.Warm
	return m
}

// SetProcessLimit bounds the memory of all pools of the process together, in bytes:
// [Memory].Committed, which changes in steps of whole pages of 64 KiB and more, does not rise above
// the limit. It does not count pools on the Go heap ([WithGoHeap]), and GOMEMLIMIT does. 0 means no
// limit and is the default. SetProcessLimit returns the previous limit. If bytes is negative, it does
// nothing else, as with [runtime/debug.SetMemoryLimit].
//
// A Get that would exceed the limit first gives back what released pages hold, then takes what its
// own pool has free on any P, and then the pages without a slot in use that other pools keep, those
// of [WithWarmPages] last. If there is nothing, it panics with an error that wraps [ErrLimit], and
// [Pool.TryGet] returns one. What is in use is never taken away: a limit below that takes effect as
// slots are put. SetProcessLimit is safe for concurrent use.
func SetProcessLimit(bytes int64) (previous int64) {
	a := theArena
	a.mu.Lock()
	previous = a.limit
	if bytes >= 0 {
		a.limit = bytes
	}
	over := a.over(0)
	a.mu.Unlock()
	if over {
		a.purge(func(released) bool { return true })
	}
	return previous
}

// A Leak is a slot in use that [Leaks] has found.
type Leak struct {
	Pool string  // the pool's name, as given to WithName
	Type string  // the pool's T, as in main.Order
	Addr uintptr // the slot's address, which Get returned
	ID   uint64  // the pool's, as in Stats

	stack stack
}

// Stack returns the stack of the Get, two lines for each frame, as in a crash. The first frame is the
// one that called the pool.
func (l Leak) Stack() string { return l.stack.String() }

// String returns the pool and the address, and in further lines the stack of the Get.
func (l Leak) String() string {
	return fmt.Sprintf("pool %q (%s): slot %#x, got at:\n%s", l.Pool, l.Type, l.Addr, l.stack)
}

// Leaks returns slots of open pools that are in use, with the stacks that got them. Pools come in the
// order in which they were made, and their slots by address. Of a pool with [WithProfile], Leaks
// knows the sampled slots, and with a rate of 1 these are all. In builds with -tags pooldebug, it
// knows all slots of all pools. Slots that the garbage collector has taken ([Stats].Lost) are not in
// use any more. Leaks is safe for concurrent use. Package pooltest uses it for tests that end with
// slots in use.
func Leaks() []Leak {
	var all []Leak
	for _, c := range openPools() {
		leaks := c.watches.leaks()
		slices.SortFunc(leaks, func(a, b Leak) int { return cmp.Compare(a.Addr, b.Addr) })
		all = append(all, leaks...)
	}
	return all
}

// someLeaks lists a few slots in use, for the error of Close.
func (w *watches) someLeaks() string {
	const most = 10
	var b strings.Builder
	for k, leak := range w.leaks() {
		if k == most {
			b.WriteString("\nand others")
			break
		}
		fmt.Fprintf(&b, "\nslot %#x, got at:\n%s", leak.Addr, leak.stack)
	}
	return b.String()
}
