package pool

import (
	"fmt"
	"math/bits"
)

// The link words of pages are in memory of their own, off the Go heap, which is used for nothing
// else. It was never a slot and never will be, so a write to a slot, late or not, does not reach it.
//
// The memory comes in spans, which are cut into blocks of whole cache lines, one for each page. All
// pools share the spans. When a page is released, its block waits for another page with as many
// lines. OS pages on which no page has its words go back to the system together with the memory of
// released pages. Address space and blocks stay.
//
// A Put that races with an earlier one of the same slot may have found a page that is being
// released, and be about to look at its word. It should not find the word of another page there. So
// a block rests until enough others have been given back.

const (
	// spanSize is how much memory for words is reserved and committed at a time, in bytes. That is
	// enough for 8 MiB of slots of 64 bytes.
	spanSize = 256 << 10

	// blocksAtRest is how many blocks of a size are not used again yet.
	blocksAtRest = 16

	unitSize  = 4096 // bytes; the smallest OS page
	spanUnits = spanSize / unitSize
)

// A wordBlock is memory for the words of one page.
type wordBlock struct {
	span  *wordSpan
	at, n uint32 // bytes
}

// A wordSpan is one reservation for words. Its bitmaps have one bit for each unit.
type wordSpan struct {
	arena   *arena
	mem     []byte
	users   [spanUnits]uint8 // blocks in use that the unit has a part of
	touched uint64           // there may be memory behind the unit
	dirty   uint64           // the unit may not be zero
	idle    uint64           // touched, without users, and nobody has tried to purge it since
	lost    uint64           // a purge may have lost them: blocks there are not used again
	since   uint32           // arena.now when a block was given back last
}

// A wordStore has the memory for the words of all pages. It is under arena.mu.
type wordStore struct {
	spans []*wordSpan
	cut   uint32                 // bytes of the last span that are in blocks
	free  map[uint32][]wordBlock // by size; the one that was given back first is the first
	idle  int                    // units

	reserved []byte // see arena.usable
}

// mem returns the memory of b.
func (b wordBlock) mem() []byte { return b.span.mem[b.at:][:b.n] }

// units returns the units that b has a part of.
func (b wordBlock) units() uint64 {
	return unitMask(b.at/unitSize, (b.at+b.n+unitSize-1)/unitSize)
}

// unitMask returns the bits of some units.
func unitMask(from, to uint32) uint64 { return (1<<(to-from) - 1) << from }

// eachUnit calls f for each unit of a bitmap.
func eachUnit(bitmap uint64, f func(u uint32)) {
	for ; bitmap != 0; bitmap &= bitmap - 1 {
		f(uint32(bits.TrailingZeros64(bitmap)))
	}
}

// allocWords returns memory for the words of so many slots, all of them 0. It may call the system,
// so the caller must not have a shard to itself.
func (a *arena) allocWords(slots uint32) (b wordBlock, err error) {
	const line = 64
	n := (2*slots + line - 1) &^ (line - 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.words
	b, ok := w.reuse(n, blocksAtRest)
	if !ok && (len(w.spans) == 0 || w.cut+line+n > spanSize) {
		if err = a.addSpan(); err != nil {
			// A program without a mistake does not need the rest, and must not fail for it.
			if b, ok = w.reuse(n, 0); !ok {
				return b, err
			}
		}
	}
	if !ok {
		span := w.spans[len(w.spans)-1]
		if inSlot0(addressOf(span.mem) + uintptr(w.cut)) {
			w.cut += line // the words of the first slots are the most used
		}
		b = wordBlock{span, w.cut, n}
		w.cut += n
	}
	s := b.span
	in := b.units()
	if s.dirty&in != 0 {
		clear(b.mem())
	}
	eachUnit(in, func(u uint32) { s.users[u]++ })
	w.idle -= bits.OnesCount64(s.idle & in)
	s.idle &^= in
	s.touched |= in
	s.dirty |= in
	return b, nil
}

// reuse returns the block of n bytes that has rested longest, if more than some rest. arena.mu is
// held.
func (w *wordStore) reuse(n uint32, rest int) (b wordBlock, ok bool) {
	for len(w.free[n]) > rest && !ok {
		b = w.free[n][0]
		w.free[n] = w.free[n][1:]
		ok = b.span.lost&b.units() == 0
	}
	return b, ok
}

// addSpan reserves and commits one more span. mu is held.
func (a *arena) addSpan() error {
	mem, err := a.usable(spanSize, &a.words.reserved)
	if err != nil {
		return fmt.Errorf("%w: no memory for the records of a page: %w", ErrOutOfMemory, err)
	}
	if a.words.free == nil {
		a.words.free = make(map[uint32][]wordBlock)
	}
	a.words.spans = append(a.words.spans, &wordSpan{arena: a, mem: mem})
	a.words.cut = 0
	return nil
}

// release gives the words of a page back. The caller frees the page's memory next.
func (b wordBlock) release() {
	s := b.span
	a := s.arena
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.words
	w.free[b.n] = append(w.free[b.n], b)
	s.since = a.now
	eachUnit(b.units(), func(u uint32) {
		if s.users[u]--; s.users[u] == 0 {
			s.idle |= unitMask(u, u+1)
			w.idle++
		}
	})
}

// purgeWords gives the memory of units without users back to the system: those of spans where no
// block was given back for purgeDelay, or of all.
func (a *arena) purgeWords(all bool) {
	for k := 0; ; k++ {
		a.mu.Lock()
		if k >= len(a.words.spans) {
			a.mu.Unlock()
			return
		}
		if s := a.words.spans[k]; all || s.idle != 0 && int32(a.now-s.since) >= int32(purgeDelay) {
			a.purgeSpan(s)
		}
		a.mu.Unlock()
	}
}

// purgeSpan purges the units of s that have no users, joined where they touch. What the system does
// not take back stays touched, for the next Trim. mu is held.
func (a *arena) purgeSpan(s *wordSpan) {
	a.words.idle -= bits.OnesCount64(s.idle)
	s.idle = 0
	step := max(uint32(osPageSize/unitSize), 1)
	for from := uint32(0); from < spanUnits; {
		to := from
		for to < spanUnits && s.unused(to, to+step) {
			to += step
		}
		if in := unitMask(from, to); s.touched&in != 0 {
			a.sysCall++
			gone, zeroed, lost := system.Load().purge(s.mem[from*unitSize : to*unitSize])
			if lost {
				s.lost |= in
				eachUnit(in, func(u uint32) { s.users[u]++ })
				if s == a.words.spans[len(a.words.spans)-1] {
					a.words.cut = spanSize
				}
			}
			if gone {
				s.touched &^= in
			}
			if zeroed {
				s.dirty &^= in
			}
		}
		from = to + step
	}
}

// unused reports whether some units have no users.
func (s *wordSpan) unused(from, to uint32) bool {
	for u := from; u < to; u++ {
		if s.users[u] != 0 {
			return false
		}
	}
	return true
}

// bytes returns how many bytes may have memory behind them. arena.mu is held.
func (w *wordStore) bytes() (n int64) {
	for _, s := range w.spans {
		n += int64(bits.OnesCount64(s.touched)) * unitSize
	}
	return n
}
