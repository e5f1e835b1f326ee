//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug

package pool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var (
	stepTime = flag.Duration("steptime", 5*time.Second, "how long TestSteps tries seeds")
	stepSeed = flag.Uint64("stepseed", 0, "the only seed to try; 0: random ones")
)

// A crew is a few goroutines. One of them runs at a time: current. They are coroutines, so that a
// change costs little, and what one of them panics with, or a test that it ends, comes out of run.
type crew struct {
	members []member
	alive   []int // which have not ended
	current int
}

// A member of a crew runs from resume to the next pause.
type member struct {
	resume func() (struct{}, bool) // false: it has ended
	pause  func(struct{}) bool
}

// add adds a goroutine that calls f.
func (cr *crew) add(f func()) {
	g := len(cr.members)
	cr.alive = append(cr.alive, g)
	cr.members = append(cr.members, member{})
	cr.members[g].resume, _ = iter.Pull(func(pause func(struct{}) bool) {
		cr.members[g].pause = pause
		f()
	})
}

// run runs the crew to its end. When a goroutine ends, choose says which of the others goes on.
func (cr *crew) run(choose func() int) {
	for len(cr.alive) > 0 {
		if _, more := cr.members[cr.current].resume(); more {
			continue // another one is current
		}
		cr.alive = slices.DeleteFunc(cr.alive, func(g int) bool { return g == cr.current })
		if len(cr.alive) > 0 {
			cr.current = choose()
		}
	}
}

// goOn lets goroutine g go on instead of the running one.
func (cr *crew) goOn(g int) {
	if me := cr.current; g != me {
		cr.current = g
		cr.members[me].pause(struct{}{})
	}
}

// A walk is one interleaving of a few goroutines that use a pool, chosen at random.
type walk struct {
	crew
	seed   uint64
	rng    *rand.Rand
	onP    []int // the P that each goroutine is on
	pinned []bool
	steps  int

	c     *core
	owned map[unsafe.Pointer]uint64   // what each slot in use holds
	table []unsafe.Pointer            // slots that any goroutine may take and put
	refs  []uint64                    // of slots in table, then or now
	of    map[unsafe.Pointer][]uint64 // the Refs of each slot in use that have been asked for
	found []uint64                    // Refs that All has found

	asked, served uint64 // Gets begun and ended
	batch         int    // slots at a time, at most
	most          []int  // of each goroutine: how many slots were in use at once in its last act
	refusals      int
}

// step lets another goroutine go on, or the same one.
func (w *walk) step() {
	if w.steps++; w.steps > 2_000_000 {
		panic(fmt.Sprintf("seed %d: the walk does not end", w.seed))
	}
	if next := w.any(); w.rng.IntN(3) == 0 {
		w.goOn(next)
	}
}

// any returns any of the goroutines.
func (w *walk) any() int { return w.alive[w.rng.IntN(len(w.alive))] }

func (w *walk) wait(func() bool) { w.step() }

// pin pins the running goroutine to its P. At random, the goroutine first swaps Ps with another one
// that is not pinned.
func (w *walk) pin() int {
	me, other := w.current, w.rng.IntN(len(w.onP))
	if w.rng.IntN(4) == 0 && !w.pinned[other] {
		w.onP[me], w.onP[other] = w.onP[other], w.onP[me]
	}
	w.pinned[me] = true
	return w.onP[me]
}

func (w *walk) unpin() { w.pinned[w.current] = false }

func (w *walk) fail(format string, args ...any) {
	panic(fmt.Sprintf("seed %d, step %d: ", w.seed, w.steps) + fmt.Sprintf(format, args...))
}

// got notes that x was handed out.
func (w *walk) got(x unsafe.Pointer) {
	if _, ok := w.owned[x]; ok {
		w.fail("slot %p was handed out twice", x)
	}
	if w.c.construct != nil && *(*uint64)(unsafe.Add(x, 8)) != made {
		w.fail("the object in slot %p is not made", x)
	}
	stamp := w.rng.Uint64()
	w.owned[x] = stamp
	for g := range w.most {
		w.most[g] = max(w.most[g], len(w.owned))
	}
	*(*uint64)(x) = stamp
}

// putting notes that x is about to be put. It returns the Refs of x, for requireStale.
func (w *walk) putting(x unsafe.Pointer) (refs []uint64) {
	if *(*uint64)(x) != w.owned[x] {
		w.fail("slot %p has been overwritten", x)
	}
	delete(w.owned, x)
	refs = w.of[x]
	delete(w.of, x)
	return refs
}

// requireStale fails if a Ref of a slot that was put resolves.
func (w *walk) requireStale(refs []uint64) {
	for _, id := range refs {
		if x := w.c.deref(id); x != nil {
			w.fail("ref(%d.%d) resolves to %p after the Put of its slot", uint32(id), id>>32, x)
		}
	}
}

// made is in the second word of each object that was made.
const made = 0x6d616465

// take takes a slot off the table.
func (w *walk) take() unsafe.Pointer {
	k := w.rng.IntN(len(w.table))
	x := w.table[k]
	w.table[k] = w.table[len(w.table)-1]
	w.table = w.table[:len(w.table)-1]
	return x
}

// get is core.get or core.tryGet.
func (w *walk) get() (x unsafe.Pointer, err error) {
	switch w.rng.IntN(6) {
	case 0:
		x, _, err = w.c.tryGet()
		return x, err
	case 1:
		return w.getContext()
	}
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok || !errors.Is(err, ErrLimit) {
				panic(r)
			}
		}
	}()
	return w.c.get(), nil
}

// A patience is a context that ends when it has been asked a number of times.
type patience struct {
	context.Context
	left int
}

var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (p *patience) Err() error {
	if p.left <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func (p *patience) Done() <-chan struct{} {
	if p.left--; p.left <= 0 {
		return ended
	}
	return nil
}

// getContext is core.getContext with a wait that ends.
func (w *walk) getContext() (unsafe.Pointer, error) {
	x, _, err := w.c.getContext(&patience{context.Background(), 1 + w.rng.IntN(1000)})
	return x, err
}

// act does something with the pool.
func (w *walk) act() {
	w.most[w.current] = len(w.owned)
	switch op := w.rng.IntN(100); {
	case op < 35:
		w.asked++
		x, err := w.get()
		w.served++
		if err != nil {
			w.refused(err)
			return
		}
		w.got(x)
		w.table = append(w.table, x)
	case op < 70 && len(w.table) > 0:
		x := w.take()
		refs := w.putting(x)
		w.c.put(x)
		w.requireStale(refs)
	case op < 75:
		xs := make([]unsafe.Pointer, 1+w.rng.IntN(w.batch))
		w.asked += uint64(len(xs))
		b, err := w.c.getBatch(xs)
		if w.c.construct != nil {
			_ = w.c.makeObjects(xs, 0, b)
		}
		w.served += uint64(len(xs))
		if err != nil {
			w.refused(err)
		} else if b.n != len(xs) {
			w.fail("GetBatch returned %d slots of %d", b.n, len(xs))
		}
		xs = xs[:b.n]
		for _, x := range xs {
			w.got(x)
		}
		w.table = append(w.table, xs...)
	case op < 80:
		var xs []unsafe.Pointer
		var refs []uint64
		for range min(w.batch, len(w.table)) {
			x := w.take()
			refs = append(refs, w.putting(x)...)
			xs = append(xs, x)
		}
		w.c.putBatch(xs)
		w.requireStale(refs)
	case op < 84 && len(w.table) > 0:
		x := w.take()
		id := w.c.ref(x)
		w.refs = append(w.refs, id)
		w.of[x] = append(w.of[x], id)
		w.table = append(w.table, x)
	case op < 92 && len(w.refs) > 0:
		w.putRef(w.refs[w.rng.IntN(len(w.refs))])
	case op < 96:
		noteCollected()
		w.c.tick()
	case op < 98:
		w.c.trim("Trim")
	case op < 99:
		served := w.served
		if gets := w.c.stats().Gets; gets < served || gets > w.asked {
			w.fail("Stats has %d Gets, and there were %d to %d", gets, served, w.asked)
		}
	default:
		for _, pg := range w.c.allPages() {
			w.found = append(w.found, w.c.liveRefs(pg)...)
		}
	}
}

// refused verifies that a Get could fail with err: the pool has a limit, and at some moment of the
// call no slot was free, except those that goroutines were getting or putting.
func (w *walk) refused(err error) {
	capacity := w.c.maxPages * int(w.c.geo.slots)
	if most := w.c.maxSlots; most != 0 && (capacity == 0 || most < capacity) {
		capacity = most
	}
	if free := capacity - w.most[w.current]; !errors.Is(err, ErrLimit) || free > w.batch*len(w.onP) {
		w.fail("%v, with %d of %d slots free", err, free, capacity)
	}
	w.refusals++
}

// putRef puts by a Ref if the Ref's slot is on the table.
func (w *walk) putRef(id uint64) {
	x := w.c.deref(id)
	for k, y := range w.table {
		if x != nil && x == y {
			w.table = append(w.table[:k], w.table[k+1:]...)
			refs := w.putting(x)
			if !w.c.putRef(id) {
				w.fail("PutRef did not put a slot in use")
			}
			w.requireStale(refs)
			return
		}
	}
}

// shape returns the shape of the pages of a pool with these options.
func (w *walk) shape(size uintptr, o options) geometry {
	if o.goHeap {
		return geometryOnHeap(size, 1, false)
	}
	return geometryOf(size)
}

// run does the whole walk.
func (w *walk) run(t *testing.T, size uintptr, goroutines, actions int, o options) {
	w.c = new(core)
	initCore(w.c, size, "steps", o)
	require.Equal(t, accessNosplit, access())
	w.c.stopClock()
	for g := range goroutines {
		w.onP = append(w.onP, g)
		w.most = append(w.most, 0)
		w.pinned = append(w.pinned, false)
		w.add(func() {
			for range actions {
				w.act()
				w.step()
			}
		})
	}
	stepper = w
	w.crew.run(w.any)
	w.alive = []int{0} // from here on, only this goroutine
	w.current = 0
	require.NoError(t, w.c.checkInvariants(), "seed %d", w.seed)
	require.Equal(t, len(w.owned), w.c.stats().Live, "seed %d", w.seed)
	require.Equal(t, len(w.owned), w.c.liveNow(), "seed %d", w.seed)
	for _, x := range w.table {
		w.putting(x)
		w.c.put(x)
	}
	w.requireStale(w.refs)
	w.requireStale(w.found)
	w.c.trim("Trim")
	st := w.c.stats()
	require.Zero(t, st.Live, "seed %d", w.seed)
	require.Zero(t, st.Pages, "seed %d", w.seed)
	require.NoError(t, w.c.close(), "seed %d", w.seed)
	stepper = nil
}

// TestSteps lets goroutines take turns at each step of the algorithms without locks. A seed
// determines the order. What the scheduler of a real machine does once in a year, this does in each
// run. It finds what is wrong in any memory model. The stress tests show whether loads and stores
// are ordered right.
func TestSteps(t *testing.T) {
	walks, steps, refusals := 0, 0, 0
	for until := time.Now().Add(*stepTime); time.Now().Before(until); walks++ {
		seed := rand.Uint64() >> 1
		if *stepSeed != 0 {
			seed = *stepSeed
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &walk{seed: seed, rng: rng, owned: make(map[unsafe.Pointer]uint64), of: make(map[unsafe.Pointer][]uint64), batch: 20}
		sizes := []uintptr{64, 2000, 8192, 40000}
		o := options{warmPages: rng.IntN(3)}
		if rng.IntN(3) == 0 {
			o.profileRate, o.startProfile = 100_000, func() {}
		}
		if rng.IntN(3) == 0 {
			o.guardEvery = 1 + rng.IntN(4)
		}
		size := sizes[rng.IntN(len(sizes))]
		o.goHeap = rng.IntN(3) == 0
		if rng.IntN(3) == 0 {
			o.init.f = func(x unsafe.Pointer) {
				if *(*uint64)(x) != 0 {
					w.fail("the object in slot %p is made again", x)
				}
				yieldPoint()
				*(*uint64)(unsafe.Add(x, 8)) = made
			}
		}
		if rng.IntN(3) == 0 {
			o.reset.f = func(x unsafe.Pointer) {
				if w.owned[x] != 0 {
					w.fail("slot %p is reset while it is in use", x)
				}
				*(*uint64)(x) = 1
				yieldPoint()
			}
		}
		if size > 64 && rng.IntN(3) == 0 {
			w.batch = 2 // so that few slots are on their way at a time
			o.limit = int64(1+rng.IntN(2)) * int64(w.shape(size, o).pageSize)
		}
		if rng.IntN(3) == 0 {
			w.batch = 2
			o.maxSlots = 1 + rng.IntN(40)
		}
		w.run(t, size, 2+rng.IntN(4), 20+rng.IntN(200), o)
		steps += w.steps
		refusals += w.refusals
		if *stepSeed != 0 {
			break
		}
	}
	t.Logf("%d interleavings, %d steps, %d Gets refused", walks, steps, refusals)
	require.Positive(t, steps)
	if *stepSeed == 0 {
		require.Positive(t, refusals)
	}
	runtime.GC()
}

// getSome gets n slots.
func getSome(c *core, n int) []unsafe.Pointer {
	xs := make([]unsafe.Pointer, n)
	for k := range xs {
		xs[k] = c.get()
	}
	return xs
}

// A Ref resolves as soon as it was made, and is stale after the Put of its slot, even if another
// goroutine is about to make the pool's first Ref.
func TestStepsOfFirstRef(t *testing.T) {
	duels(t, options{}, func(c *core) (first, second, verify func()) {
		xs := getSome(c, 2)
		var id uint64
		var resolved unsafe.Pointer
		first = func() { c.ref(xs[0]) }
		second = func() {
			id = c.ref(xs[1])
			resolved = c.deref(id)
			c.put(xs[1])
		}
		return first, second, func() {
			require.Equal(t, xs[1], resolved)
			require.Nil(t, c.deref(id))
			c.put(xs[0])
		}
	})
}

// A page of the Go heap is not kept for a Ref that ends while the page is given up, even if its slot
// is handed out again at once.
func TestStepsOfLastRef(t *testing.T) {
	duels(t, options{goHeap: true}, func(c *core) (first, second, verify func()) {
		xs := getSome(c, int(c.geo.slots)) // the current page is full
		pg := pageOf(uintptr(xs[0]))
		c.ref(xs[0])
		var x, y unsafe.Pointer
		first = func() { x = c.get() } // gives it up
		second = func() {
			c.put(xs[0])
			y = c.get()
		}
		return first, second, func() {
			require.False(t, pg.keepsInVain())
			for _, x := range append(xs[1:], x, y) {
				c.put(x)
			}
		}
	})
}

// The same is true if the Put is fast, and has looked at the page before that was given up.
func TestStepsOfLastRefFast(t *testing.T) {
	explore(t, 64, options{goHeap: true}, 2, func(c *core, x *explorer) func() {
		xs := getSome(c, int(c.geo.slots)) // the current page is full
		pg := pageOf(uintptr(xs[0]))
		c.ref(xs[0])
		x.on(1, func() {
			c.put(xs[1]) // from here on, the lot is armed
			xs[1] = c.get()
		})
		x.start(0, func() { xs = append(xs, c.get()) }) // gives it up
		x.start(1, func() {
			c.put(xs[0])
			xs[0] = c.get()
		})
		return func() {
			require.False(t, pg.keepsInVain())
			putAll(t, c, xs)
		}
	})
}

// A second Put that comes while the slot is handed out again may free it under its new user, but
// does no other harm, even if the slot is sampled.
func TestStepsOfSampledGet(t *testing.T) {
	duels(t, options{profileRate: 1, startProfile: func() {}}, func(c *core) (first, second, verify func()) {
		x := c.get()
		c.put(x)
		var again unsafe.Pointer
		var late error
		first = func() { again = c.get() }
		second = func() { late = caught(func() error { c.put(x); return nil }) }
		return first, second, func() {
			require.Equal(t, x, again)
			if late != nil {
				require.ErrorIs(t, late, ErrDoublePut)
				c.put(again)
				return
			}
			require.ErrorIs(t, caught(func() error { c.put(again); return nil }), ErrDoublePut)
		}
	})
}

// When PutBatch returns, the Refs that All has found of its slots are stale. PutBatch leaves its P
// at each sampled slot.
func TestStepsOfPutBatch(t *testing.T) {
	duels(t, options{profileRate: 1, startProfile: func() {}}, func(c *core) (first, second, verify func()) {
		xs := getSome(c, 3)
		var ids []uint64
		first = func() { c.putBatch(xs) }
		second = func() {
			for _, pg := range c.allPages() {
				ids = append(ids, c.liveRefs(pg)...)
			}
		}
		return first, second, func() {
			for _, id := range ids {
				require.Nil(t, c.deref(id))
			}
		}
	})
}

// giveUp puts slots, and gives up all pages of the P. What is spare fades at once, if now.
func giveUp(c *core, xs []unsafe.Pointer, now bool) {
	for _, x := range xs {
		c.put(x)
	}
	s, err := c.enter("Put")
	if err != nil {
		panic(err)
	}
	s.flush(0)
	s.giveUpAll()
	c.leave(s)
	c.depot.expire(now, 0)
}

// A Put makes a page strong. Meanwhile another P claims the page and gives it up, or the depot looks
// at it.
func TestStepsOfStrengthen(t *testing.T) {
	for name, isSpare := range map[string]bool{"full": false, "spare": true} {
		t.Run(name, func(t *testing.T) {
			duels(t, options{goHeap: true}, func(c *core) (first, second, verify func()) {
				per := int(c.geo.slots)
				xs := getSome(c, 2*per+1) // two full pages, which are weak
				if isSpare {
					stepper.(*explorer).on(1, func() { giveUp(c, xs[1:per/2], true) })
					require.False(t, pageOf(uintptr(xs[0])).isStrong())
				}
				first = func() { c.put(xs[0]) }
				second = func() {
					if !isSpare {
						giveUp(c, xs[1:per/2], true)
					}
					c.depot.expire(true, 0)
				}
				return first, second, func() { putAll(t, c, xs[per/2:]) }
			})
		})
	}
}

// The same at the end of the time for which a Put has made a page strong.
func TestStepsOfWeakenAgain(t *testing.T) {
	for name, isSpare := range map[string]bool{"full": false, "spare": true} {
		t.Run(name, func(t *testing.T) {
			duels(t, options{goHeap: true}, func(c *core) (first, second, verify func()) {
				per := int(c.geo.slots)
				xs := getSome(c, 2*per+1)
				c.put(xs[0])
				require.Equal(t, xs[0], c.get())
				if isSpare {
					stepper.(*explorer).on(1, func() { giveUp(c, xs[:per/2], false) })
				}
				require.True(t, pageOf(uintptr(xs[0])).isStrong())
				first = func() {
					s, err := c.enter("Put")
					require.NoError(t, err)
					s.weakenAgain()
					c.leave(s)
				}
				second = func() {
					if !isSpare {
						giveUp(c, xs[:per/2], true)
					}
					c.depot.expire(true, 0)
				}
				return first, second, func() { putAll(t, c, xs[per/2:]) }
			})
		})
	}
}

// putAll puts the slots in use, all of them, and requires the pool to have nothing left.
func putAll(t *testing.T, c *core, xs []unsafe.Pointer) {
	require.Equal(t, len(xs), c.stats().Live)
	for _, x := range xs {
		c.put(x)
	}
	c.trim("Trim")
	require.Zero(t, c.stats().Live)
	require.Zero(t, c.stats().Pages)
}

// A Ref keeps its slot, whether a page becomes weak before or after it, or meanwhile.
func TestStepsOfKeep(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	duels(t, options{goHeap: true}, func(c *core) (first, second, verify func()) {
		per := int(c.geo.slots)
		xs := getSome(c, per)
		var id uint64
		c.ref(xs[1]) // so that the page has a unit
		c.put(xs[1])
		xs[1] = c.get()
		first = func() { id = c.ref(xs[0]) }
		second = func() {
			for range 3 {
				c.tick() // gives the full page up
			}
		}
		return first, second, func() {
			pg := pageOf(uintptr(xs[0]))
			require.False(t, pg.isStrong())
			require.NotNil(t, atomic.LoadPointer(&pg.firstUnit().first), "a Ref does not keep its slot")
			require.Equal(t, xs[0], c.deref(id))
			c.trim("Trim")
			putAll(t, c, xs)
		}
	})
}

// A Get that waits gets the slot, whatever it has done when another goroutine puts it, and however the
// slot is put.
func TestStepsOfWait(t *testing.T) {
	profile := options{profileRate: 1, startProfile: func() {}}
	reset := options{}
	reset.reset.f = func(unsafe.Pointer) { yieldPoint() }
	for name, o := range map[string]options{"plain": {}, "profile": profile, "reset": reset, "heap": {goHeap: true}, "guarded": {guardEvery: 1}} {
		for call, put := range map[string]func(c *core, x unsafe.Pointer){
			"Put":      func(c *core, x unsafe.Pointer) { c.put(x) },
			"PutBatch": func(c *core, x unsafe.Pointer) { c.putBatch([]unsafe.Pointer{x}) },
			"PutRef":   func(c *core, x unsafe.Pointer) { c.putRef(c.ref(x)) },
		} {
			t.Run(name+" "+call, func(t *testing.T) { stepsOfWait(t, o, put) })
		}
	}
}

func stepsOfWait(t *testing.T, o options, put func(*core, unsafe.Pointer)) {
	o.maxSlots = 8 // as many as it takes to have a guard
	duels(t, o, func(c *core) (first, second, verify func()) {
		xs := getSome(c, o.maxSlots)
		for k := range xs {
			c.put(xs[k])
			xs[k], _, _ = c.tryGet() // which may be guarded
		}
		var x unsafe.Pointer
		first = func() {
			var err error
			x, _, err = c.getContext(context.Background())
			require.NoError(t, err)
		}
		second = func() { put(c, xs[0]) }
		return first, second, func() {
			requireNoWaiters(t, c)
			xs[0] = x
			putAll(t, c, xs)
		}
	})
}

// requireNoWaiters fails if somebody waits, or a shard takes it that somebody does.
func requireNoWaiters(t *testing.T, c *core) {
	require.Zero(t, c.waiters.n.Load())
	for _, s := range c.shards.Load().present() {
		require.Zero(t, s.signals()&signalWaiting)
	}
}

// The last Put closes the pool, whatever it does while CloseWhenEmpty is called.
func TestStepsOfCloseWhenEmpty(t *testing.T) {
	profile := options{profileRate: 1, startProfile: func() {}}
	reset := options{}
	reset.reset.f = func(unsafe.Pointer) { yieldPoint() }
	for name, o := range map[string]options{"plain": {}, "profile": profile, "reset": reset, "heap": {goHeap: true}, "guarded": {guardEvery: 1}} {
		t.Run(name, func(t *testing.T) { stepsOfCloseWhenEmpty(t, o) })
	}
}

func stepsOfCloseWhenEmpty(t *testing.T, o options) {
	duels(t, o, func(c *core) (first, second, verify func()) {
		xs := make([]unsafe.Pointer, 3)
		for k := range xs {
			xs[k], _, _ = c.tryGet()
		}
		var late unsafe.Pointer
		first = func() {
			c.put(xs[0])
			late, _, _ = c.tryGet()
			c.putBatch(xs[1:2])
		}
		second = func() {
			require.NoError(t, c.closeWhenEmpty())
			c.put(xs[2])
		}
		return first, second, func() {
			if late != nil {
				require.False(t, c.depot.closed.Load())
				c.put(late)
			}
			require.True(t, c.depot.closed.Load())
		}
	})
}
