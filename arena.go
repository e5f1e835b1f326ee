package pool

import (
	"cmp"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The arena hands out runs of reserved address space, one for each page, and takes them back. All
// pools of a process share one arena.
//
// Address space is reserved in regions, each twice as large as the one before, within bounds. It is
// committed in steps of commitGranules, and never unmapped. A stale *T may still point there, and if
// the Go heap got such an address, the garbage collector would throw. What is given back is the
// memory, not the addresses.
//
// A released run stays committed for purgeDelay and is the first to be used again. Then it is
// purged: its memory goes back to the system, by one call for all neighbours.
//
// Any system call may fail. Then the arena is as it was before, except for a run that could not be
// purged: its memory is held, which means that it is free for use, and the next Trim tries again.
// It counts as zero only if the system said so. If a purge leaves open what is there now, the run
// is lost: nobody uses it again, and it stays in the count.

const (
	chunkShift    = 26 // 64 MiB
	chunkSize     = 1 << chunkShift
	chunkGranules = chunkSize / granuleSize

	// commitGranules is how much is committed at a time (4 MiB), so that 64 small pages take one
	// system call. Committed memory takes none of the machine's memory until it is touched. (On
	// Windows, and on Linux with vm.overcommit_memory=2, it counts at once.)
	commitGranules = largePageSize / granuleSize
	chunkSteps     = chunkGranules / commitGranules

	// smallestRegion is how much address space a region takes if the system refuses more.
	smallestRegion = largePageSize

	// goHeapRegion is the size of regions that are on the Go heap and take memory at once.
	goHeapRegion = 16 << 20

	// purgeDelay is how long a released run waits for its next use, in ticks of the clock: a second.
	// mimalloc 3 has the same default (mi_option_purge_delay, 1000 ms).
	purgeDelay = uint32(time.Second / tickPeriod)

	// purgeEvery is how many ticks lie between two purges of what has waited long enough, so that
	// runs released one after the other are purged together.
	purgeEvery = 2
)

// A run is the memory of one page.
type run struct {
	chunk  *chunk
	first  uint16 // granule in chunk
	n      uint16 // granules
	zeroed bool   // never written since the system gave it zeroed
}

// A released run waits to be used again or purged.
type released struct {
	run
	at     uint32        // arena.now
	held   bool          // purgeHeld has made it
	purged *atomic.Int64 // counts its bytes once they are purged
}

// size returns the bytes of r.
func (r run) size() int { return int(r.n) * granuleSize }

// mem returns the n granules of memory that begin where r begins.
func (r run) mem(n int) []byte { return r.chunk.mem[int(r.first)*granuleSize:][:n*granuleSize] }

// A chunk is 64 MiB of a region, or the smaller rest of one.
type chunk struct {
	// pages keeps the headers of the pages alive, whose numbers the table has. A page is at its
	// first granule. The holder of a run writes there, and only the garbage collector reads it.
	pages [chunkGranules]*page

	index int    // in arena.open; set once
	mem   []byte // set once

	// Under arena.mu.
	busy      granules // in a run, released ones included, or past the end
	dirty     granules // that may hold old data
	held      granules // free ones whose memory the system did not take back
	used      granules // that were ever in a run
	committed uint32   // one bit for each step of commitGranules
}

// granules is a set of granules of a chunk.
type granules [chunkGranules / 64]uint64

// A region is one reservation for pages.
type region struct {
	mem    []byte
	opened int // bytes that are in chunks
}

type arena struct {
	mu       sync.Mutex
	regions  []*region
	reserved int64                         // bytes of address space, leaves and words included
	open     []*chunk                      // all chunks, in the order of their creation
	from     [chunkGranules + 1]int        // by granules: no chunk of open before this one has room
	released [chunkGranules + 1][]released // by granules, oldest first
	sealed   []released                    // inaccessible memory of guards that are gone
	now      uint32                        // ticks; wraps

	limit int64  // bytes; 0: none
	total totals // for ReadMemory

	purging int        // granules of total.waiting that are being purged
	purgeMu sync.Mutex // held by whoever purges runs, without mu

	nextLeaf []byte // see usable
	words    wordStore

	sysCall uint64 // calls of the system so far
}

// totals count granules, except purged, which counts bytes.
type totals struct {
	inUse   int // in runs that pools have
	waiting int // in released
	held    int // bits of chunk.held
	lost    int // in runs that nobody uses again
	purged  int64
}

// committed returns how many granules may have memory behind them.
func (t totals) committed() int { return t.inUse + t.waiting + t.held + t.lost }

// calls are what the pools ask of the system: see the os_*.go files. purge says whether the memory
// is gone, whether what is there now is zero, and whether mem must not be touched again.
type calls struct {
	reserve func(size uintptr) ([]byte, error)
	commit  func(mem []byte) error
	purge   func(mem []byte) (gone, zeroed, lost bool)
	protect func(mem []byte, accessible bool) error
	barrier func() bool
}

// system has the calls. Tests replace it, to make calls fail.
var system = func() *atomic.Pointer[calls] {
	p := new(atomic.Pointer[calls])
	p.Store(&calls{osReserve, osCommit, osPurge, osProtect, osBarrier})
	return p
}()

// theArena is the process's arena.
var theArena = new(arena)

// reserve reserves size bytes of address space, aligned to tableStep, or half of it, and so on, but
// no less than least. mu is held.
func (a *arena) reserve(size, least uintptr) (mem []byte, err error) {
	for {
		a.sysCall++
		if mem, err = system.Load().reserve(size + tableStep); err == nil {
			a.reserved += int64(len(mem))
			skip := -addressOf(mem) % tableStep
			return mem[skip:][:size], nil
		}
		if size == least {
			return nil, err
		}
		size = max(size/2, least)
	}
}

// usable reserves and commits size bytes. What the system refuses to commit stays in reserved, for
// the next try. mu is held.
func (a *arena) usable(size uintptr, reserved *[]byte) (mem []byte, err error) {
	if *reserved == nil {
		if *reserved, err = a.reserve(size, size); err != nil {
			return nil, err
		}
	}
	a.sysCall++
	if err = system.Load().commit(*reserved); err != nil {
		return nil, err
	}
	mem, *reserved = *reserved, nil
	return mem, nil
}

// alloc returns a run of n granules, a chunk at most. It may call the system, so the caller must not
// have a shard to itself.
func (a *arena) alloc(n int) (run, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		// The run released last is the most likely to be still in a cache.
		if rs := a.released[n]; len(rs) > 0 {
			r := rs[len(rs)-1].run
			rs[len(rs)-1] = released{} // or purged would keep a closed pool alive
			a.released[n] = rs[:len(rs)-1]
			a.total.waiting -= n
			a.total.inUse += n
			return r, nil
		}
		if !a.over(n) {
			break
		}
		// Beyond the limit, only memory that counts already will do: first what could not be given
		// back, then what can be.
		if r, ok := a.takeHeld(n); ok {
			return r, nil
		}
		if a.total.waiting > 0 {
			a.mu.Unlock()
			a.purge(func(released) bool { return true }) // this waits for another purge to end
			a.mu.Lock()
		} else {
			return run{}, fmt.Errorf("%w: all pools together have %d KiB, and SetProcessLimit allows %d; Put slots, Trim pools, or raise the limit", ErrLimit, a.total.committed()*(granuleSize>>10), a.limit>>10)
		}
	}
	for {
		for ; a.from[n] < len(a.open); a.from[n]++ {
			ch := a.open[a.from[n]]
			if i := ch.busy.find(n); i >= 0 {
				return a.take(ch, i, n)
			}
		}
		if err := a.grow(n); err != nil {
			return run{}, err
		}
	}
}

// over reports whether n more granules would exceed the limit. mu is held.
func (a *arena) over(n int) bool {
	return a.limit != 0 && int64(a.total.committed()+n)*granuleSize > a.limit
}

// free takes a run back. Its bytes are added to purged when they go back to the system.
func (a *arena) free(r run, purged *atomic.Int64) {
	r.withdraw()
	r.zeroed = false
	a.mu.Lock()
	a.released[r.n] = append(a.released[r.n], released{run: r, at: a.now, purged: purged})
	a.total.inUse -= int(r.n)
	a.total.waiting += int(r.n)
	a.mu.Unlock()
	theClock.wake()
}

// isWaiting reports whether released runs wait to be purged.
func (a *arena) isWaiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total.waiting > a.purging || a.words.idle > 0
}

// unseal is free for a run whose memory is inaccessible. If it cannot be made accessible, the next
// Trim tries again.
func (a *arena) unseal(r run, purged *atomic.Int64) {
	if system.Load().protect(r.mem(int(r.n)), true) == nil {
		a.free(r, purged)
		return
	}
	r.withdraw()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = append(a.sealed, released{run: r, purged: purged})
}

// unsealAll tries again what failed in unseal. It reports whether all of it has worked.
func (a *arena) unsealAll() bool {
	a.mu.Lock()
	sealed := a.sealed
	a.sealed = nil
	a.mu.Unlock()
	for _, r := range sealed {
		a.unseal(r.run, r.purged)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sealed) == 0
}

// lose takes back a run whose memory may be somebody else's by now. It is not used again.
func (a *arena) lose(r run) {
	r.withdraw()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.inUse -= int(r.n)
	a.total.lost += int(r.n)
}

// tick notes that time has passed, and purges the runs that have waited long enough.
func (a *arena) tick() {
	a.mu.Lock()
	a.now++
	now := a.now
	a.mu.Unlock()
	if now%purgeEvery == 0 && a.isWaiting() {
		a.purge(func(r released) bool { return int32(now-r.at) >= int32(purgeDelay) })
		a.purgeWords(false)
	}
}

// purgeFrom purges all released runs whose bytes count in purged, and what an earlier purge could
// not give back. It returns how many bytes went back to the system.
func (a *arena) purgeFrom(purged *atomic.Int64) int64 {
	a.unsealAll()
	a.purgeWords(true)
	return a.purge(func(r released) bool { return r.purged == purged }) + a.purgeHeld(purged)
}

// purge gives the memory of the chosen released runs back to the system, joined where they touch,
// and then makes their granules free. It makes the system calls without the lock, because nobody
// else can have a run that is on no list.
func (a *arena) purge(chosen func(released) bool) int64 {
	a.purgeMu.Lock()
	defer a.purgeMu.Unlock()
	var victims []released
	a.mu.Lock()
	for n, rs := range a.released {
		a.released[n] = slices.DeleteFunc(rs, func(r released) bool {
			if chosen(r) {
				victims = append(victims, r)
				a.purging += n
				return true
			}
			return false
		})
	}
	a.mu.Unlock()
	slices.SortFunc(victims, func(x, y released) int {
		return cmp.Or(cmp.Compare(x.chunk.index, y.chunk.index), cmp.Compare(x.first, y.first))
	})
	var total int64
	for len(victims) > 0 {
		first, k, n := victims[0], 1, int(victims[0].n)
		for k < len(victims) && victims[k].chunk == first.chunk && int(victims[k].first) == int(first.first)+n {
			n += int(victims[k].n)
			k++
		}
		gone, zeroed, lost := system.Load().purge(first.mem(n))
		a.mu.Lock()
		a.sysCall++
		for _, r := range victims[:k] {
			if lost {
				a.total.waiting -= int(r.n)
				a.total.lost += int(r.n)
			} else if a.reuse(r.run, gone, zeroed); gone {
				r.purged.Add(int64(r.size()))
				total += int64(r.size())
			}
		}
		for n, from := range a.from {
			a.from[n] = min(from, first.chunk.index)
		}
		a.purging -= n
		a.mu.Unlock()
		victims = victims[k:]
	}
	return total
}

// purgeHeld purges granules that are free and have memory all the same. Their bytes count in
// purged.
func (a *arena) purgeHeld(purged *atomic.Int64) int64 {
	var runs []released
	a.mu.Lock()
	for _, ch := range a.open {
		for i := range chunkGranules {
			if ch.held.has(i) {
				ch.held.remove(i, 1)
				ch.busy.add(i, 1)
				a.total.held--
				a.total.waiting++
				runs = append(runs, released{run: run{chunk: ch, first: uint16(i), n: 1}, at: a.now, held: true, purged: purged})
			}
		}
	}
	a.released[1] = append(runs, a.released[1]...)
	a.mu.Unlock()
	if len(runs) == 0 {
		return 0
	}
	return a.purge(func(r released) bool { return r.held })
}

// grow opens one more chunk, in a new region if the last one is full. A new region has a chunk with
// room for n granules. mu is held.
func (a *arena) grow(n int) error {
	if len(a.regions) == 0 || a.regions[len(a.regions)-1].isFull() {
		least := uintptr(max(n*granuleSize, smallestRegion))
		mem, err := a.reserve(max(a.nextRegion(), least), least)
		if err != nil {
			return fmt.Errorf("%w: no more address space: %w", ErrOutOfMemory, err)
		}
		a.regions = append(a.regions, &region{mem: mem})
	}
	r := a.regions[len(a.regions)-1]
	mem := r.mem[r.opened:min(r.opened+chunkSize, len(r.mem))]
	if err := a.makeLeaves(addressOf(mem), uintptr(len(mem))); err != nil {
		return err
	}
	r.opened += len(mem)
	a.newChunk(mem)
	return nil
}

// nextRegion returns how many bytes the next region is to have. mu is held.
func (a *arena) nextRegion() uintptr {
	if !offHeap {
		return goHeapRegion
	}
	total := uintptr(firstRegion)
	for _, r := range a.regions {
		total += uintptr(len(r.mem))
	}
	return min(uintptr(1)<<(bits.Len(uint(total))-1), largestRegion)
}

// isFull reports whether all of r is in chunks.
func (r *region) isFull() bool { return r.opened == len(r.mem) }

// newChunk opens a chunk on mem. mu is held.
func (a *arena) newChunk(mem []byte) *chunk {
	ch := &chunk{mem: mem, index: len(a.open)}
	a.open = append(a.open, ch)
	n := len(mem) / granuleSize
	ch.busy.add(n, chunkGranules-n)
	return ch
}

// takeHeld takes a free run of n granules that are all held. mu is held.
func (a *arena) takeHeld(n int) (run, bool) {
	if a.total.held < n {
		return run{}, false
	}
	for _, ch := range a.open {
		others := ch.held // these are free
		for w := range others {
			others[w] = ^others[w]
		}
		if i := others.find(n); i >= 0 {
			r, err := a.take(ch, i, n)
			return r, err == nil
		}
	}
	return run{}, false
}

// find returns the first of n granules that are not in the set, or -1. Runs begin at such places that
// small ones do not break up the space for others: one granule anywhere, 64 at a multiple of 64, and
// others at a multiple of 8.
func (g *granules) find(n int) int {
	step := 8
	if n == 1 || n == 64 {
		step = n
	}
	for i := 0; i+n <= chunkGranules; {
		last := g.last(i, n)
		if last < 0 {
			return i
		}
		i = (last/step + 1) * step
	}
	return -1
}

// last returns the last of n granules from first on that is in the set, or -1.
func (g *granules) last(first, n int) int {
	found := -1
	for w, mask := range bitsOf(first, n) {
		if in := g[w] & mask; in != 0 {
			found = w*64 + bits.Len64(in) - 1
		}
	}
	return found
}

// bitsOf yields the words of a set that have the n granules from first on, and which bits these are.
func bitsOf(first, n int) iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for end := first + n; first < end; {
			w, bit := first/64, first%64
			count := min(64-bit, end-first)
			if !yield(w, (1<<count-1)<<bit) {
				return
			}
			first += count
		}
	}
}

func (g *granules) has(i int) bool { return g[i/64]>>(i%64)&1 != 0 }

// add adds n granules from first on.
func (g *granules) add(first, n int) {
	for w, mask := range bitsOf(first, n) {
		g[w] |= mask
	}
}

// remove removes n granules from first on.
func (g *granules) remove(first, n int) {
	for w, mask := range bitsOf(first, n) {
		g[w] &^= mask
	}
}

// count returns how many of n granules from first on are in the set.
func (g *granules) count(first, n int) (in int) {
	for w, mask := range bitsOf(first, n) {
		in += bits.OnesCount64(g[w] & mask)
	}
	return in
}

// take commits a free run that was found, and marks it busy. mu is held.
func (a *arena) take(ch *chunk, first, n int) (run, error) {
	for step := first / commitGranules; step*commitGranules < first+n; step++ {
		if ch.committed&(1<<step) != 0 {
			continue
		}
		begin := step * commitGranules * granuleSize
		a.sysCall++
		if err := system.Load().commit(ch.mem[begin:min(begin+commitGranules*granuleSize, len(ch.mem))]); err != nil {
			return run{}, fmt.Errorf("%w: %w", ErrOutOfMemory, err)
		}
		ch.committed |= 1 << step
	}
	a.total.held -= ch.held.count(first, n)
	a.total.inUse += n
	ch.held.remove(first, n)
	ch.busy.add(first, n)
	ch.used.add(first, n)
	return run{chunk: ch, first: uint16(first), n: uint16(n), zeroed: ch.dirty.count(first, n) == 0}, nil
}

// reuse marks the granules of r free, after a purge with this outcome. mu is held.
func (a *arena) reuse(r run, gone, zeroed bool) {
	ch, first, n := r.chunk, int(r.first), int(r.n)
	ch.busy.remove(first, n)
	ch.dirty.remove(first, n)
	if !zeroed {
		ch.dirty.add(first, n)
	}
	a.total.waiting -= n
	if gone {
		a.total.purged += int64(r.size())
	} else {
		ch.held.add(first, n)
		a.total.held += n
	}
}
