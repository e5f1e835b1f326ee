package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Guarded slots. A few slots have OS pages of their own, so that the processor finds the use after
// Put and the access beyond the end, which nothing else can find without a look at each access. The
// idea is Electric Fence's (Perens, 1987). Doing it in production, for a sample of all objects, is
// GWP-ASan's (Chromium and LLVM).
//
// A guarded slot is the only one of a page of its own. All memory of the page is inaccessible,
// except that of the slot while it is in use, and the slot lies at the end of that. Its word says
// watched, or none when it has been put. Nobody owns its page, so that no shard parks the slot or
// claims the page. A guard that has been put is used again after all those that were put before it.

// A guard is what makes a page the page of one guarded slot.
type guard struct {
	mem      []byte // what is accessible while the slot is in use: whole OS pages
	got, put stack  // of the slot's last Get and Put; under depot.mu
}

// guards are a pool's guarded slots. The fields below depot are under depot.mu.
type guards struct {
	spec  *spec  // set once
	depot *depot // set once

	all    []*page
	idle   []*page // those that were put; the first was put first
	served uint64
	used   atomic.Int32 // len(all) - len(idle), for those who do not hold depot.mu
}

// Limits to the guards of a pool, to their address space in bytes, and to the guards of all pools.
// Each guard splits the kernel's map of the process in up to three places, and Linux allows 65,530
// of these by default (vm.max_map_count).
const (
	guardMax        = 64
	guardBytes      = 16 << 20
	guardMaxProcess = 2048
)

// guardsOfAll counts the guards of all pools.
var guardsOfAll atomic.Int32

func (g *guards) init(sp *spec, d *depot) { g.spec, g.depot = sp, d }

// most returns how many guards of n granules the pool may have. At a limit they may take an eighth
// of the pages, because a guard has one slot where a page has many, and an eighth of the slots.
func (g *guards) most(n int) int {
	most := min(guardMax, guardBytes/(n*granuleSize))
	if g.spec.maxPages != 0 {
		most = min(most, g.spec.maxPages/8/g.pages(n))
	}
	if g.spec.maxSlots != 0 {
		most = min(most, g.spec.maxSlots/8)
	}
	if f := g.spec.family; f != nil && f.limit != 0 {
		most = int(min(int64(most), f.limit/8/g.depot.bytes(g.pages(n))))
	}
	return most
}

// pages returns how many pages a guard of n granules counts as.
func (g *guards) pages(n int) int { return (n + g.spec.geo.granules() - 1) / g.spec.geo.granules() }

// inUse returns how many guarded slots are in use. depot.mu is held.
func (g *guards) inUse() int { return len(g.all) - len(g.idle) }

// counted publishes how many guarded slots are in use. depot.mu is held.
func (g *guards) counted() { g.used.Store(int32(g.inUse())) }

// guardDue counts a slow Get and reports whether it is to be guarded. The number of Gets until the
// next one is random, so that sooner or later each Get of a program with a pattern is guarded.
func (s *shard) guardDue() bool {
	if s.guardIn == 0 {
		s.guardIn = rand.Uint32N(2*s.spec.guardEvery-1) + 1 // guardEvery on average
	}
	s.guardIn--
	return s.guardIn == 0
}

// get returns a guarded slot, or nil if there is none now. refused says that the system has refused one,
// which counted until then: the caller has to tell those who may have waited because of that.
func (g *guards) get() (x unsafe.Pointer, refused bool) {
	pg, refused := g.take()
	if pg == nil {
		return nil, refused
	}
	err := system.Load().protect(pg.guard.mem, true)
	g.depot.mu.Lock()
	defer g.depot.mu.Unlock()
	if err != nil {
		g.rest(pg)
		return nil, true
	}
	pg.guard.got, pg.guard.put = callers(), nil
	*pg.link(0) = watched
	if g.spec.keeps {
		*pg.link(0) = leaving // its object is not made yet
	}
	g.served++
	return pg.slot(0), false
}

// take takes a guard that is not in use, or makes one, or returns nil. refused is as in get.
func (g *guards) take() (pg *page, refused bool) {
	d := g.depot
	n := guardGranules(g.spec.geo.stride)
	pages := g.pages(n)
	d.mu.Lock()
	switch {
	case d.closed.Load():
		d.mu.Unlock()
		return nil, false
	case len(g.all) >= g.most(n) || guardsOfAll.Load() >= guardMaxProcess || d.reserve(pages, 1) == 0:
		defer d.mu.Unlock()
		if len(g.idle) == 0 {
			return nil, false
		}
		pg = g.idle[0]
		g.idle = g.idle[1:]
		g.counted()
		return pg, false
	}
	guardsOfAll.Add(1)
	d.mu.Unlock()
	pg = newGuard(g.spec, n, &d.purged)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.making -= pages
	if pg == nil {
		d.uncount(pages, 1)
		guardsOfAll.Add(-1)
		return nil, true
	}
	d.guarded += pages
	g.all = append(g.all, pg)
	g.counted()
	pg.mem.publish(pg)
	if d.closed.Load() {
		g.release(pg)
		return nil, false
	}
	return pg, false
}

// guardGranules returns how many granules a guard takes: the slot's OS pages, and an inaccessible
// one behind them.
func guardGranules(stride uint32) int {
	need := (osPages(stride) + osPageSize + granuleSize - 1) / granuleSize
	if need > 1 {
		return max(need, mediumPageSize/granuleSize)
	}
	return 1
}

// osPages rounds bytes up to whole OS pages.
func osPages(bytes uint32) int {
	return (int(bytes) + osPageSize - 1) / osPageSize * osPageSize
}

// osPageSize is what the processor can make inaccessible, in bytes: 4 KiB to 64 KiB. Tests change
// it.
var osPageSize = os.Getpagesize()

// newGuard makes a guard of n granules, inaccessible, or returns nil. While memory of earlier guards
// waits to be made accessible, it makes none: more and more memory would wait.
func newGuard(sp *spec, n int, purged *atomic.Int64) *page {
	if !theArena.unsealAll() {
		return nil
	}
	mem, err := theArena.alloc(n)
	if err != nil {
		return nil
	}
	all := mem.mem(n)
	if system.Load().protect(all, false) != nil {
		theArena.unseal(mem, purged) // a part of it may be inaccessible
		return nil
	}
	end := len(all) - osPageSize
	word := make([]uint16, 2)[:1] // see page.changeLink
	word[0] = none
	return &page{
		pageShared: pageShared{
			base:   startOf(all[end-int(sp.geo.stride):]),
			links:  word,
			spec:   sp,
			recip:  sp.geo.recip,
			stride: sp.geo.stride,
		},
		pageOwned: pageOwned{free: none, localFree: none, reserved: 1, capacity: 1},
		mem:       mem,
		guard:     &guard{mem: all[end-osPages(sp.geo.stride) : end]},
	}
}

// put is the Put of a guarded slot, whose word says leaving: no other Put comes here, and nobody gets
// the slot before its word says none.
func (g *guards) put(pg *page) {
	// The purge comes first, because some systems make memory accessible by it. What the system
	// does not take back stays there, out of reach.
	_, _, lost := system.Load().purge(pg.guard.mem)
	if lost {
		g.depot.mu.Lock()
		defer g.depot.mu.Unlock()
		*pg.link(0) = none
		g.remove(pg)
		theArena.lose(pg.mem)
		return
	}
	err := system.Load().protect(pg.guard.mem, false)
	g.depot.mu.Lock()
	defer g.depot.mu.Unlock()
	*pg.link(0) = none
	pg.guard.put = callers()
	if err == nil {
		g.rest(pg)
	} else {
		g.release(pg) // it could not detect anything
	}
}

// rest keeps a guard that is not in use, for later. depot.mu is held.
func (g *guards) rest(pg *page) {
	g.idle = append(g.idle, pg)
	g.counted()
	g.depot.refills.Add(1) // a search would release it
}

// release gives a guard that is not in use to the arena. depot.mu is held.
func (g *guards) release(pg *page) {
	g.remove(pg)
	theArena.unseal(pg.mem, &g.depot.purged)
}

// remove ends a guard that is not in use. depot.mu is held.
func (g *guards) remove(pg *page) {
	g.all = slices.DeleteFunc(g.all, func(other *page) bool { return other == pg })
	g.depot.guarded -= g.pages(int(pg.mem.n))
	g.depot.uncount(g.pages(int(pg.mem.n)), 1)
	guardsOfAll.Add(-1)
	g.counted()
	refs.drop(pg)
}

// releaseAll gives all guards to the arena, also those in use. depot.mu is held.
func (g *guards) releaseAll() {
	all := slices.Clone(g.all)
	g.idle = nil
	for _, pg := range all {
		*pg.link(0) = none
		g.release(pg)
	}
}

// releaseIdle gives the guards that are not in use to the arena.
func (g *guards) releaseIdle() {
	g.depot.mu.Lock()
	defer g.depot.mu.Unlock()
	g.releaseIdleLocked()
}

// releaseIdleLocked is releaseIdle with depot.mu held.
func (g *guards) releaseIdleLocked() {
	idle := g.idle
	g.idle = nil
	for _, pg := range idle {
		g.release(pg)
	}
}

// DescribeFault tells in words what an address is to the pools of the process: which pool's slot,
// and how far into it; of a guarded slot (see [WithGuardSampling]), and of any slot in builds with
// -tags pooldebug, also whether it is in use, and the stacks that got and put it last. For an
// address where no pool has had memory, it returns "". The text is for people, and may change. It
// is safe for concurrent use. A goroutine that has called [runtime/debug.SetPanicOnFault] can give
// it the address of a fault:
//
//	defer func() {
//		if e, ok := recover().(interface{ Addr() uintptr }); ok {
//			log.Print(pool.DescribeFault(e.Addr()))
//		}
//	}()
func DescribeFault(addr uintptr) string {
	pg := pageOf(addr)
	if pg == noPage || pg.isDead() {
		if wasPage(addr) {
			return fmt.Sprintf("%#x: a page of a pool was there, and has been released since", addr)
		}
		return ""
	}
	if pg.guard == nil {
		return pg.describe(addr)
	}
	sp := pg.spec
	if c := coreOf(sp); c != nil {
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
	}
	var b strings.Builder
	off := int(addr) - int(uintptr(pg.base))
	switch size := int(sp.size); {
	case off < 0:
		fmt.Fprintf(&b, "%#x: %d bytes before a slot of %s, which", addr, -off, sp)
	case off < size:
		fmt.Fprintf(&b, "%#x: %d bytes into a slot of %s, which", addr, off, sp)
	default:
		fmt.Fprintf(&b, "%#x: %d bytes behind the end of a slot of %s, which", addr, off-size, sp)
	}
	if pg.guard.put == nil {
		fmt.Fprintf(&b, " is in use\ngot at:\n%s", pg.guard.got)
	} else {
		fmt.Fprintf(&b, " was Put\ngot at:\n%sput at:\n%s", pg.guard.got, pg.guard.put)
	}
	return b.String()
}

// describe is DescribeFault for an address in a page without guard.
func (pg *page) describe(addr uintptr) string {
	off := addr - pg.begin()
	i := off / uintptr(pg.stride)
	if i >= uintptr(pg.reserved) {
		return fmt.Sprintf("%#x: behind the last slot of a page of %s", addr, pg.spec)
	}
	text := fmt.Sprintf("%#x: %d bytes into slot %d of a page of %s, which is not guarded\n", addr, off%uintptr(pg.stride), i, pg.spec)
	if c := coreOf(pg.spec); debugging && c != nil {
		text += c.watches.debugDescribe(pg.addressOf(uint32(i)))
	}
	return text
}
