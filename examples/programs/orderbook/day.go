package main

import (
	"io"
	"math/rand/v2"
)

// A source supplies the messages of a day, in order.
type source interface {
	// read fills dst with the next messages and returns how many. It returns fewer than len(dst)
	// only together with io.EOF or another error.
	read(dst []message) (int, error)
}

// A day is a source that generates the messages. They depend on the seed only, not on what a book
// does with them.
//
// Two kinds of orders rest in the book. Patient orders lie thousands of ticks deep and stay for a
// long time; there are as many as the plan says. Quotes lie near the price and are soon cancelled;
// there are a few thousand. The day opens with patient orders only. After that, one message in ten
// is aggressive: it trades at once. The others are adds and cancels. All prices are relative to a
// random walk.
type day struct {
	rng     *rand.Rand
	left    int   // messages still to come
	opening int   // how many of these fill the book first
	price   int32 // the present price, in ticks
	lastID  uint64
	patient flock
	quotes  flock
}

// A flock is the orders of one kind that were sent and not cancelled. The senders do not know what
// the book did: an order may be filled already, and then a cancel comes too late for it.
type flock struct {
	sent   []sent
	target int   // how many there should be
	depth  int32 // the orders lie 1 to depth ticks from the price
}

type sent struct {
	id       uint64
	quantity uint32 // without what was cancelled
}

const (
	quoteCount   = 4000
	quoteDepth   = 40
	patientDepth = 10_000

	firstPrice = 50_000
	// The walk stays between minPrice and topPrice, so that all orders around it have valid prices.
	minPrice = patientDepth + 1
	topPrice = maxPrice - patientDepth

	moveEvery  = 2000 // the price moves once in this many messages, on average
	aggressive = 10   // percentage of messages
	nearTouch  = 70   // percentage of adds and cancels that concern quotes

	mostQuantity  = 200 // largest quantity of an order that rests
	mostAggressor = 120 // largest quantity of one that trades at once; it seldom takes more than one order
)

// newDay returns a day with the given number of messages, and with about live orders in the book.
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
	// There are about as many adds as cancels, and enough more adds to replace filled orders.
	adds := 40
	if len(f.sent) < f.target {
		adds = 60
	}
	if d.rng.IntN(100) < adds || len(f.sent) == 0 {
		return d.add(f)
	}
	return d.cancel(f)
}

// move does a step of the random walk, or none. The price does not go beyond minPrice and topPrice.
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

// from returns the price that is distance ticks worse, for side s, than the present one.
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

// cancel takes back a random order of f. For one order in eight it takes back only a part.
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

// aggress returns a market order or, just as often, a limit order that goes a few ticks into the
// other side. No message cancels what is left of a limit order: it lies where it will trade soon.
func (d *day) aggress() message {
	d.lastID++
	s := d.side()
	m := message{kind: market, id: d.lastID, side: s, quantity: d.quantity(mostAggressor)}
	if d.rng.IntN(2) == 0 {
		m.kind, m.price = add, d.from(s, -3)
	}
	return m
}
