package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"unsafe"
)

// Guarded slots: a few slots have OS pages of their own, so that the processor finds
// the use after Put and the access beyond the end that nothing else can find without
// a look at each access. The idea is Electric Fence's (Perens, 1987), and to do it for
// a sample of all slots only, in production, is GWP-ASan's (Chromium and LLVM).
//
// A guarded slot is the only one of a page of its own: a run of which all memory is
// inaccessible but for that of the slot while it is in use, at the end of which it
// lies. Its word is watched, or none when it has been put; nobody owns its page, so
// that no shard parks the slot or claims the page. A guard that has been put is used
// again after all those put before it.

// A guard is what a page is that has one guarded slot.
type guard struct {
	mem      []byte // what is accessible while the slot is in use: whole OS pages
	got, put stack  // of the slot's last Get and Put; under core.mu
}

// guards are a pool's guarded slots. Under core.mu.
type guards struct {
	all    []*page
	idle   []*page // put; the first was put first
	served uint64
}

// Limits to the guards of a pool, and to their address space in bytes.
const (
	guardMax   = 64
	guardBytes = 16 << 20
)

// guardsOf returns how many guards of n granules c may have: at a limit, an eighth of
// the pages, because a guard has one slot instead of many.
func (c *core) guardsOf(n int) int {
	most := min(guardMax, guardBytes/(n*granuleSize))
	if c.maxPages != 0 {
		most = min(most, c.maxPages/8)
	}
	return most
}

// guardDue counts a slow Get and reports whether it is to be guarded. What comes
// before is random, so that a program with a pattern has all its Gets guarded some
// time.
func (s *shard) guardDue() bool {
	if s.guardIn == 0 {
		s.guardIn = rand.Uint32N(2*s.core.guardEvery-1) + 1 // n on average
	}
	s.guardIn--
	return s.guardIn == 0
}

// getGuarded returns a guarded slot, or nil if there is none to be had now.
func (c *core) getGuarded() unsafe.Pointer {
	pg := c.takeGuard()
	if pg == nil {
		return nil
	}
	err := system.Load().protect(pg.guard.mem, true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.guards.idle = append(c.guards.idle, pg)
		return nil
	}
	pg.guard.got, pg.guard.put = callers(), nil
	*pg.link(0) = watched
	c.guards.served++
	return pg.slot(0)
}

// takeGuard takes a guard that is not in use, or makes one.
func (c *core) takeGuard() *page {
	c.mu.Lock()
	idle := c.guards.idle
	n := guardGranules(c.geo.stride)
	switch {
	case c.closed.Load():
		c.mu.Unlock()
		return nil
	case len(c.guards.all) >= c.guardsOf(n) || c.atLimit():
		defer c.mu.Unlock()
		if len(idle) == 0 {
			return nil
		}
		c.guards.idle = idle[1:]
		return idle[0]
	}
	c.coming++
	c.mu.Unlock()
	pg := newGuard(c, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming--
	if pg == nil {
		return nil
	}
	c.guards.all = append(c.guards.all, pg)
	pg.mem.publish(pg)
	if c.closed.Load() {
		c.releaseGuard(pg)
		return nil
	}
	return pg
}

// guardGranules returns how many granules a guard takes: the slot's OS pages and an
// inaccessible one behind them.
func guardGranules(stride uint32) int {
	need := osPages(stride) + os.Getpagesize()
	for _, n := range []int{1, 8} {
		if need <= n*granuleSize {
			return n
		}
	}
	return largePageSize / granuleSize
}

// osPages rounds bytes up to whole OS pages.
func osPages(bytes uint32) int {
	size := os.Getpagesize()
	return (int(bytes) + size - 1) / size * size
}

// newGuard makes a guard of n granules, inaccessible, or returns nil.
func newGuard(c *core, n int) *page {
	mem, err := theArena.alloc(n)
	if err != nil {
		return nil
	}
	all := mem.mem(n)
	if system.Load().protect(all, false) != nil {
		theArena.release(mem, &c.purged)
		return nil
	}
	end := len(all) - os.Getpagesize()
	return &page{
		pageShared: pageShared{
			base:   startOf(all[end-int(c.geo.stride):]),
			links:  []uint16{none},
			core:   c,
			recip:  c.geo.recip,
			stride: c.geo.stride,
		},
		pageOwned: pageOwned{free: none, localFree: none, reserved: 1, capacity: 1},
		mem:       mem,
		guard:     &guard{mem: all[end-osPages(c.geo.stride) : end]},
	}
}

// putGuarded is the Put of a guarded slot.
func (c *core) putGuarded(op string, pg *page) error {
	// Purged first: some systems make memory accessible by that. What the OS has
	// not taken back stays there, out of reach.
	system.Load().purge(pg.guard.mem)
	err := system.Load().protect(pg.guard.mem, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if *pg.link(0) != kept { // another Put has run at the same time
		return c.errDoublePut(op, uintptr(pg.base))
	}
	*pg.link(0) = none
	pg.guard.put = callers()
	if err == nil {
		c.guards.idle = append(c.guards.idle, pg)
	} else {
		c.releaseGuard(pg) // it could not detect anything
	}
	return nil
}

// releaseGuard gives a guard that is not in use to the arena. mu is held.
func (c *core) releaseGuard(pg *page) {
	c.guards.all = slices.DeleteFunc(c.guards.all, func(other *page) bool { return other == pg })
	pg.dropRefs()
	theArena.unseal(pg.mem, &c.purged)
}

// releaseGuards gives the guards that are not in use to the arena. mu is held.
func (c *core) releaseGuards() {
	idle := c.guards.idle
	c.guards.idle = nil
	for _, pg := range idle {
		c.releaseGuard(pg)
	}
}

// DescribeFault tells in words what an address is to the pools of the process: which pool's slot,
// and how far into it; of a guarded slot (see [WithGuardSampling]), and of any slot in builds with
// -tags pooldebug, also whether it is in use, and the stacks that got and put it last. For an
// address where no pool has had memory, it returns "". The text is for people, and may change. Any
// goroutine may call it, for instance with the address of a fault, in one that has called
// [runtime/debug.SetPanicOnFault]:
//
//	defer func() {
//		if e, ok := recover().(interface{ Addr() uintptr }); ok {
//			log.Print(pool.DescribeFault(e.Addr()))
//		}
//	}()
func DescribeFault(addr uintptr) string {
	pg := pageOf(addr)
	if pg == noPage {
		if inArena(addr) {
			return fmt.Sprintf("%#x: a page of a pool was there, and has been released since", addr)
		}
		return ""
	}
	if pg.guard == nil {
		return pg.describe(addr)
	}
	c := pg.core
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	off := int(addr) - int(uintptr(pg.base))
	switch size := int(c.size); {
	case off < 0:
		fmt.Fprintf(&b, "%#x: %d bytes before a slot of %s, which", addr, -off, c)
	case off < size:
		fmt.Fprintf(&b, "%#x: %d bytes into a slot of %s, which", addr, off, c)
	default:
		fmt.Fprintf(&b, "%#x: %d bytes behind the end of a slot of %s, which", addr, off-size, c)
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
	c := pg.core
	off := addr - uintptr(pg.base)
	i := off / uintptr(pg.stride)
	if i >= uintptr(pg.reserved) {
		return fmt.Sprintf("%#x: behind the last slot of a page of %s", addr, c)
	}
	text := fmt.Sprintf("%#x: %d bytes into slot %d of a page of %s, which is not guarded\n", addr, off%uintptr(pg.stride), i, c)
	if debugging {
		text += c.debugDescribe(uintptr(pg.slot(uint32(i))))
	}
	return text
}
