package main

import (
	"iter"
	"math/bits"
)

// What the two books have in common. They are the same algorithm twice, statement
// for statement, in poolbook.go and plainbook.go, so that a diff shows what it
// takes to hold the orders by Ref. Generic code would hide that, and cost time.

// A side of the book. Bids and asks share one array of levels: what is at or below
// the best bid is bids, what is at or above the best ask is asks.
type side uint8

const (
	buy side = iota
	sell
)

func (s side) other() side { return 1 - s }

// reaches reports whether an order of side s with that limit trades at price. It
// does so with no other side's none.
func (s side) reaches(limit, price int32) bool {
	if s == buy {
		return price <= limit
	}
	return price >= limit
}

// step leads from a price of side s to the next one that is worse.
func (s side) step() int32 {
	if s == buy {
		return -1
	}
	return 1
}

// none is the best price of a side without orders: one that nothing reaches.
func (s side) none() int32 {
	if s == buy {
		return 0
	}
	return maxPrice + 1
}

// widest is the limit of a market order.
func (s side) widest() int32 {
	if s == buy {
		return maxPrice
	}
	return 1
}

// maxPrice in ticks bounds the array of levels; the least price is 1.
const maxPrice = 1<<20 - 1

type kind uint8

const (
	add    kind = iota // a limit order
	cancel             // all of an order, or a part of its quantity
	market             // an order that takes any price and never rests
)

// A message is what a book gets. It holds no pointer, so that a chunk of them is
// nothing to the garbage collector.
type message struct {
	id       uint64 // of the order that it brings or cancels
	price    int32  // of an add
	quantity uint32 // of a cancel, 0 means all
	kind     kind
	side     side // of an add or a market order
}

// A book carries out messages.
type book interface {
	apply(m message)
	log() *tape

	// best returns the best price of a side, or its none.
	best(s side) int32

	// standing returns the orders, by price, and those of a price oldest first.
	standing() iter.Seq[standing]

	// check returns an error if the book's own records contradict each other.
	check() error

	// close empties the book, and returns an error if something is left.
	close() error
}

// A standing is an order as it stands in the book.
type standing struct {
	price    int32
	depth    uint64 // quantity of all orders at this price
	id       uint64
	quantity uint32
}

type trade struct {
	maker, taker uint64 // the order that rested, and that which came
	price        int32
	quantity     uint32
}

// A tape is what came of the messages so far.
type tape struct {
	Trades, Volume uint64
	Hash           uint64 // of all trades, in order
	Rested         uint64 // orders that came to stand in the book
	Cancelled      uint64 // orders, whole ones
	Reduced        uint64 // orders of which a part was cancelled
	Rejected       uint64 // cancels of an order that is not there, adds of one that is

	keep bool // for tests
	kept []trade
}

func (t *tape) trade(x trade) {
	t.Trades++
	t.Volume += uint64(x.quantity)
	t.Hash = mix(mix(mix(t.Hash, x.maker), x.taker), uint64(x.price)<<32|uint64(x.quantity))
	if t.keep {
		t.kept = append(t.kept, x)
	}
}

// mix returns a hash of h and x. Its order matters: mix(mix(h, x), y) is another
// one than mix(mix(h, y), x).
func mix(h, x uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return (bits.RotateLeft64(h, 25) ^ x) * odd
}

// hashBook returns a hash of everything that stands in b.
func hashBook(b book) uint64 {
	h := mix(uint64(b.best(buy)), uint64(b.best(sell)))
	for s := range b.standing() {
		h = mix(mix(mix(h, uint64(s.price)<<32|uint64(s.quantity)), s.depth), s.id)
	}
	return h
}

// A ladder has a level L for each price of a range that grows as prices come.
type ladder[L any] struct {
	lowest int32
	levels []L
}

func (l *ladder[L]) covers(price int32) bool {
	return price >= l.lowest && price < l.lowest+int32(len(l.levels))
}

// at returns the level of a price that the ladder covers. It is good until the
// next reach.
func (l *ladder[L]) at(price int32) *L { return &l.levels[price-l.lowest] }

// reach returns the level of price, after growing the ladder if it must: to twice
// as many levels at least, for growing moves all.
func (l *ladder[L]) reach(price int32) *L {
	const room = 256
	if !l.covers(price) {
		low, high := price-room, price+room+1
		if n := int32(len(l.levels)); n > 0 {
			// Prices that went one way go on that way.
			low, high = min(low, l.lowest), max(high, l.lowest+n)
			if price < l.lowest {
				low = min(low, l.lowest-n)
			} else {
				high = max(high, l.lowest+2*n)
			}
		}
		low, high = max(low, 1), min(high, maxPrice+1)
		levels := make([]L, high-low)
		if len(l.levels) > 0 {
			copy(levels[l.lowest-low:], l.levels)
		}
		l.lowest, l.levels = low, levels
	}
	return l.at(price)
}
