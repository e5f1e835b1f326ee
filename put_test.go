package pool

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireMisuse requires f to panic with an error that wraps want and names the pool and its type,
// and to leave the goroutine unpinned.
func requireMisuse(t *testing.T, want error, f func()) {
	t.Helper()
	var got any
	func() {
		defer func() { got = recover() }()
		f()
	}()
	require.NotNil(t, got, "the misuse did not panic")
	err, ok := got.(error)
	require.True(t, ok, "the panic value %v is not an error", got)
	require.ErrorIs(t, err, want)
	assert.Contains(t, err.Error(), `pool "quotes" (pool.quote)`)
	// A pinned goroutine that gives up its P ends the process.
	runtime.Gosched()
	runtime.GC()
}

func TestMisuse(t *testing.T) {
	other := New[quote](WithName("quotes"))
	tests := []struct {
		name string
		want error
		text string
		do   func(p *Pool[quote])
	}{
		{"double Put", ErrDoublePut, "Put before", func(p *Pool[quote]) {
			x := p.Get()
			p.Put(x)
			p.Put(x)
		}},
		{"double Put with others live", ErrDoublePut, "", func(p *Pool[quote]) {
			y, x, z := p.Get(), p.Get(), p.Get()
			p.Put(x)
			defer p.Put(y)
			defer p.Put(z)
			p.Put(x)
		}},
		{"double Put on another goroutine", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			done := make(chan struct{})
			go func() { p.Put(x); close(done) }()
			<-done
			p.Put(x)
		}},
		{"double Put in a batch", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			p.PutBatch([]*quote{x, x})
		}},
		{"double Put long after", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			xs := make([]*quote, 5000)
			p.GetBatch(xs)
			p.Put(x)
			p.PutBatch(xs)
			p.Put(x)
		}},
		{"double Put after the page was released", ErrDoublePut, "released since", func(p *Pool[quote]) {
			x := p.Get()
			p.Put(x)
			p.Trim()
			p.Put(x)
		}},
		{"slot never handed out", ErrDoublePut, "", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.Put((*quote)(unsafe.Add(unsafe.Pointer(x), 400*p.Stats().SlotSize)))
		}},
		{"heap", ErrForeignPut, "no pool has had memory there", func(p *Pool[quote]) {
			x := new(quote)
			runtime.KeepAlive(&x)
			p.Put(x)
		}},
		{"stack", ErrForeignPut, "no pool has had memory there", func(p *Pool[quote]) {
			var x quote
			p.Put(&x)
		}},
		{"global", ErrForeignPut, "no pool has had memory there", func(p *Pool[quote]) { p.Put(&global) }},
		{"nearly nil", ErrForeignPut, "no pool has had memory there", func(p *Pool[quote]) {
			p.core.put(pointerAt(8))
		}},
		{"inside a slot", ErrForeignPut, "8 bytes into a slot", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.Put((*quote)(unsafe.Pointer(&x.price)))
		}},
		{"inside a slot, in a batch", ErrForeignPut, "8 bytes into a slot", func(p *Pool[quote]) {
			x := p.Get()
			defer p.Put(x)
			p.PutBatch([]*quote{nil, (*quote)(unsafe.Pointer(&x.price))})
		}},
		{"another pool of the same type", ErrForeignPut, "belongs to", func(p *Pool[quote]) {
			x := other.Get()
			defer other.Put(x)
			p.Put(x)
		}},
		{"Get after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Get() }},
		{"GetNoZero after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetNoZero() }},
		{"Put after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Put(&global) }},
		{"GetBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetBatch(make([]*quote, 3)) }},
		{"empty GetBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().GetBatch(nil) }},
		{"PutBatch after Close", ErrClosed, "", func(p *Pool[quote]) { closed().PutBatch([]*quote{&global}) }},
		{"Trim after Close", ErrClosed, "", func(p *Pool[quote]) { closed().Trim() }},
		{"slot from before Close", ErrClosed, "", func(*Pool[quote]) {
			p := New[quote](WithName("quotes"))
			x := p.Get()
			p.Put(x)
			if err := p.Close(); err != nil {
				panic(err)
			}
			p.Put(x)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			oneP(t)
			p := newStill[quote](t, WithName("quotes"))
			requireMisuse(t, test.want, func() {
				defer func() {
					if r := recover(); r != nil {
						assert.ErrorContains(t, r.(error), test.text)
						panic(r)
					}
				}()
				test.do(p)
			})
			// The pool still works, and hands out no slot twice.
			require.NoError(t, p.core.checkInvariants())
			xs := make([]*quote, 3000)
			p.GetBatch(xs)
			seen := make(map[*quote]bool)
			for _, x := range xs {
				require.False(t, seen[x])
				seen[x] = true
			}
			p.PutBatch(xs)
			require.Zero(t, p.Stats().Live)
		})
	}
	require.NoError(t, other.Close())
}

func TestPutNil(t *testing.T) {
	p := newStill[quote](t)
	p.Put(nil)
	p.PutBatch([]*quote{nil, nil})
	closed().Put(nil)
}

// Behind the last slot of a page there may be room for a part of a slot. It is not a slot.
func TestPutBehindLastSlot(t *testing.T) {
	p := newStill[[24]byte](t)
	x := p.Get()
	defer p.Put(x)
	defer func() { assert.ErrorIs(t, recover().(error), ErrForeignPut) }()
	p.Put((*[24]byte)(unsafe.Add(unsafe.Pointer(x), p.Stats().SlotsPerPage*p.Stats().SlotSize)))
}

// Two Puts of a slot at the same time are a data race of the caller. They may go unnoticed, but no
// other panic, no hang and no harm outside the pool may follow.
func TestRacingDoublePut(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector reports it, and rightly")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	p := New[quote]()
	var caught atomic.Int64
	for range times(300) {
		xs := make([]*quote, 500)
		p.GetBatch(xs)
		var wg group
		for range 4 {
			wg.Go(func() {
				for _, x := range xs {
					func() {
						defer func() {
							if r := recover(); r != nil {
								if !errors.Is(r.(error), ErrDoublePut) && !errors.Is(r.(error), ErrForeignPut) {
									panic(r)
								}
								caught.Add(1)
							}
						}()
						p.Put(x)
					}()
				}
			})
		}
		wg.Wait()
	}
	assert.Positive(t, caught.Load())
	p.Trim()
	p.Stats()
}

// Of two Puts of a watched slot that race, one frees it and the other panics, before it has done
// anything to the slot.
func TestRacingPutsOfWatchedSlot(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t, WithProfile(1))
	x := p.Get()
	c, addr := &p.core, address(x)
	s, err := c.enter("Put")
	require.NoError(t, err)
	first := s.putAt(pointerAt(addr))
	second := s.putAt(pointerAt(addr))
	c.leave(s)
	require.Equal(t, []putResult{putWatched, putDouble}, []putResult{first, second})
	require.NoError(t, c.finishPut("Put", pointerAt(addr), first))
	require.ErrorIs(t, c.finishPut("Put", pointerAt(addr), second), ErrDoublePut)
	y := p.Get()
	require.ErrorIs(t, c.finishPut("Put", pointerAt(addr), putWatched), ErrDoublePut, "the slot has another user")
	require.ErrorIs(t, c.putBack("Put", pointerAt(addr)), ErrDoublePut, "the slot has another user")
	if !watchAll {
		assert.Len(t, c.watches.samples, 1, "the sample of the other user")
	}
	p.Put(y)
	require.NoError(t, c.checkInvariants())
	require.Zero(t, p.Stats().Live)
}

// After PutBatch, no Ref of its slots resolves, even if another goroutine makes the pool's first
// Refs while PutBatch runs.
func TestPutBatchEndsRefs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var opts []Option
	if !watchAll {
		opts = append(opts, WithProfile(1)) // so that PutBatch leaves its P at each slot
	}
	for round := range times(2000) {
		p := New[[64]byte](opts...)
		xs := simBatch(p, 64)
		var wg group
		wg.Go(func() { p.PutBatch(xs) })
		var refs []Ref[[64]byte]
		for range round % 50 {
			runtime.Gosched()
		}
		for r := range p.All() {
			refs = append(refs, r)
		}
		wg.Wait()
		for _, r := range refs {
			require.Nil(t, p.Deref(r), "round %d: the Ref of a slot that was put resolves", round)
		}
		require.NoError(t, p.Close())
	}
}

// A Put that parks a slot after the last tick arms the clock, so that the slot does not wait there
// for good. The shard owns the slot, and was on its fast path.
func TestPutArmsClock(t *testing.T) {
	eachPut(t, func(t *testing.T, opts ...Option) {
		oneP(t)
		p := newStill[[64]byte](t, opts...)
		held := []*[64]byte{p.Get(), p.Get()}
		for range 2 {
			p.core.tick()
			held = append(held, p.Get()) // answers the tick
			p.core.alarm.left.Store(0)
			p.Put(held[len(held)-1])
			assert.EqualValues(t, armedTicks, p.core.alarm.left.Load())
			held = held[:len(held)-1]
		}
		p.PutBatch(held)
	})
}

// eachPut runs a test with pools whose Puts end in put, and in putClaimed.
func eachPut(t *testing.T, test func(t *testing.T, opts ...Option)) {
	t.Run("put", func(t *testing.T) { test(t) })
	t.Run("putClaimed", func(t *testing.T) { test(t, WithReset(func(*[64]byte) {})) })
}

// A Put answers a tick, whichever way it takes its slot back.
func TestPutAnswersTick(t *testing.T) {
	eachPut(t, func(t *testing.T, opts ...Option) {
		oneP(t)
		p := newStill[[64]byte](t, opts...)
		xs := simBatch(p, 8)
		s := p.core.shards.Load().present()[0]
		for _, x := range xs { // the first is parked, the others are pushed
			s.raise(signalTick)
			p.Put(x)
			assert.Zero(t, s.signals()&signalTick)
		}
		x := p.Get()
		s.raise(signalTick)
		p.Put(x) // to where it came from
		assert.Zero(t, s.signals()&signalTick)
	})
}

// A shard whose lot is full pushes its own slots, and a page that becomes empty in that way is kept in
// order at once.
func TestPutBeyondTheLot(t *testing.T) {
	eachPut(t, func(t *testing.T, opts ...Option) {
		oneP(t)
		p := newStill[[64]byte](t, opts...)
		first := simBatch(p, p.Stats().SlotsPerPage)
		xs := simBatch(p, 3) // of the next page
		for _, x := range first[:lotSize-1] {
			p.Put(x)
		}
		for k, x := range xs {
			p.Put(x)
			p.core.stopped(func(shards []*shard) {
				s := shards[0]
				assert.EqualValues(t, lotSize-1, s.lot.n)
				assert.EqualValues(t, 2-k, s.cur.used)
				assert.Equal(t, k == 2, s.cur.retired)
			})
		}
		p.PutBatch(first[lotSize-1:])
	})
}

// What Put says of an address is true, whatever has become of the memory since.
func TestForeignAddresses(t *testing.T) {
	oneP(t)
	a := newArena(t)
	p, other := newStill[[64]byte](t, WithName("ours")), newStill[[64]byte](t, WithName("theirs"))
	x := p.Get()
	addr := address(x)
	put := func() error {
		return caught(func() error { p.core.put(pointerAt(addr)); return nil })
	}
	region := a.regions[0].mem
	for _, never := range []uintptr{addr + granuleSize, addressOf(region) + uintptr(len(region)) - 64} {
		err := caught(func() error { p.core.put(pointerAt(never)); return nil })
		require.ErrorIs(t, err, ErrForeignPut)
		require.NotErrorIs(t, err, ErrDoublePut)
		assert.ErrorContains(t, err, "no pool has had memory there")
		assert.Empty(t, DescribeFault(never))
	}

	p.Put(x)
	p.Trim()
	err := put()
	require.ErrorIs(t, err, ErrForeignPut)
	require.ErrorIs(t, err, ErrDoublePut)
	assert.ErrorContains(t, err, "a page of this pool or another was there, and has been released since")
	assert.Contains(t, DescribeFault(addr), "a page of a pool was there, and has been released since")

	y := other.Get()
	require.Equal(t, addr, address(y), "the pool has the same memory")
	err = put()
	require.ErrorIs(t, err, ErrForeignPut)
	require.NotErrorIs(t, err, ErrDoublePut)
	assert.ErrorContains(t, err, `the memory belongs to pool "theirs" ([64]uint8) now`)

	other.Put(y)
	other.Trim()
	z := p.Get()
	require.Equal(t, addr, address(z), "the pool has it again")
	p.Put(z)
	err = put()
	require.ErrorIs(t, err, ErrDoublePut)
	require.NotErrorIs(t, err, ErrForeignPut)
	assert.ErrorContains(t, err, "it was Put before, or never came from Get")
}
