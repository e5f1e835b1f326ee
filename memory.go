package pool

// Memory is what all pools of the process have together, in bytes but for SystemCalls. Where it is
// the OS's ([Stats].OffHeap), the garbage collector's statistics and GOMEMLIMIT know nothing of it.
type Memory struct {
	Reserved  int64 // address space, most of it without memory behind it; never given back
	Committed int64 // pages that may have memory behind them: InUse + Warm
	InUse     int64 // pages that pools hold, empty ones that they keep included

	// Warm is of pages that pools have released, and that were not given back to the OS yet.
	// (Stats.WarmPages are others, which a pool keeps.)
	Warm   int64
	Purged int64 // given back to the OS since the process started

	// SystemCalls counts the calls that reserve, commit and purge memory of pages, since the
	// process started, but for the first reservation, and those that guard slots.
	SystemCalls uint64
}

// ReadMemory returns what all pools have together, at one moment. Any goroutine may call it.
func ReadMemory() Memory {
	a := theArena
	a.mu.Lock()
	defer a.mu.Unlock()
	m := Memory{
		InUse:       int64(a.total.inUse) * granuleSize,
		Warm:        int64(a.total.waiting+a.total.held) * granuleSize,
		Purged:      a.total.purged,
		SystemCalls: a.sysCall,
	}
	m.Committed = m.InUse + m.Warm
	for _, r := range a.regions {
		m.Reserved += int64(r.size)
	}
	return m
}

// SetProcessLimit bounds the memory that all pools of the process may have together, to bytes:
// [Memory].Committed, which goes in steps of pages of 64 KiB to 4 MiB, will not rise above it. 0
// means no limit, and is the default. It returns the previous limit; a negative argument only asks
// for that, as with [runtime/debug.SetMemoryLimit].
//
// A Get that would go beyond the limit first gives back what released pages hold and takes what its
// own pool has free on any P; if there is nothing, it panics with an error that wraps [ErrLimit],
// and [Pool.TryGet] returns one. What is in use is never taken away: a limit below that takes
// effect as slots are put. Any goroutine may call it.
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
