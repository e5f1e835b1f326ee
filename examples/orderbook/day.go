package main

import (
	"io"
	"math/rand/v2"
)

// A source has the messages of a day, in order.
type source interface {
	// read fills dst with the next messages and returns how many. Less than all
	// of dst come only together with io.EOF or another error.
	read(dst []message) (int, error)
}

// A day is a source that makes the messages up. They follow from the seed, and
// from nothing that a book does with them.
//
// Two kinds of orders rest in the book. Patient ones lie thousands of ticks deep
// and stay for long; there are as many as the plan says. Quotes lie near the price
// and are soon cancelled; there are a few thousand. The day opens with patient
// orders only. Then one message in ten is aggressive: it trades at once. The others
// add and cancel by turns. The price that all refer to is a random walk.
type day struct {
	rng     *rand.Rand
	left    int // messages
	opening int // of these, the ones that fill the book first
	price   int32
	lastID  uint64
	patient flock
	quotes  flock
}

// A flock is the orders of a kind as far as those who sent them know: some may
// have been filled, and a cancel comes too late for them.
type flock struct {
	sent   []sent
	target int   // how many there are to be
	depth  int32 // they lie 1 to depth ticks from the price
}

type sent struct {
	id       uint64
	quantity uint32 // less what was cancelled
}

const (
	quoteCount   = 4000
	quoteDepth   = 40
	patientDepth = 10_000

	firstPrice = 50_000
	// minPrice and topPrice keep the walk where all that lies around it has a price.
	minPrice = patientDepth + 1
	topPrice = maxPrice - patientDepth

	moveEvery  = 2000 // messages, on average
	aggressive = 10   // of a hundred messages
	nearTouch  = 70   // of a hundred adds and cancels, those that are quotes

	mostQuantity  = 200 // of an order that rests
	mostAggressor = 120 // of one that trades: it seldom takes more than one order
)

// newDay makes a day in which there are about live orders in the book.
func newDay(seed uint64, messages, live int) *day {
	return &day{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		left:    messages,
		opening: live,
		price:   firstPrice,
		patient: flock{sent: make([]sent, 0, live+live/8), target: live, depth: patientDepth},
		quotes:  flock{sent: make([]sent, 0, 2*quoteCount), target: min(quoteCount, live), depth: quoteDepth},
	}
}

func (d *day) read(dst []message) (int, error) {
	n := min(len(dst), d.left)
	for i := range dst[:n] {
		dst[i] = d.next()
	}
	d.left -= n
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

func (d *day) next() message {
	if d.opening > 0 {
		d.opening--
		return d.add(&d.patient)
	}
	d.move()
	if d.rng.IntN(100) < aggressive {
		return d.aggress()
	}
	f := &d.patient
	if d.rng.IntN(100) < nearTouch {
		f = &d.quotes
	}
	// As many adds as cancels, but for what it takes to replace those filled.
	adds := 40
	if len(f.sent) < f.target {
		adds = 60
	}
	if d.rng.IntN(100) < adds || len(f.sent) == 0 {
		return d.add(f)
	}
	return d.cancel(f)
}

// move is the random walk. It turns back at its ends.
func (d *day) move() {
	if d.rng.IntN(moveEvery) > 0 {
		return
	}
	if d.rng.IntN(2) == 0 {
		d.price = max(d.price-1, minPrice)
	} else {
		d.price = min(d.price+1, topPrice)
	}
}

func (d *day) side() side { return side(d.rng.IntN(2)) }

// from returns the price that is distance ticks worse than the present one.
func (d *day) from(s side, distance int32) int32 { return d.price + s.step()*distance }

func (d *day) quantity(most int) uint32 { return uint32(1 + d.rng.IntN(most)) }

func (d *day) add(f *flock) message {
	d.lastID++
	s := d.side()
	m := message{
		kind: add, id: d.lastID, side: s,
		price:    d.from(s, 1+d.rng.Int32N(f.depth)),
		quantity: d.quantity(mostQuantity),
	}
	f.sent = append(f.sent, sent{m.id, m.quantity})
	return m
}

// cancel takes back an order that is picked at random, or, of one in eight, a part.
func (d *day) cancel(f *flock) message {
	i := d.rng.IntN(len(f.sent))
	x := &f.sent[i]
	m := message{kind: cancel, id: x.id}
	if x.quantity > 1 && d.rng.IntN(8) == 0 {
		m.quantity = d.quantity(int(x.quantity) - 1)
		x.quantity -= m.quantity
		return m
	}
	last := len(f.sent) - 1
	*x = f.sent[last]
	f.sent = f.sent[:last]
	return m
}

// aggress is a market order or, as often, a limit order that goes a few ticks into
// the other side. Nobody cancels what is left of that: it lies where it trades soon.
func (d *day) aggress() message {
	d.lastID++
	s := d.side()
	m := message{kind: market, id: d.lastID, side: s, quantity: d.quantity(mostAggressor)}
	if d.rng.IntN(2) == 0 {
		m.kind, m.price = add, d.from(s, -3)
	}
	return m
}
