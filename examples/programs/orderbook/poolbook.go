package main

import (
	"fmt"
	"iter"

	"github.com/warmpage/pool"
)

// A poolOrder is an order in the book that uses this library. To the garbage collector, its Refs
// and those in the levels and the index are numbers: it neither scans the orders nor follows a
// list.
type poolOrder struct {
	id         uint64
	prev, next pool.Ref[poolOrder] // neighbours at this price; prev is older
	price      int32
	quantity   uint32
}

// A poolLevel is the list of orders at one price, oldest first.
type poolLevel struct {
	head, tail pool.Ref[poolOrder]
	depth      uint64 // sum of the quantities
}

type poolBook struct {
	orders *pool.Pool[poolOrder]
	index  map[uint64]pool.Ref[poolOrder]
	levels ladder[poolLevel]
	bests  [2]int32 // by side
	tape   tape
}

func newPoolBook() *poolBook {
	return &poolBook{
		orders: pool.New[poolOrder](pool.WithName("orders")),
		index:  make(map[uint64]pool.Ref[poolOrder]),
		bests:  [2]int32{buy.none(), sell.none()},
	}
}

func (b *poolBook) apply(m message) {
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
func (b *poolBook) match(m message, limit int32) (left uint32) {
	other := m.side.other()
	left = m.quantity
	for left > 0 && m.side.reaches(limit, b.bests[other]) {
		level := b.levels.at(b.bests[other])
		o := b.orders.Deref(level.head)
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
func (b *poolBook) rest(m message, quantity uint32) {
	level := b.levels.reach(m.price)
	o := b.orders.GetNoZero()
	*o = poolOrder{id: m.id, prev: level.tail, price: m.price, quantity: quantity}
	r := b.orders.Ref(o)
	if last := b.orders.Deref(level.tail); last != nil {
		last.next = r
	} else {
		level.head = r
	}
	level.tail = r
	level.depth += uint64(quantity)
	b.index[m.id] = r
	if !m.side.reaches(b.bests[m.side], m.price) {
		b.bests[m.side] = m.price
	}
	b.tape.Rested++
}

// cancel takes back the quantity in m, or all that is left of the order. What remains keeps its
// place.
func (b *poolBook) cancel(m message) {
	o := b.orders.Deref(b.index[m.id])
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

// remove takes o out of its level and out of the index, and puts it back into the pool.
func (b *poolBook) remove(o *poolOrder, level *poolLevel) {
	if older := b.orders.Deref(o.prev); older != nil {
		older.next = o.next
	} else {
		level.head = o.next
	}
	if younger := b.orders.Deref(o.next); younger != nil {
		younger.prev = o.prev
	} else {
		level.tail = o.prev
	}
	if level.head.IsZero() {
		b.emptied(o.price)
	}
	delete(b.index, o.id)
	b.orders.Put(o)
}

// emptied is called when the level at price has no orders left. If price was the best price of a
// side, emptied finds the next best one.
func (b *poolBook) emptied(price int32) {
	for s, best := range b.bests {
		if best != price {
			continue
		}
		for b.levels.covers(best) && b.levels.at(best).head.IsZero() {
			best += side(s).step()
		}
		if !b.levels.covers(best) {
			best = side(s).none()
		}
		b.bests[s] = best
	}
}

func (b *poolBook) log() *tape { return &b.tape }

func (b *poolBook) best(s side) int32 { return b.bests[s] }

func (b *poolBook) standing() iter.Seq[standing] {
	return func(yield func(standing) bool) {
		for i := range b.levels.levels {
			level := &b.levels.levels[i]
			for o := b.orders.Deref(level.head); o != nil; o = b.orders.Deref(o.next) {
				if !yield(standing{o.price, level.depth, o.id, o.quantity}) {
					return
				}
			}
		}
	}
}

func (b *poolBook) check() error {
	listed := 0
	for range b.standing() {
		listed++
	}
	if out := b.orders.Stats().Live; listed != len(b.index) || out != listed {
		return fmt.Errorf("%d orders in the levels, but %d in the index and %d in use in the pool", listed, len(b.index), out)
	}
	return nil
}

func (b *poolBook) close() error {
	for id := range b.index {
		b.cancel(message{kind: cancel, id: id})
	}
	return b.orders.Close()
}
