package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/warmpage/pool"
)

// A checked is a pool that stamps each slot when it is got, and checks the stamp when it is put. It
// counts what is got and put, and compares that with what the pool says.
type checked[T any] struct {
	*pool.Pool[T]
	s     *soak
	name  string
	words func(*T) []uint64 // what is stamped

	got, put, lost atomic.Uint64
	notGot         atomic.Uint64 // slots of GetBatches that have failed

	shelf chan held[T] // slots that somebody else puts, later
}

// A held slot is in use. The zero held is none.
type held[T any] struct {
	x  *T
	id uint64
}

func newChecked[T any](s *soak, name string, shelf int, words func(*T) []uint64, opts ...pool.Option) *checked[T] {
	opts = append(opts, pool.WithName(name))
	return &checked[T]{Pool: pool.New[T](opts...), s: s, name: name, words: words, shelf: make(chan held[T], shelf)}
}

// newCheckedOnHeap is newChecked with WithGoHeap.
func newCheckedOnHeap[T any](s *soak, name string, shelf int, words func(*T) []uint64, opts ...pool.Option) *checked[T] {
	return newChecked(s, name, shelf, words, append(opts, pool.WithGoHeap())...)
}

func (c *checked[T]) fault(err error) { c.s.fault(fmt.Errorf("%s: %w", c.name, err)) }

// surviveLimit is to be deferred by who calls what panics at a limit.
func (c *checked[T]) surviveLimit() {
	c.s.survived(recover(), false)
}

// take notes that o has got x.
func (c *checked[T]) take(o *owner, x *T) held[T] {
	h := held[T]{x, o.id()}
	c.got.Add(1)
	c.s.gets.Add(1)
	stamp(c.words(x), h.id)
	return h
}

func (c *checked[T]) takeZeroed(o *owner, x *T) held[T] {
	if err := checkZero(c.words(x)); err != nil {
		c.fault(err)
	}
	return c.take(o, x)
}

// get returns no slot if there is none because of a limit.
func (c *checked[T]) get(o *owner) (h held[T]) {
	defer c.surviveLimit()
	return c.takeZeroed(o, c.Get())
}

func (c *checked[T]) getNoZero(o *owner) (h held[T]) {
	defer c.surviveLimit()
	return c.take(o, c.GetNoZero())
}

func (c *checked[T]) getRef(o *owner) (r pool.Ref[T], h held[T]) {
	defer c.surviveLimit()
	r, x := c.GetRef()
	return r, c.takeZeroed(o, x)
}

func (c *checked[T]) tryGet(o *owner) held[T] {
	x, err := c.TryGet()
	switch {
	case err == nil:
		return c.takeZeroed(o, x)
	case errors.Is(err, pool.ErrLimit):
		c.s.refused.Add(1)
	default:
		c.fault(err)
	}
	return held[T]{}
}

func (c *checked[T]) getContext(ctx context.Context, o *owner) held[T] {
	x, err := c.GetContext(ctx)
	switch {
	case err == nil:
		return c.takeZeroed(o, x)
	case errors.Is(err, pool.ErrLimit), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		c.s.refused.Add(1)
	default:
		c.fault(err)
	}
	return held[T]{}
}

// getBatch returns n slots or none.
func (c *checked[T]) getBatch(o *owner, n int) (hs []held[T]) {
	xs := make([]*T, n)
	defer func() {
		if len(hs) > 0 {
			return
		}
		c.notGot.Add(uint64(n))
		for _, x := range xs {
			if x != nil {
				c.fault(errors.New("GetBatch has failed and left a slot"))
			}
		}
	}()
	defer c.surviveLimit()
	c.GetBatch(xs)
	for _, x := range xs {
		hs = append(hs, c.takeZeroed(o, x))
	}
	return hs
}

// give notes that h is about to be put.
func (c *checked[T]) give(h held[T]) {
	if err := checkStamp(c.words(h.x), h.id); err != nil {
		c.fault(err)
	}
	c.put.Add(1)
}

func (c *checked[T]) putHeld(h held[T]) {
	if h.x == nil {
		return
	}
	c.give(h)
	c.Put(h.x)
}

func (c *checked[T]) putBatch(hs []held[T]) {
	xs := make([]*T, len(hs))
	for i, h := range hs {
		c.give(h)
		xs[i] = h.x
	}
	c.PutBatch(xs)
}

// putByRef puts the slot that r refers to, which must be there. Then r refers to nothing.
func (c *checked[T]) putByRef(r pool.Ref[T], id uint64) {
	x := c.Deref(r)
	if x == nil {
		c.fault(fmt.Errorf("the Ref of %s refers to nothing", describe(id)))
		return
	}
	c.give(held[T]{x, id})
	if !c.PutRef(r) {
		c.fault(fmt.Errorf("PutRef of %s has put nothing", describe(id)))
	}
	if c.Deref(r) != nil || c.PutRef(r) {
		c.fault(fmt.Errorf("the Ref of %s refers to a slot after its Put", describe(id)))
	}
}

// forget leaves h to the garbage collector.
func (c *checked[T]) forget(h held[T]) {
	if h.x != nil {
		c.lost.Add(1)
	}
}

// swap leaves h for somebody else to put, and puts what somebody else has left.
func (c *checked[T]) swap(h held[T]) {
	if h.x == nil {
		return
	}
	select {
	case old := <-c.shelf:
		c.putHeld(old)
	default:
	}
	select {
	case c.shelf <- h:
	default:
		c.putHeld(h)
	}
}

func (c *checked[T]) clearShelf() {
	for {
		select {
		case h := <-c.shelf:
			c.putHeld(h)
		default:
			return
		}
	}
}

// closePool closes the pool, when nobody uses it any more. All slots are put, except those that
// were forgotten.
func (c *checked[T]) closePool() {
	c.clearShelf()
	if err := c.Close(); err != nil {
		c.fault(fmt.Errorf("%w\n%s", err, c.Stats()))
		return
	}
	c.checkClosed()
}

// checkClosed compares what the pool has counted with what the program has. The pool is closed.
func (c *checked[T]) checkClosed() {
	st := c.Stats()
	got, put, lost := c.got.Load(), c.put.Load(), c.lost.Load()
	c.s.count(got, put, lost)
	// A GetBatch that fails may have got some slots before. These count as got, and put.
	counted := st.Gets - st.FailedGets
	if counted < got || counted > got+c.notGot.Load() || st.Lost != lost || st.Live != 0 || got != put+lost {
		c.fault(fmt.Errorf("%d slots were got, %d put and %d forgotten; the pool has counted %d Gets, of which %d failed, %d Lost and %d Live",
			got, put, lost, st.Gets, st.FailedGets, st.Lost, st.Live))
	}
}
