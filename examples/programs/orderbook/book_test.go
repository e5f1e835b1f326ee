package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTestBook returns a book that keeps its trades. The end of the test closes it.
func newTestBook(t *testing.T, v variant) book {
	t.Helper()
	b, err := newBook(v)
	require.NoError(t, err)
	b.log().keep = true
	t.Cleanup(func() { assert.NoError(t, b.close()) })
	return b
}

// parsed returns the messages in lines of a CSV file.
func parsed(t *testing.T, lines ...string) []message {
	t.Helper()
	var ms []message
	for _, line := range lines {
		m, err := parseMessage([]byte(line))
		require.NoError(t, err, line)
		ms = append(ms, m)
	}
	return ms
}

// A scenario is a sequence of messages and what a book must do with them.
type scenario struct {
	name     string
	messages []string // lines of a CSV file
	trades   []trade
	book     []string // each is "price depth: id quantity"
	rejected uint64
}

var scenarios = []scenario{
	{
		name: "nothing trades until prices meet",
		messages: []string{
			"add,1,buy,99,10", "add,2,sell,101,20", "add,3,buy,98,30", "add,4,sell,100,40",
		},
		book: []string{"98 30: 3 30", "99 10: 1 10", "100 40: 4 40", "101 20: 2 20"},
	},
	{
		name: "the best price trades first, then the oldest order",
		messages: []string{
			"add,1,sell,101,10", "add,2,sell,100,10", "add,3,sell,100,10", "add,4,sell,101,10",
			"add,5,buy,101,35",
		},
		trades: []trade{{2, 5, 100, 10}, {3, 5, 100, 10}, {1, 5, 101, 10}, {4, 5, 101, 5}},
		book:   []string{"101 5: 4 5"},
	},
	{
		name: "the same for a seller",
		messages: []string{
			"add,1,buy,99,10", "add,2,buy,100,10", "add,3,buy,100,10", "add,4,buy,99,10",
			"add,5,sell,99,35",
		},
		trades: []trade{{2, 5, 100, 10}, {3, 5, 100, 10}, {1, 5, 99, 10}, {4, 5, 99, 5}},
		book:   []string{"99 5: 4 5"},
	},
	{
		name: "a partly filled order stays first",
		messages: []string{
			"add,1,sell,100,10", "add,2,sell,100,10",
			"add,3,buy,100,4", "add,4,buy,100,4", "add,5,buy,100,4",
		},
		trades: []trade{{1, 3, 100, 4}, {1, 4, 100, 4}, {1, 5, 100, 2}, {2, 5, 100, 2}},
		book:   []string{"100 8: 2 8"},
	},
	{
		name: "the rest of an order that trades goes to its own price",
		messages: []string{
			"add,1,sell,100,10", "add,2,sell,102,10",
			"add,3,buy,101,25", "add,4,sell,101,5",
		},
		trades: []trade{{1, 3, 100, 10}, {3, 4, 101, 5}},
		book:   []string{"101 10: 3 10", "102 10: 2 10"},
	},
	{
		name: "an order trades across levels and the gaps between them",
		messages: []string{
			"add,1,sell,100,10", "add,2,sell,105,10", "add,3,sell,5000,10", "add,4,buy,1,1",
			"add,5,buy,6000,40",
		},
		trades: []trade{{1, 5, 100, 10}, {2, 5, 105, 10}, {3, 5, 5000, 10}},
		book:   []string{"1 1: 4 1", "6000 10: 5 10"},
	},
	{
		name: "a partly cancelled order keeps its place, even if it is partly filled",
		messages: []string{
			"add,1,sell,100,10", "add,2,sell,100,10",
			"market,3,buy,,3", "cancel,1,,,5", "market,4,buy,,3",
		},
		trades: []trade{{1, 3, 100, 3}, {1, 4, 100, 2}, {2, 4, 100, 1}},
		book:   []string{"100 9: 2 9"},
	},
	{
		name: "cancelling all of a partly filled order cancels what is left",
		messages: []string{
			"add,1,buy,100,10", "add,2,buy,100,10",
			"market,3,sell,,4", "cancel,1,,,",
		},
		trades: []trade{{1, 3, 100, 4}},
		book:   []string{"100 10: 2 10"},
	},
	{
		name: "cancelling more than there is cancels all",
		messages: []string{
			"add,1,buy,100,10", "cancel,1,,,11", "add,2,buy,99,10", "cancel,2,,,10",
		},
	},
	{
		name: "the first, middle and last order of a level can be cancelled",
		messages: []string{
			"add,1,buy,100,1", "add,2,buy,100,2", "add,3,buy,100,4", "add,4,buy,100,8", "add,5,buy,100,16",
			"cancel,3,,,", "cancel,1,,,", "cancel,5,,,", "add,6,buy,100,32",
		},
		book: []string{"100 42: 2 2", "100 42: 4 8", "100 42: 6 32"},
	},
	{
		name: "when the best level is empty, the next one is the best",
		messages: []string{
			"add,1,buy,100,1", "add,2,buy,90,1", "add,3,sell,110,1", "add,4,sell,120,1",
			"cancel,1,,,", "cancel,3,,,", "add,5,sell,100,1", "add,6,buy,115,1",
		},
		trades: []trade{{5, 6, 100, 1}},
		book:   []string{"90 1: 2 1", "120 1: 4 1"},
	},
	{
		name: "an order that is not in the book cannot be cancelled",
		messages: []string{
			"cancel,1,,,", "add,2,buy,100,5", "market,3,sell,,5", "cancel,2,,,", "cancel,3,,,1",
		},
		trades:   []trade{{2, 3, 100, 5}},
		rejected: 3,
	},
	{
		name: "an id can be used again when its order is gone",
		messages: []string{
			"add,1,buy,100,5", "add,1,buy,101,5", "cancel,1,,,", "add,1,sell,101,5",
		},
		book:     []string{"101 5: 1 5"},
		rejected: 1,
	},
	{
		name: "a market order takes any price and never rests",
		messages: []string{
			"market,1,buy,,10", "add,2,sell,1048575,5", "add,3,buy,1,5",
			"market,4,buy,,10", "market,5,sell,,10", "market,6,sell,,10",
		},
		trades: []trade{{2, 4, 1048575, 5}, {3, 5, 1, 5}},
	},
}

// told returns the contents of b in the format of scenarios.
func told(b book) []string {
	var lines []string
	for s := range b.standing() {
		lines = append(lines, fmt.Sprintf("%d %d: %d %d", s.price, s.depth, s.id, s.quantity))
	}
	return lines
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		for _, v := range variants {
			t.Run(fmt.Sprintf("%s/%s", v, s.name), func(t *testing.T) {
				b := newTestBook(t, v)
				for _, m := range parsed(t, s.messages...) {
					b.apply(m)
					require.NoError(t, b.check())
				}
				assert.Equal(t, s.trades, b.log().kept)
				assert.Equal(t, s.book, told(b))
				assert.Equal(t, s.rejected, b.log().Rejected)
			})
		}
	}
}

// A naive book is too simple to be wrong: all orders are in one slice.
type naive struct {
	orders []message // oldest first
	trades []trade
}

func (n *naive) index(id uint64) int {
	return slices.IndexFunc(n.orders, func(o message) bool { return o.id == id })
}

// candidates returns the orders of a side, the best price first, and at each price the oldest order
// first.
func (n *naive) candidates(s side) []*message {
	var found []*message
	for i := range n.orders {
		if n.orders[i].side == s {
			found = append(found, &n.orders[i])
		}
	}
	slices.SortStableFunc(found, func(a, b *message) int {
		if s == buy {
			return cmp.Compare(b.price, a.price)
		}
		return cmp.Compare(a.price, b.price)
	})
	return found
}

func (n *naive) apply(m message) {
	i := n.index(m.id)
	switch {
	case m.kind == cancel && i < 0 || m.kind == add && i >= 0:
		return
	case m.kind == cancel:
		if m.quantity == 0 {
			m.quantity = n.orders[i].quantity
		}
		n.orders[i].quantity -= min(m.quantity, n.orders[i].quantity)
	default:
		for _, o := range n.candidates(1 - m.side) {
			q := min(o.quantity, m.quantity)
			if q > 0 && (m.kind == market || m.side == buy && o.price <= m.price || m.side == sell && o.price >= m.price) {
				n.trades = append(n.trades, trade{o.id, m.id, o.price, q})
				o.quantity -= q
				m.quantity -= q
			}
		}
		if m.kind == add {
			n.orders = append(n.orders, m)
		}
	}
	n.orders = slices.DeleteFunc(n.orders, func(o message) bool { return o.quantity == 0 })
}

func (n *naive) told() []string {
	depth := map[int32]int{}
	for _, o := range n.orders {
		depth[o.price] += int(o.quantity)
	}
	byPrice := slices.Clone(n.orders)
	slices.SortStableFunc(byPrice, func(a, b message) int { return cmp.Compare(a.price, b.price) })
	var lines []string
	for _, o := range byPrice {
		lines = append(lines, fmt.Sprintf("%d %d: %d %d", o.price, depth[o.price], o.id, o.quantity))
	}
	return lines
}

func (n *naive) best(s side) int32 {
	if found := n.candidates(s); len(found) > 0 {
		return found[0].price
	}
	return s.none()
}

// randomMessage returns a message with one of a few ids and, mostly, one of a few prices. That
// makes everything happen that can happen.
func randomMessage(rng *rand.Rand) message {
	m := message{
		id: 1 + rng.Uint64N(60), side: side(rng.IntN(2)),
		price: 1000 + rng.Int32N(12), quantity: 1 + rng.Uint32N(30),
	}
	if rng.IntN(20) == 0 {
		m.price = 1 + rng.Int32N(3000)
	}
	switch rng.IntN(10) {
	case 0:
		m.kind, m.price = market, 0
	case 1, 2, 3:
		m.kind, m.price = cancel, 0
		if rng.IntN(2) == 0 {
			m.quantity = 0
		}
	}
	return m
}

func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var third naive
		books := []book{newTestBook(t, thisPool), newTestBook(t, goHeap)}
		for step := range 3000 {
			m := randomMessage(rng)
			third.trades = nil
			third.apply(m)
			for i, b := range books {
				b.log().kept = nil
				b.apply(m)
				at := fmt.Sprintf("seed %d, step %d, %s: %+v", seed, step, variants[i], m)
				require.Equal(t, third.trades, b.log().kept, at)
				require.Equal(t, third.told(), told(b), at)
				require.Equal(t, third.best(buy), b.best(buy), at)
				require.Equal(t, third.best(sell), b.best(sell), at)
				require.NoError(t, b.check(), at)
			}
		}
		assert.Positive(t, books[0].log().Trades)
		assert.Positive(t, books[0].log().Reduced)
		assert.Positive(t, books[0].log().Rejected)
		assert.Equal(t, books[0].log(), books[1].log())
		assert.Equal(t, hashBook(books[0]), hashBook(books[1]))
	}
}

// Different books have different hashes.
func TestHashes(t *testing.T) {
	seen := map[uint64]string{}
	for _, lines := range [][]string{
		{},
		{"add,1,buy,100,10"},
		{"add,1,sell,100,10"},
		{"add,2,buy,100,10"},
		{"add,1,buy,101,10"},
		{"add,1,buy,100,11"},
		{"add,1,buy,100,10", "add,2,buy,100,10"},
		{"add,2,buy,100,10", "add,1,buy,100,10"},
	} {
		b := newTestBook(t, thisPool)
		for _, m := range parsed(t, lines...) {
			b.apply(m)
		}
		h := hashBook(b)
		assert.NotContains(t, seen, h, lines)
		seen[h] = fmt.Sprint(lines)
	}

	var a, b tape
	a.trade(trade{1, 2, 3, 4})
	a.trade(trade{5, 6, 7, 8})
	b.trade(trade{5, 6, 7, 8})
	b.trade(trade{1, 2, 3, 4})
	assert.NotEqual(t, a.Hash, b.Hash)
	assert.Equal(t, a.Volume, b.Volume)
}

func TestUnknownVariant(t *testing.T) {
	_, err := newBook("malloc")
	assert.ErrorContains(t, err, `unknown variant "malloc"`)
}
