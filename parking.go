package pool

import (
	"runtime"
	"unsafe"
)

// A parkingLot holds slots that were put on a shard and wait there for the shard's next Get. They
// are handed out before all others, the last one first: goroutines migrate, and a slot that was
// used here a moment ago is in this core's cache.
//
// The rule. Every slot is parked as long as there is room, whoever owns its page. A slot that
// finds no room goes to its page if the shard owns that, or can claim it because nobody does. For
// one of another shard's page, the lot first sends its older half home, with one compare-and-swap
// for each page. So a program that gets and puts no more slots at a time than the lot has room for
// does nothing else, and its pages stay as they are, whatever the size of slots. A parked slot
// counts as used: it hides from its page that it is free, and each tick sends all of them home.
//
// The marks. The word of a parked slot says parking instead of taken, so that a second Put is found
// out on whichever P it comes.
//
// The stale entries. places[n:] still holds the slots that were handed out from there. If the slot
// of places[n] is put again, core.put goes by that entry and looks nothing up. What it goes by must
// not outlive the slot's page; see truncate and forget.
//
// All methods run while the caller has the shard to itself.
type parkingLot struct {
	n     uint32 // slots parked
	room  uint32 // slots that may be parked; set once
	armed bool   // a slot was parked since the last tick, and the clock knows
	spec  *spec  // set once

	places [lotSize]parkedSlot // oldest first
}

// A parkedSlot is a slot in a parking lot, with its word in the links of its page, so that handing
// it out takes no look at the page.
type parkedSlot struct {
	slot unsafe.Pointer
	word *uint16
}

const (
	// lotSize is one more than a shard parks at most: core.put looks at the place after the last.
	// It is large enough to make the compare-and-swap that sends half of them home a small share
	// of each, and for two batches of 64. (With 64, batches of 1 KiB slots that cross between Ps
	// took twice as long.)
	lotSize = 128
	// lotBytes limits what large slots keep from other shards in this way, until the next tick.
	lotBytes = 64 << 20
	// lotLeast is how many slots a lot has room for, however large they are.
	lotLeast = 2
)

// init makes l a lot for slots of sp.
func (l *parkingLot) init(sp *spec) {
	l.spec = sp
	l.room = max(min(lotBytes/sp.geo.stride, lotSize-1), lotLeast)
	if sp.maxSlots != 0 {
		// What is parked is missing elsewhere, and has to be searched for.
		l.room = max(min(l.room, uint32(min(sp.maxSlots/(2*runtime.GOMAXPROCS(0)), lotSize))), lotLeast)
	}
}

// isFull reports whether there is no room.
func (l *parkingLot) isFull() bool { return l.n == l.room }

// park parks slot i of pg, which is at x, and for which there is room. It reports false if the slot's
// word is not as given.
func (l *parkingLot) park(pg *page, i uint32, x unsafe.Pointer, from uint16) bool {
	word := pg.link(i)
	if *word != from {
		return false
	}
	*word = parking
	l.places[l.n%lotSize] = parkedSlot{x, word}
	l.n++
	return true
}

// unpark hands out the slot that was parked last. It returns nil if that is not parked any more: two
// Puts of one slot that race may have parked it twice, or parked it and put it on a list. (Its page
// cannot be another pool's: forget comes before the arena has the page.)
func (l *parkingLot) unpark() unsafe.Pointer {
	l.n--
	p := &l.places[l.n%lotSize]
	if *p.word != parking {
		return nil
	}
	*p.word = taken
	return p.slot
}

// home returns the page and the index of a parked slot, or false if it is not parked any more.
func (l *parkingLot) home(p parkedSlot) (*page, uint32, bool) {
	pg, i, ok := l.spec.find(uintptr(p.slot))
	return pg, i, ok && pg.link(i) == p.word && *p.word == parking
}

// A chain is a list of slots of one page, joined by their words, on the way home.
type chain struct {
	pg          *page
	first, last uint32
	n           uint32
	x           unsafe.Pointer // the first one, which keeps a weak page from the collector
}

// takeOldest takes all slots but the keep newest out of the lot and groups them by page. It fills
// chains and returns how many there are.
func (l *parkingLot) takeOldest(keep uint32, chains []chain) (n int) {
	if l.n <= keep {
		l.forget()
		return 0
	}
	for _, p := range l.places[:l.n-keep] {
		pg, i, ok := l.home(p)
		if !ok {
			continue
		}
		*pg.link(i) = none // so that the same slot is not found again
		k := 0
		for k < n && chains[k].pg != pg {
			k++
		}
		if k == n {
			chains[n] = chain{pg, i, i, 1, p.slot}
			n++
			continue
		}
		*pg.link(i) = uint16(chains[k].first)
		chains[k].first, chains[k].x = i, p.slot
		chains[k].n++
	}
	copy(l.places[:], l.places[l.n-keep:l.n])
	l.truncate(keep)
	return n
}

// truncate leaves n slots parked and clears the entries behind them. Those that were used since the
// last time are the first of these.
func (l *parkingLot) truncate(n uint32) {
	end := n
	for end < lotSize && l.places[end].slot != nil {
		end++
	}
	clear(l.places[n:end])
	l.n = n
}

// forget clears the stale entries, also those among the parked slots, which two Puts of one slot
// that raced can leave there. When a page of the pool is gone, its words may say anything, and its
// slots may be another pool's.
func (l *parkingLot) forget() {
	left := uint32(0)
	for _, p := range l.places[:l.n] {
		if _, _, ok := l.home(p); ok {
			l.places[left] = p
			left++
		}
	}
	l.truncate(left)
}
