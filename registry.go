package pool

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// The pools of the process, for those who look at all of them. The references are
// weak: a pool that was never closed, has no page and is not referred to any more
// goes as before, and is then no longer one of these.
var pools struct {
	mu    sync.Mutex
	next  uint64 // of the numbers given in register
	cores map[uint64]weak.Pointer[core]
}

// register adds a pool. Closing it does not remove it at once: openPools does, or
// the garbage collector.
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
}

func unregister(id uint64) {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	delete(pools.cores, id)
}

// openPools returns the pools that are not closed, in the order in which they were
// made.
func openPools() []*core {
	pools.mu.Lock()
	defer pools.mu.Unlock()
	var open []*core
	for _, w := range pools.cores {
		if c := w.Value(); c != nil && !c.closed.Load() {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *core) int { return cmp.Compare(a.id, b.id) })
	return open
}

// ReadStats returns the [Stats] of all pools that are open, in the order in which they were made.
// It costs what [Pool.Stats] costs for each of them. Any goroutine may call it.
func ReadStats() []Stats {
	var all []Stats
	for _, c := range openPools() {
		all = append(all, c.stats())
	}
	return all
}
