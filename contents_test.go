package pool

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Objects are made once, one at a time, and only when they are wanted. What they hold survives.
func TestInit(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			noQuarantine(t)
			made := 0
			p := New[[64]byte](append(opts, WithInit(func(x *[64]byte) {
				require.Zero(t, *x)
				made++
				x[0] = 1
			}))...)
			xs := make([]*[64]byte, 500)
			for i := range xs {
				xs[i] = p.Get()
				require.EqualValues(t, 1, xs[i][0])
				require.Equal(t, i+1, made)
				xs[i][1] = 7
			}
			p.PutBatch(xs)
			for i := range xs {
				before := made // the rest of a page may be used before another page with made objects
				switch i % 3 {
				case 0:
					xs[i] = p.Get()
				case 1:
					xs[i], _ = p.TryGet()
				case 2:
					p.GetBatch(xs[i : i+1])
				}
				require.EqualValues(t, 1, xs[i][0])
				require.Equal(t, xs[i][1] == 0, made > before)
			}
			before := made
			p.PutBatch(xs)
			p.Trim()
			p.GetBatch(xs)
			assert.Equal(t, before+500, made, "their memory was released")
			for _, x := range xs {
				require.EqualValues(t, 0, x[1])
			}
			p.PutBatch(xs)
			require.NoError(t, p.core.checkInvariants())
			require.NoError(t, p.Close())
		})
	}
}

var errBroken = errors.New("broken")

// A function that does not return leaves a free slot, whose object is made anew.
func TestInitPanics(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		for end, f := range map[string]func(){"panic": func() { panic(errBroken) }, "Goexit": runtime.Goexit} {
			t.Run(name+" "+end, func(t *testing.T) {
				noQuarantine(t)
				broken := true
				var made []*[64]byte
				p := New[[64]byte](append(opts, WithInit(func(x *[64]byte) {
					require.Zero(t, *x)
					x[3] = 9
					if broken {
						f()
					}
					made = append(made, x)
				}))...)
				try := func(f func()) {
					done := make(chan any)
					go func() {
						defer close(done)
						defer func() {
							if r := recover(); r != nil {
								done <- r
							}
						}()
						f()
						done <- "no panic"
					}()
					switch got := <-done; end {
					case "panic":
						assert.Equal(t, errBroken, got)
					default:
						assert.Nil(t, got)
					}
				}
				try(func() { p.Get() })
				try(func() { _, _ = p.TryGet() })
				xs := make([]*[64]byte, 200)
				try(func() { p.GetBatch(xs) })
				assert.Equal(t, make([]*[64]byte, 200), xs)
				st := p.Stats()
				assert.Zero(t, st.Live)
				require.NoError(t, p.core.checkInvariants())

				broken = false
				for i := range xs {
					xs[i] = p.Get()
					require.EqualValues(t, 9, xs[i][3])
				}
				assert.Equal(t, xs, made)

				broken = true
				p.PutBatch(xs[:100])
				try(func() { p.GetBatch(make([]*[64]byte, 200)) })
				assert.Equal(t, 100, p.Stats().Live)
				p.PutBatch(xs[100:])
				assert.Zero(t, p.Stats().Live)
				require.NoError(t, p.core.checkInvariants())
				p.Trim()
				assert.Zero(t, p.Stats().Pages)
				require.NoError(t, p.Close())
			})
		}
	}
}

// Put calls the function when the slot is its caller's alone.
func TestReset(t *testing.T) {
	for name, opts := range map[string][]Option{
		"off-heap":           nil,
		"Go heap":            {WithGoHeap()},
		"off-heap with init": {WithInit(func(x *[64]byte) { x[9] = 1 })},
		"Go heap with init":  {WithGoHeap(), WithInit(func(x *[64]byte) { x[9] = 1 })},
	} {
		t.Run(name, func(t *testing.T) {
			noQuarantine(t)
			var p *Pool[[64]byte]
			calls := 0
			do := func(*[64]byte) {}
			p = New[[64]byte](append(opts, WithReset(func(x *[64]byte) {
				require.EqualValues(t, 5, x[0])
				calls++
				x[0] = 6
				do(x)
			}))...)
			get := func() *[64]byte {
				x := p.Get()
				if p.core.construct != nil {
					require.EqualValues(t, 1, x[9])
				} else {
					require.Zero(t, *x)
				}
				x[0] = 5
				return x
			}
			x := get()
			p.Put(x)
			assert.Equal(t, 1, calls)
			requirePanic(t, ErrDoublePut, func() { p.Put(x) })
			requirePanic(t, ErrForeignPut, func() { p.Put(new([64]byte)) })
			assert.Equal(t, 1, calls)

			// A reset that puts the slot, panics, or ends its goroutine.
			do = func(x *[64]byte) { p.Put(x) }
			x = get()
			requirePanic(t, ErrDoublePut, func() { p.Put(x) })
			do = func(x *[64]byte) { panic(errBroken) }
			x = get()
			requirePanic(t, errBroken, func() { p.Put(x) })
			do = func(x *[64]byte) { runtime.Goexit() }
			x = get()
			done := make(chan bool)
			go func() {
				defer close(done)
				p.Put(x)
			}()
			<-done
			assert.Equal(t, 4, calls)
			assert.Zero(t, p.Stats().Live)
			require.NoError(t, p.core.checkInvariants())

			do = func(*[64]byte) {}
			xs := make([]*[64]byte, 300)
			for i := range xs {
				xs[i] = get()
			}
			r := p.Ref(xs[0])
			id := r.id
			require.True(t, p.PutRef(r))
			assert.False(t, p.PutRef(r))
			p.PutBatch(xs[1:])
			assert.Equal(t, 304, calls)
			assert.Zero(t, p.Stats().Live)
			again := make([]*[64]byte, 300)
			p.GetBatch(again)
			for _, y := range again {
				y[0] = 5
				if y == xs[0] {
					assert.Equal(t, id+1<<32, p.Ref(y).id, "a Put raises the generation by one")
				}
			}
			p.PutBatch(again)
			require.NoError(t, p.core.checkInvariants())
			require.NoError(t, p.Close())
		})
	}
}

func TestContentsOptions(t *testing.T) {
	for text, f := range map[string]func(){
		"WithInit was given a function for *int; give one for *uint8":     func() { New[byte](WithInit(func(*int) {})) },
		"WithReset was given a function for *string; give one for *uint8": func() { New[byte](WithReset(func(*string) {})) },
		"WithInit(nil)":  func() { New[byte](WithInit[byte](nil)) },
		"WithReset(nil)": func() { New[byte](WithReset[byte](nil)) },
		"WithGoHeap()":   func() { New[heapNode]() },
		"has size 0":     func() { New[struct{}](WithGoHeap()) },
	} {
		err := caught(func() error { f(); return nil })
		require.ErrorContains(t, err, text)
	}
}

// A slot is not in use, for the profile either, if its reset has failed.
func TestResetPanicsInProfile(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			p := New[[64]byte](append(opts, WithProfile(1), WithReset(func(*[64]byte) { panic(errBroken) }))...)
			x := p.Get()
			require.Contains(t, p.core.watches.samples, address(x))
			requirePanic(t, errBroken, func() { p.Put(x) })
			assert.NotContains(t, p.core.watches.samples, address(x))
			assert.Zero(t, p.Stats().Live)
			require.NoError(t, p.Close())
		})
	}
}

// The Refs of a slot have ended when it is reset.
func TestResetEndsRefs(t *testing.T) {
	var p *Pool[[64]byte]
	var r Ref[[64]byte]
	calls := 0
	p = New[[64]byte](WithReset(func(*[64]byte) {
		calls++
		assert.Nil(t, p.Deref(r))
		assert.False(t, p.PutRef(r))
	}))
	x := p.Get()
	r = p.Ref(x)
	p.Put(x)
	x = p.Get()
	r = p.Ref(x)
	p.PutBatch([]*[64]byte{x})
	x = p.Get()
	r = p.Ref(x)
	require.True(t, p.PutRef(r))
	assert.Equal(t, 3, calls)
	assert.Zero(t, p.Stats().Live)
	require.NoError(t, p.Close())
}

// A GetBatch that fails hands nothing out, and calls no WithReset function, which may panic.
func TestBatchFailsWithoutReset(t *testing.T) {
	noQuarantine(t)
	none := func(t *testing.T, p *Pool[[64]byte], xs []*[64]byte) {
		assert.Equal(t, make([]*[64]byte, len(xs)), xs)
		assert.Zero(t, p.Stats().Live)
		assert.NoError(t, p.core.checkInvariants())
		assert.NoError(t, p.Close())
	}
	reset := WithReset(func(*[64]byte) { panic("a slot was reset that nobody has seen") })
	t.Run("init", func(t *testing.T) {
		made := 0
		p := New[[64]byte](reset, WithInit(func(*[64]byte) {
			if made++; made == 40 {
				panic(errBroken)
			}
		}))
		xs := make([]*[64]byte, 64)
		assert.Equal(t, errBroken, caught(func() error { p.GetBatch(xs); return nil }))
		none(t, p, xs)
	})
	t.Run("limit", func(t *testing.T) {
		p := New[[64]byte](reset, WithLimit(64<<10))
		xs := make([]*[64]byte, 1100)
		assert.ErrorIs(t, caught(func() error { p.GetBatch(xs); return nil }), ErrLimit)
		none(t, p, xs)
	})
}

// All has no slot whose object is being made.
func TestAllWhileObjectsAreMade(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			var p *Pool[[64]byte]
			all := func() (xs []*[64]byte) {
				for _, x := range p.All() {
					xs = append(xs, x)
				}
				return xs
			}
			seen := 0
			p = New[[64]byte](append(opts, WithInit(func(x *[64]byte) {
				xs := all()
				assert.False(t, slices.Contains(xs, x), "a slot that nobody has got yet")
				seen += len(xs)
			}))...)
			for range 5 {
				p.Get()
			}
			assert.Equal(t, 1+2+3+4, seen)
			assert.Len(t, all(), 5)
		})
	}
}

// A function that closes its pool gets an error in the caller of Get. Nothing is changed that may
// belong to another pool by then.
func TestInitClosesItsPool(t *testing.T) {
	if watchAll {
		t.Skip("the quarantine of the pool that is closed is checked")
	}
	for name, get := range map[string]func(*Pool[[64]byte]) error{
		"Get":      func(p *Pool[[64]byte]) error { p.Get(); return nil },
		"TryGet":   func(p *Pool[[64]byte]) error { _, err := p.TryGet(); return err },
		"GetBatch": func(p *Pool[[64]byte]) error { p.GetBatch(make([]*[64]byte, 64)); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var p *Pool[[64]byte]
			q := New[[64]byte](WithGoHeap())
			var ys []*[64]byte
			closing := false
			p = New[[64]byte](WithGoHeap(), WithInit(func(*[64]byte) {
				if !closing {
					return
				}
				closing = false
				r := New[[64]byte](WithGoHeap())
				r.GetBatch(make([]*[64]byte, 200*p.Stats().SlotsPerPage))
				require.NoError(t, p.Close())
				require.NoError(t, r.Close()) // gives more than blocksAtRest blocks back
				ys = make([]*[64]byte, 400*q.Stats().SlotsPerPage)
				q.GetBatch(ys)
			}))
			p.core.stopClock()
			xs := make([]*[64]byte, 5)
			p.GetBatch(xs)
			closing = true
			assert.ErrorIs(t, caught(func() error { return get(p) }), ErrClosed)
			q.PutBatch(ys) // the words of all of them say that they are in use
			assert.NoError(t, q.core.checkInvariants())
			runtime.KeepAlive(xs)
		})
	}
}

// Each Get of a guarded slot makes an object, because the last one is gone.
func TestInitGuarded(t *testing.T) {
	needsOSMemory(t)
	made := 0
	p := New[[64]byte](WithGuardSampling(1), WithInit(func(x *[64]byte) {
		require.Zero(t, *x)
		made++
		x[0] = 1
	}))
	for n := range 200 {
		x, err := p.TryGet()
		require.NoError(t, err)
		require.EqualValues(t, 1, x[0])
		require.Equal(t, n+1, made)
		x[1] = 2
		p.Put(x)
	}
	assert.EqualValues(t, 200, p.Stats().GuardedGets)
	require.NoError(t, p.Close())
}

// GetNoZero returns a made object as well. Nothing is called for an object that goes.
func TestInitCalls(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			made, reset := 0, 0
			p := New[[64]byte](append(opts,
				WithInit(func(x *[64]byte) { made++; x[0] = 1 }),
				WithReset(func(*[64]byte) { reset++ }))...)
			x := p.GetNoZero()
			assert.EqualValues(t, 1, x[0])
			p.Put(x)
			p.Trim()
			require.NoError(t, p.Close())
			assert.Equal(t, 1, made)
			assert.Equal(t, 1, reset)
		})
	}
}

// If the function panics in PutBatch, the slots before and the one at which it did are free.
func TestResetPanicsInPutBatch(t *testing.T) {
	for name, opts := range map[string][]Option{"off-heap": nil, "Go heap": {WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			p := New[[64]byte](append(opts, WithReset(func(x *[64]byte) {
				if x[0] == 1 {
					panic(errBroken)
				}
			}))...)
			xs := make([]*[64]byte, 200)
			p.GetBatch(xs)
			xs[100][0] = 1
			requirePanic(t, errBroken, func() { p.PutBatch(xs) })
			assert.Equal(t, 99, p.Stats().Live)
			requirePanic(t, ErrDoublePut, func() { p.Put(xs[99]) })
			requirePanic(t, ErrDoublePut, func() { p.Put(xs[100]) })
			p.PutBatch(xs[101:])
			assert.Zero(t, p.Stats().Live)
			require.NoError(t, p.Close())
		})
	}
}

// A function may close its pool of the Go heap: the Put says so, and a Get that fails has nothing to
// take back.
func TestFunctionsCloseTheirPool(t *testing.T) {
	if watchAll {
		t.Skip("the quarantine of the pool that is closed is checked")
	}
	t.Run("reset", func(t *testing.T) {
		var p *Pool[heapNode]
		p = New[heapNode](WithGoHeap(), WithReset(func(*heapNode) { require.NoError(t, p.Close()) }))
		p.core.stopClock()
		x := p.Get()
		requirePanic(t, ErrClosed, func() { p.Put(x) })
	})
	t.Run("init", func(t *testing.T) {
		var p *Pool[heapNode]
		p = New[heapNode](WithGoHeap(), WithInit(func(*heapNode) {
			require.NoError(t, p.Close())
			panic(errBroken)
		}))
		p.core.stopClock()
		assert.Equal(t, errBroken, caught(func() error { p.Get(); return nil }))
		requirePanic(t, ErrClosed, func() { p.Get() })
	})
	t.Run("reset with Refs", func(t *testing.T) {
		broken := true
		p := newStill[heapNode](t, WithGoHeap(), WithReset(func(*heapNode) {
			if broken {
				panic(errBroken)
			}
		}))
		x := p.Get()
		r := p.Ref(x)
		assert.Equal(t, errBroken, caught(func() error { p.Put(x); return nil }))
		assert.Nil(t, p.Deref(r))
		broken = false
		y := p.Get()
		assert.True(t, p.PutRef(p.Ref(y)))
		requirePanic(t, ErrForeignPut, func() { p.Put(new(heapNode)) })
	})
}
