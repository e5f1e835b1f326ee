//go:build pooldebug

package pool

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"
)

// The debug build, -tags pooldebug. It is slow, and looks for mistakes of the program and of the
// library.
//
//   - Put fills the slot with putByte, or with zeroes if it has pointers. If something else is found
//     there when the slot leaves quarantine or is handed out again, the slot was written to after
//     its Put. With WithInit, Put leaves the slot alone, and a checksum tells.
//   - A red zone of redZone bytes, or more to keep slots aligned, lies behind each slot. Put checks
//     it, and so does the next Get. It is also checked with the rest when the slot leaves
//     quarantine.
//   - A slot that was put stays in quarantine until quarantineBytes of the same pool have been put
//     after it, so that its next user does not cover up the mistake. Trim, Close, and a Get at the
//     limit end quarantine. The environment variable POOLDEBUG sets the bytes, as in
//     POOLDEBUG=quarantine=1048576.
//   - The stacks of each slot's last Get and Put are kept, for the messages, for Leaks and for
//     DescribeFault.
//   - Each operation checks the invariants of what it has changed (invariants.go).
//
// Shards are under locks (own_lock.go): all this takes too long for a pin.

const debugging = true

const redZone = 16 // bytes, before they are rounded up: see strideOf

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
	queue []quarantinedSlot // oldest first
	n     atomic.Int64      // slots in queue, and those taken out of it and not about to be put yet; any goroutine
}

// A quarantinedSlot was put and is kept from its next user for a time.
type quarantinedSlot struct {
	x unsafe.Pointer
	*past
}

// past is what became of a slot.
type past struct {
	got, put stack  // of the last Get and Put; put is nil while the slot is in use
	sum      uint64 // of what the slot held at its Put, with WithInit
}

func (p *past) String() string {
	if p.put == nil {
		return fmt.Sprintf("got at:\n%s", p.got)
	}
	return fmt.Sprintf("got at:\n%sput at:\n%s", p.got, p.put)
}

// parts returns the slot at x without its red zone, and the red zone.
func (w *watches) parts(x unsafe.Pointer) (slot, zone []byte) {
	all := bytesAt(x, int(w.spec.geo.stride))
	return all[:w.spec.size], all[w.spec.size:]
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

var sumSeed = maphash.MakeSeed()

// filler is what a slot is filled with that is not in use.
func (w *watches) filler() byte {
	if w.spec.scanned {
		return 0 // the garbage collector would follow anything else
	}
	return putByte
}

// fill makes a slot that was put such that checkPut sees if it is used.
func (w *watches) fill(x unsafe.Pointer, p *past) {
	slot, _ := w.parts(x)
	switch {
	case w.spec.keeps:
		p.sum = maphash.Bytes(sumSeed, slot)
	case w.spec.scanned:
		w.clear(x)
	default:
		fillWith(slot, putByte)
	}
}

// debugGot notes that the slot at x was got. It returns an error if the slot was written to since
// its last Put.
func (w *watches) debugGot(op string, x unsafe.Pointer) error {
	h := &w.history
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.slots == nil {
		h.slots = make(map[uintptr]*past)
	}
	before := h.slots[uintptr(x)]
	now := &past{got: callers()}
	h.slots[uintptr(x)] = now
	var err error
	if before != nil && before.put != nil {
		err = w.checkPut(op, x, before)
	}
	_, zone := w.parts(x)
	fillWith(zone, zoneByte)
	return err
}

// checkPut reports whether a slot that is not in use was written to.
func (w *watches) checkPut(op string, x unsafe.Pointer, p *past) error {
	slot, zone := w.parts(x)
	if w.spec.keeps {
		if maphash.Bytes(sumSeed, slot) != p.sum {
			return fmt.Errorf("%s: %s: slot %p: %w: it was used after its Put, found now; it was\n%s", w.spec, op, x, ErrCorrupt, p)
		}
	} else if k := firstOther(slot, w.filler()); k >= 0 {
		return fmt.Errorf("%s: %s: slot %p, byte %d: %w: it was used after its Put, found now; it was\n%s", w.spec, op, x, k, ErrCorrupt, p)
	}
	if k := firstOther(zone, zoneByte); k >= 0 {
		return fmt.Errorf("%s: %s: slot %p, byte %d: %w: a write went beyond the slot's end after its Put, found now; it was\n%s", w.spec, op, x, int(w.spec.size)+k, ErrCorrupt, p)
	}
	return nil
}

// debugPut takes the slot at x, which was put, into quarantine. It returns an error if the slot is
// damaged.
func (w *watches) debugPut(op string, x unsafe.Pointer) (err error) {
	p := w.endUse(uintptr(x))
	if p == nil {
		return w.spec.errDoublePut(op, uintptr(x))
	}
	err = w.checkZone(op, x, p)
	_, zone := w.parts(x)
	if err != nil {
		fillWith(zone, zoneByte)
	}
	racePut(x, int(w.spec.geo.stride))
	w.fill(x, p)
	asanPut(x, int(w.spec.geo.stride))
	w.quarantine(x, p)
	return err
}

// checkZone reports whether a write went beyond the end of a slot that was in use until now.
func (w *watches) checkZone(op string, x unsafe.Pointer, p *past) error {
	_, zone := w.parts(x)
	if k := firstOther(zone, zoneByte); k >= 0 {
		return fmt.Errorf("%s: %s: slot %p, byte %d: %w: a write went beyond the slot's end; the slot was\n%s", w.spec, op, x, int(w.spec.size)+k, ErrCorrupt, p)
	}
	return nil
}

// endUse notes that the slot at addr was put. It returns what became of it, or nil if it was not in
// use.
func (w *watches) endUse(addr uintptr) *past {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.history.slots[addr]
	if p == nil || p.put != nil {
		return nil
	}
	p.put = callers()
	return p
}

// quarantine takes a slot into quarantine.
func (w *watches) quarantine(x unsafe.Pointer, p *past) {
	w.history.n.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.queue = append(w.history.queue, quarantinedSlot{x, p})
}

// overdue takes the slots out of quarantine that are too many.
func (w *watches) overdue() []quarantinedSlot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(max(len(w.history.queue)-quarantineBytes/int(w.spec.geo.stride), 0))
}

// takeQuarantined takes all slots out of quarantine.
func (w *watches) takeQuarantined() []quarantinedSlot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(len(w.history.queue))
}

// take takes the n slots out of the queue that have been in it longest. They are in transit until
// leftQuarantine, so that a Get at the limit waits for them. mu is held.
func (w *watches) take(n int) []quarantinedSlot {
	for range n {
		w.transit.enter()
	}
	out := slices.Clone(w.history.queue[:n])
	clear(w.history.queue[:n]) // what a slot leads to is not to be kept
	w.history.queue = w.history.queue[n:]
	return out
}

// checkQuarantined reports whether a slot that leaves quarantine was written to.
func (w *watches) checkQuarantined(op string, q quarantinedSlot) error {
	x := q.x
	asanGot(x, int(w.spec.geo.stride))
	err := w.checkPut(op, x, q.past)
	_, zone := w.parts(x)
	w.fill(x, q.past)
	fillWith(zone, zoneByte)
	asanPut(x, int(w.spec.geo.stride))
	return err
}

// leaveQuarantine notes that a slot leaves quarantine and is about to be put. It is in transit.
func (w *watches) leaveQuarantine() { w.history.n.Add(-1) }

// quarantined returns how many slots are in quarantine, or have left its queue and are not about to be
// put yet.
func (w *watches) quarantined() int { return int(w.history.n.Load()) }

// debugPutGuarded forgets a guarded slot that is put. It needs no quarantine, and is about to lose
// its contents. It returns an error if a write went beyond the slot's end, and not as far as the
// inaccessible memory.
func (w *watches) debugPutGuarded(op string, x unsafe.Pointer) error {
	w.mu.Lock()
	p := w.history.slots[uintptr(x)]
	delete(w.history.slots, uintptr(x))
	w.mu.Unlock()
	if p == nil { // a Put before the Get has returned
		return nil
	}
	return w.checkZone(op, x, p)
}

// debugForget forgets what became of the slots of a page that is released.
func (w *watches) debugForget(pg *page) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range pg.capacity {
		if base := pg.first(); base != nil {
			asanGot(slotAt(base, i, pg.stride), int(w.spec.geo.stride))
		}
		delete(w.history.slots, pg.addressOf(i))
	}
}

// debugDrop forgets what became of the slot at x.
func (w *watches) debugDrop(x unsafe.Pointer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.history.slots, uintptr(x))
}

// debugDescribe tells what became of the slot at addr.
func (w *watches) debugDescribe(addr uintptr) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.history.slots[addr]; p != nil {
		return p.String()
	}
	return "never handed out\n"
}

// debugCheck checks the invariants of what an operation on s may have changed, and now and then of
// all that s has, so that an operation takes no longer if the shard has many pages. If they do not
// hold, it leaves the shard and panics.
func debugCheck(s *shard) {
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
		panic(fmt.Errorf("%s: the pool's own records are damaged, by a bug of the pool or a write to them: %w", s.spec, err))
	}
}

// leaks returns the slots in use.
func (w *watches) leaks() []Leak {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Leak
	for addr, p := range w.history.slots {
		if p.put == nil {
			all = append(all, Leak{Pool: w.spec.name, Type: w.spec.typeName, Addr: addr, ID: w.spec.id, stack: p.got})
		}
	}
	return all
}
