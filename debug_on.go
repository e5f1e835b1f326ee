//go:build pooldebug

package pool

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"
)

// The debug build, -tags pooldebug: slow, and looks for mistakes of the program and
// of the library.
//
//   - Put fills the slot with putByte. A slot in which something else is found, when it
//     leaves quarantine or is handed out again, was written to after its Put.
//   - A red zone of redZone bytes, or a few more, lies behind each slot. It is checked
//     by Put, by the next Get, and with the rest when the slot leaves quarantine.
//   - A slot that was put stays in quarantine until quarantineBytes of the same pool
//     have been put after it, so that the mistake is not covered up by its next user. Trim, a limit that is
//     reached, and Close end it. The environment variable POOLDEBUG sets the bytes, as
//     in POOLDEBUG=quarantine=1048576.
//   - The stacks of each slot's last Get and Put are kept, for the messages, for Leaks and
//     for DescribeFault.
//   - Each operation checks the invariants of what it has changed (invariants.go).
//
// Shards are locked (pin_portable.go): all this takes too long to be done pinned.

const debugging = true

const redZone = 16 // bytes

const (
	putByte  = 0xdb // in slots that are not in use
	zoneByte = 0xfd // in red zones
)

// quarantineBytes is how much of each pool is in quarantine.
var quarantineBytes = func() int {
	if text, ok := strings.CutPrefix(os.Getenv("POOLDEBUG"), "quarantine="); ok {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			return n
		}
	}
	return 256 << 10
}()

// history is what a pool knows of what became of its slots. Under watches.mu.
type history struct {
	slots map[uintptr]*past
	queue []keptSlot   // in quarantine, oldest first
	kept  atomic.Int64 // words that say kept; any goroutine
}

// A keptSlot is in quarantine.
type keptSlot struct {
	addr uintptr
	*past
}

// past is what became of a slot.
type past struct {
	got, put stack // of the last Get and Put; put is nil while the slot is in use
}

func (p *past) String() string {
	if p.put == nil {
		return fmt.Sprintf("got at:\n%s", p.got)
	}
	return fmt.Sprintf("got at:\n%sput at:\n%s", p.got, p.put)
}

// parts returns the slot at x without its red zone, and the red zone.
func (c *core) parts(x unsafe.Pointer) (slot, zone []byte) {
	all := bytesAt(x, int(c.geo.stride))
	return all[:c.size], all[c.size:]
}

// firstOther returns the first place of b that does not hold want, or -1.
func firstOther(b []byte, want byte) int {
	return slices.IndexFunc(b, func(got byte) bool { return got != want })
}

func fillWith(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// debugGot notes that the slot at x was got, and reports whether it was written to
// since its last Put.
func (c *core) debugGot(op string, x unsafe.Pointer) error {
	h := &c.watches.history
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	if h.slots == nil {
		h.slots = make(map[uintptr]*past)
	}
	before := h.slots[uintptr(x)]
	now := &past{got: callers()}
	h.slots[uintptr(x)] = now
	var err error
	if before != nil && before.put != nil {
		err = c.checkPut(op, x, before)
	}
	_, zone := c.parts(x)
	fillWith(zone, zoneByte)
	return err
}

// checkPut reports whether a slot that is not in use was written to.
func (c *core) checkPut(op string, x unsafe.Pointer, p *past) error {
	slot, zone := c.parts(x)
	if k := firstOther(slot, putByte); k >= 0 {
		return fmt.Errorf("%s: %s: slot %p, byte %d: %w: it was used after its Put, found now; it was\n%s", c, op, x, k, ErrCorrupt, p)
	}
	if k := firstOther(zone, zoneByte); k >= 0 {
		return fmt.Errorf("%s: %s: slot %p, byte %d: %w: a write went beyond the slot's end after its Put, found now; it was\n%s", c, op, x, int(c.size)+k, ErrCorrupt, p)
	}
	return nil
}

// debugPut takes the slot at x, which is put, into quarantine. It reports damage that
// was done to it, or to those that leave quarantine.
func (c *core) debugPut(op string, x unsafe.Pointer) (err error) {
	p := c.endUse(uintptr(x))
	if p == nil {
		return c.errDoublePut(op, uintptr(x))
	}
	slot, zone := c.parts(x)
	if k := firstOther(zone, zoneByte); k >= 0 {
		err = fmt.Errorf("%s: %s: slot %p, byte %d: %w: a write went beyond the slot's end; the slot was\n%s", c, op, x, int(c.size)+k, ErrCorrupt, p)
		fillWith(zone, zoneByte)
	}
	racePut(x, int(c.geo.stride))
	fillWith(slot, putByte)
	asanPut(x, int(c.geo.stride))
	return cmp.Or(err, c.quarantine(op, uintptr(x), p))
}

// debugPutGuarded notes that a guarded slot is put, which needs no quarantine, and has
// no contents any more.
func (c *core) debugPutGuarded(addr uintptr) {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	delete(c.watches.history.slots, addr)
}

// endUse notes that the slot at addr is put. It returns what became of it, or nil if
// it is not in use.
func (c *core) endUse(addr uintptr) *past {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	p := c.watches.history.slots[addr]
	if p == nil || p.put != nil {
		return nil
	}
	p.put = callers()
	return p
}

// quarantine takes a slot into quarantine and ends that of others.
func (c *core) quarantine(op string, addr uintptr, p *past) (err error) {
	h := &c.watches.history
	h.kept.Add(1)
	c.watches.mu.Lock()
	h.queue = append(h.queue, keptSlot{addr, p})
	n := max(len(h.queue)-quarantineBytes/int(c.geo.stride), 0)
	out := c.takeKept(n)
	c.watches.mu.Unlock()
	return c.endQuarantine(op, out)
}

// takeKept takes the n slots out of the queue that are in it longest. They are in transit, as a
// page is, until endQuarantine has put them: a Get at the limit waits for them. watches.mu is held.
func (c *core) takeKept(n int) []keptSlot {
	h := &c.watches.history
	for range n {
		c.transit.Add(enterTransit)
	}
	out := h.queue[:n:n]
	h.queue = h.queue[n:]
	return out
}

// endQuarantine puts slots that have left the queue. It returns the first error.
func (c *core) endQuarantine(op string, out []keptSlot) (err error) {
	for _, k := range out {
		err = cmp.Or(err, c.putKept(op, k))
		c.watches.history.kept.Add(-1)
		c.transit.Add(leaveTransit)
	}
	return err
}

// putKept puts a slot that has left the queue.
func (c *core) putKept(op string, k keptSlot) error {
	pg := pageOf(k.addr)
	i, _ := pg.indexOf(k.addr)
	x := pg.slot(i)
	asanGot(x, int(c.geo.stride))
	err := c.checkPut(op, x, k.past)
	slot, zone := c.parts(x)
	fillWith(slot, putByte)
	fillWith(zone, zoneByte)
	asanPut(x, int(c.geo.stride))
	return cmp.Or(err, c.putBack(op, k.addr))
}

// releaseKept ends all quarantine, for op.
func (c *core) releaseKept(op string) {
	c.watches.mu.Lock()
	out := c.takeKept(len(c.watches.history.queue))
	c.watches.mu.Unlock()
	if err := c.endQuarantine(op, out); err != nil {
		panic(err)
	}
}

// kept returns how many slots are in quarantine, or have left its queue and are not put yet.
func (c *core) kept() int { return int(c.watches.history.kept.Load()) }

// debugForget forgets what became of the slots of a page that is released.
func (c *core) debugForget(pg *page) {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	for i := range pg.capacity {
		x := pg.slot(i)
		asanGot(x, int(c.geo.stride))
		delete(c.watches.history.slots, uintptr(x))
	}
}

// debugDescribe tells what became of the slot at addr.
func (c *core) debugDescribe(addr uintptr) string {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	if p := c.watches.history.slots[addr]; p != nil {
		return p.String()
	}
	return "never handed out\n"
}

// debugCheck checks the invariants of what an operation on s may have changed, and now
// and then of all that s has: each page in turn, so that this takes no longer with
// many pages. It panics, unpinned, if they do not hold.
func (c *core) debugCheck(s *shard) {
	_, err := s.cur.walk()
	s.checks++
	if s.checks > s.queue.len+s.retired.len {
		s.checks = 0
		err = cmp.Or(err, s.check(make(map[*page]int), make(map[*page]*shard)))
		for _, q := range []*pageQueue{&s.queue, &s.retired} {
			for pg := q.head; pg != nil; pg = pg.next {
				_, damage := pg.walk()
				err = cmp.Or(err, damage)
			}
		}
	}
	if err != nil {
		s.unpin()
		panic(fmt.Errorf("%s: the pool's own records are damaged, by a bug of the pool or a write to them: %w", c, err))
	}
}

// leaks returns the slots in use.
func (c *core) leaks() []Leak {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	var all []Leak
	for addr, p := range c.watches.history.slots {
		if p.put == nil {
			all = append(all, Leak{Pool: c.name, Type: c.typeName, Addr: addr, stack: p.got})
		}
	}
	return all
}
