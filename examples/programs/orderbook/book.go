package main

import (
	"iter"
	"math/bits"
)

// This file has what the two books share. poolbook.go and plainbook.go are the same algorithm,
// statement for statement, so that a diff shows what changes when orders are held by Ref. Generic
// code would hide that, and cost time.

// A side is a side of the book. Bids and asks share one array of levels: the levels up to the best
// bid hold bids, and those from the best ask up hold asks.
type side uint8

const (
	buy side = iota
	sell
)

func (s side) other() side { return 1 - s }

// reaches reports whether an order of side s with the given limit trades at price. It is false if
// price is none of the other side.
func (s side) reaches(limit, price int32) bool {
	if s == buy {
		return price <= limit
	}
	return price >= limit
}

// step returns the difference, in ticks, between a price and the next worse price for side s.
func (s side) step() int32 {
	if s == buy {
		return -1
	}
	return 1
}

// none is the best price of a side without orders. No limit reaches it.
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

// maxPrice is the highest price, in ticks. It bounds the array of levels. The lowest price is 1.
const maxPrice = 1<<20 - 1

type kind uint8

const (
	add    kind = iota // a limit order
	cancel             // takes back an order, or a part of its quantity
	market             // an order that takes any price and never rests
)

// A message is an instruction to a book. It contains no pointers, so the garbage collector need not
// scan a chunk of messages.
type message struct {
	id       uint64 // of the new order, or of the order to cancel
	price    int32  // in ticks; adds only
	quantity uint32 // in a cancel, 0 means all
	kind     kind
	side     side // adds and market orders only
}

// A book carries out messages.
type book interface {
	apply(m message)
	log() *tape

	// best returns the best price of a side, or s.none() if the side has no orders.
	best(s side) int32

	// standing returns the orders from the lowest price to the highest, and at each price from the
	// oldest to the youngest.
	standing() iter.Seq[standing]

	// check returns an error if the book's own records contradict each other.
	check() error

	// close empties the book. It returns an error if something is left.
	close() error
}

// A standing is an order in the book, with the depth of its level.
type standing struct {
	price    int32
	depth    uint64 // quantity of all orders at this price
	id       uint64
	quantity uint32
}

type trade struct {
	maker, taker uint64 // ids of the order that rested and of the one that arrived
	price        int32
	quantity     uint32
}

// A tape records what the messages so far have caused.
type tape struct {
	Trades, Volume uint64
	Hash           uint64 // of all trades, in order
	Rested         uint64 // orders that entered the book
	Cancelled      uint64 // orders cancelled as a whole
	Reduced        uint64 // cancels of a part of an order
	Rejected       uint64 // cancels of an id that is not in the book, and adds of an id that is

	keep bool // record the trades in kept, for tests
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

// mix returns a hash of h and x. The order matters: mix(mix(h, x), y) differs from mix(mix(h, y),
// x).
func mix(h, x uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return (bits.RotateLeft64(h, 25) ^ x) * odd
}

// hashBook returns a hash of the contents of b.
func hashBook(b book) uint64 {
	h := mix(uint64(b.best(buy)), uint64(b.best(sell)))
	for s := range b.standing() {
		h = mix(mix(mix(h, uint64(s.price)<<32|uint64(s.quantity)), s.depth), s.id)
	}
	return h
}

// A ladder has a level L for each price in a range. The range grows when a price outside it
// arrives.
type ladder[L any] struct {
	lowest int32
	levels []L
}

func (l *ladder[L]) covers(price int32) bool {
	return price >= l.lowest && price < l.lowest+int32(len(l.levels))
}

// at returns the level of a price that the ladder covers. The pointer is valid until the next
// reach.
func (l *ladder[L]) at(price int32) *L { return &l.levels[price-l.lowest] }

// reach returns the level of price. If the ladder does not cover it, reach grows the ladder to at
// least twice as many levels where prices allow, because growing copies all levels.
func (l *ladder[L]) reach(price int32) *L {
	const room = 256
	if !l.covers(price) {
		low, high := price-room, price+room+1
		if n := int32(len(l.levels)); n > 0 {
			// Grow in the direction of price: prices will probably move further that way.
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
