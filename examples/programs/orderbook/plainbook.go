package main

import (
	"fmt"
	"iter"
)

// A plainOrder is an order in the book as one would write it without this library.
type plainOrder struct {
	id         uint64
	prev, next *plainOrder // neighbours at this price; prev is older
	price      int32
	quantity   uint32
}

// A plainLevel is the list of orders at one price, oldest first.
type plainLevel struct {
	head, tail *plainOrder
	depth      uint64 // sum of the quantities
}

type plainBook struct {
	index  map[uint64]*plainOrder
	levels ladder[plainLevel]
	bests  [2]int32 // by side
	tape   tape
}

func newPlainBook() *plainBook {
	return &plainBook{
		index: make(map[uint64]*plainOrder),
		bests: [2]int32{buy.none(), sell.none()},
	}
}

func (b *plainBook) apply(m message) {
	switch m.kind {
	case add:
		if _, ok := b.index[m.id]; ok {
			b.tape.Rejected++
			return
		}
		if left := b.match(m, m.price); left > 0 {
			b.rest(m, left)
		}
	case market:
		b.match(m, m.side.widest())
	case cancel:
		b.cancel(m)
	}
}

// match trades m with the other side. It takes the best price first, and at each price the oldest
// order first. It returns what is left of the quantity of m.
func (b *plainBook) match(m message, limit int32) (left uint32) {
	other := m.side.other()
	left = m.quantity
	for left > 0 && m.side.reaches(limit, b.bests[other]) {
		level := b.levels.at(b.bests[other])
		o := level.head
		q := min(left, o.quantity)
		left -= q
		o.quantity -= q
		level.depth -= uint64(q)
		b.tape.trade(trade{maker: o.id, taker: m.id, price: o.price, quantity: q})
		if o.quantity == 0 {
			b.remove(o, level)
		}
	}
	return left
}

// rest adds an order at the end of its level.
func (b *plainBook) rest(m message, quantity uint32) {
	level := b.levels.reach(m.price)
	o := &plainOrder{id: m.id, prev: level.tail, price: m.price, quantity: quantity}
	if last := level.tail; last != nil {
		last.next = o
	} else {
		level.head = o
	}
	level.tail = o
	level.depth += uint64(quantity)
	b.index[m.id] = o
	if !m.side.reaches(b.bests[m.side], m.price) {
		b.bests[m.side] = m.price
	}
	b.tape.Rested++
}

// cancel takes back the quantity in m, or all that is left of the order. What remains keeps its
// place.
func (b *plainBook) cancel(m message) {
	o := b.index[m.id]
	if o == nil {
		b.tape.Rejected++
		return
	}
	level := b.levels.at(o.price)
	if m.quantity == 0 || m.quantity >= o.quantity {
		level.depth -= uint64(o.quantity)
		b.remove(o, level)
		b.tape.Cancelled++
		return
	}
	o.quantity -= m.quantity
	level.depth -= uint64(m.quantity)
	b.tape.Reduced++
}

// remove takes o out of its level and out of the index, and leaves it to the garbage collector.
func (b *plainBook) remove(o *plainOrder, level *plainLevel) {
	if older := o.prev; older != nil {
		older.next = o.next
	} else {
		level.head = o.next
	}
	if younger := o.next; younger != nil {
		younger.prev = o.prev
	} else {
		level.tail = o.prev
	}
	if level.head == nil {
		b.emptied(o.price)
	}
	delete(b.index, o.id)
}

// emptied is called when the level at price has no orders left. If price was the best price of a
// side, emptied finds the next best one.
func (b *plainBook) emptied(price int32) {
	for s, best := range b.bests {
		if best != price {
			continue
		}
		for b.levels.covers(best) && b.levels.at(best).head == nil {
			best += side(s).step()
		}
		if !b.levels.covers(best) {
			best = side(s).none()
		}
		b.bests[s] = best
	}
}

func (b *plainBook) log() *tape { return &b.tape }

func (b *plainBook) best(s side) int32 { return b.bests[s] }

func (b *plainBook) standing() iter.Seq[standing] {
	return func(yield func(standing) bool) {
		for i := range b.levels.levels {
			level := &b.levels.levels[i]
			for o := level.head; o != nil; o = o.next {
				if !yield(standing{o.price, level.depth, o.id, o.quantity}) {
					return
				}
			}
		}
	}
}

func (b *plainBook) check() error {
	listed := 0
	for range b.standing() {
		listed++
	}
	if listed != len(b.index) {
		return fmt.Errorf("%d orders in the levels, but %d in the index", listed, len(b.index))
	}
	return nil
}

func (b *plainBook) close() error {
	for id := range b.index {
		b.cancel(message{kind: cancel, id: id})
	}
	return b.check()
}
