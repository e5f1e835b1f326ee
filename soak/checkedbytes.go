package main

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/warmpage/pool"
)

// A checkedBytes is to a Bytes what checked is to a Pool.
type checkedBytes struct {
	*pool.Bytes
	s       *soak
	name    string
	bounded bool // WithLimit is among the options

	got, put, lost atomic.Uint64

	shelf chan heldBytes
}

type heldBytes struct {
	b  []byte
	id uint64
}

func newCheckedBytes(s *soak, name string, shelf int, opts ...pool.Option) *checkedBytes {
	opts = append(opts, pool.WithName(name))
	return &checkedBytes{Bytes: pool.NewBytes(opts...), s: s, name: name, shelf: make(chan heldBytes, shelf)}
}

// newCheckedBounded is newCheckedBytes with WithLimit.
func newCheckedBounded(s *soak, name string, shelf int, opts ...pool.Option) *checkedBytes {
	c := newCheckedBytes(s, name, shelf, opts...)
	c.bounded = true
	return c
}

func (c *checkedBytes) fault(err error) { c.s.fault(fmt.Errorf("%s: %w", c.name, err)) }

func (c *checkedBytes) surviveLimit() {
	c.s.survived(recover(), c.bounded)
}

// randomSize returns a number of bytes from 1 to most, each doubling as often as any other.
func randomSize(o *owner, most int) int {
	return int(math.Exp2(o.Float64() * math.Log2(float64(most))))
}

func (c *checkedBytes) get(o *owner, n int) (h heldBytes) {
	defer c.surviveLimit()
	b := c.Get(n)
	c.got.Add(1)
	c.s.gets.Add(1)
	h = heldBytes{b, o.id()}
	stampBytes(b, h.id)
	return h
}

// grow makes h longer by n bytes. If there is no memory for that, h stays as it is.
func (c *checkedBytes) grow(h *heldBytes, n int) {
	if h.b == nil {
		return
	}
	defer c.surviveLimit()
	b := c.Grow(h.b, n)
	if err := checkBytes(b, h.id); err != nil {
		c.fault(fmt.Errorf("after Grow: %w", err))
	}
	if &b[0] != &h.b[0] {
		c.got.Add(1)
		c.put.Add(1)
	}
	b = b[:len(b)+n]
	stampBytes(b, h.id)
	h.b = b
}

func (c *checkedBytes) putHeld(h heldBytes, o *owner) {
	if h.b == nil {
		return
	}
	if err := checkBytes(h.b, h.id); err != nil {
		c.fault(err)
	}
	c.put.Add(1)
	part := o.IntN(len(h.b))
	if o.IntN(2) == 0 {
		c.Put(h.b[part:])
	} else if !c.TryPut(h.b[:part]) {
		c.fault(errors.New("TryPut refuses a slice of the Bytes"))
	}
}

func (c *checkedBytes) forget(h heldBytes) {
	if h.b != nil {
		c.lost.Add(1)
	}
}

func (c *checkedBytes) swap(h heldBytes, o *owner) {
	if h.b == nil {
		return
	}
	select {
	case old := <-c.shelf:
		c.putHeld(old, o)
	default:
	}
	select {
	case c.shelf <- h:
	default:
		c.putHeld(h, o)
	}
}

func (c *checkedBytes) closeBytes(o *owner) {
	for len(c.shelf) > 0 {
		c.putHeld(<-c.shelf, o)
	}
	if err := c.Close(); err != nil {
		c.fault(err)
		return
	}
	st := c.Stats()
	got, put, lost := c.got.Load(), c.put.Load(), c.lost.Load()
	c.s.count(got, put, lost)
	if st.Gets-st.FailedGets != got || st.Lost != lost || st.Live != 0 || got != put+lost {
		c.fault(fmt.Errorf("%d slices were got, %d put and %d forgotten; the Bytes has counted %d Gets, of which %d failed, %d Lost and %d Live",
			got, put, lost, st.Gets, st.FailedGets, st.Lost, st.Live))
	}
}
