package main

import (
	"errors"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// renew makes pools, uses them for a while, and ends them, each time in another way.
func renew(s *soak) {
	o := newOwner(s.seed)
	for turn := 0; s.sleep(time.Duration(500+o.IntN(1000)) * time.Millisecond); turn++ {
		switch turn % 6 {
		case 0:
			renewOne(s, o, endByClose, pool.WithGuardSampling(8))
		case 1:
			renewOne(s, o, endByClear, pool.WithProfile(4096))
		case 2:
			renewOne(s, o, endWhenEmpty, pool.WithWarmPages(3))
		case 3:
			renewHeap(s, o)
		case 4:
			renewAbandoned(o)
		case 5:
			renewBytes(s, o)
		}
		s.renewed.Add(1)
	}
}

// useFor is how long a pool is in use.
const useFor = 300 * time.Millisecond

// use has several goroutines get slots and put them, those of each other too, until some remain.
func use[T any](c *checked[T]) {
	var users sync.WaitGroup
	until := time.Now().Add(useFor)
	for range 4 {
		users.Go(func() {
			o := newOwner(c.s.seed)
			for time.Now().Before(until) {
				hs := c.getBatch(o, 100)
				for i, h := range hs {
					if i%2 == 0 {
						c.swap(h)
					} else {
						c.putHeld(h)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	users.Wait()
}

func renewOne(s *soak, o *owner, end func(*checked[block], *owner), opts ...pool.Option) {
	c := newChecked(s, "renewed", 500, func(x *block) []uint64 { return x.words[:] }, opts...)
	use(c)
	end(c, o)
}

// endByClose tries to close the pool while slots are in use, first.
func endByClose(c *checked[block], o *owner) {
	h := c.get(o)
	if h.x != nil {
		if err := want("Close with a slot in use", c.Close(), pool.ErrInUse); err != nil {
			c.fault(err)
		}
	}
	c.putHeld(h)
	c.closePool()
}

// endByClear takes all slots back at once, and uses the pool again.
func endByClear(c *checked[block], _ *owner) {
	r := c.getOneRef()
	for len(c.shelf) > 0 {
		<-c.shelf
		c.put.Add(1)
	}
	c.Clear()
	if c.Deref(r) != nil || c.Live() != 0 {
		c.fault(errors.New("there are slots after Clear"))
	}
	use(c)
	c.closePool()
}

// getOneRef returns the Ref of a slot that Clear takes back.
func (c *checked[T]) getOneRef() (r pool.Ref[T]) {
	defer c.surviveLimit()
	r, _ = c.GetRef()
	c.got.Add(1)
	c.put.Add(1)
	return r
}

// endWhenEmpty lets the last Put close the pool, on some goroutine.
func endWhenEmpty(c *checked[block], _ *owner) {
	if err := c.CloseWhenEmpty(); err != nil {
		c.fault(err)
	}
	var users sync.WaitGroup
	for range 4 {
		users.Go(c.clearShelf)
	}
	users.Wait()
	if err := want("Close after CloseWhenEmpty and the last Put", c.Close(), pool.ErrClosed); err != nil {
		c.fault(err)
	}
	c.checkClosed()
}

// renewHeap closes a pool of the Go heap while slots are out.
func renewHeap(s *soak, o *owner) {
	c := newCheckedOnHeap(s, "renewed", 500, func(x *record) []uint64 { return x.words[:] })
	use(c)
	for range 100 {
		c.forget(c.get(o))
	}
	c.closePool()
}

// renewAbandoned leaves a pool of the Go heap to the garbage collector, with slots out.
func renewAbandoned(o *owner) {
	p := pool.New[record](pool.WithName("abandoned"), pool.WithGoHeap())
	for range 100 + o.IntN(1000) {
		p.Get()
	}
}

func renewBytes(s *soak, o *owner) {
	for _, opts := range [][]pool.Option{nil, {pool.WithOffHeap()}} {
		c := newCheckedBytes(s, "renewed", 100, opts...)
		for range 500 {
			c.swap(c.get(o, randomSize(o, 32<<10)), o)
		}
		c.closeBytes(o)
	}
}
