//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug

package pool

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var (
	stepTime = flag.Duration("steptime", 5*time.Second, "how long TestSteps tries seeds")
	stepSeed = flag.Uint64("stepseed", 0, "the only seed to try, if not 0")
)

// A walk is one interleaving of a few goroutines that use a pool. Exactly one of
// them runs; current says which.
type walk struct {
	seed    uint64
	rng     *rand.Rand
	turn    []chan struct{} // a goroutine waits for its own
	alive   []int
	current int
	onP     []int // the P that each goroutine is on
	pinned  []bool
	steps   int
	ended   chan struct{}

	c     *core
	owned map[unsafe.Pointer]uint64 // what each slot in use holds
	table []unsafe.Pointer          // slots that any goroutine may take and put
	refs  []uint64                  // of slots in table, then or now

	asked, served uint64 // Gets begun and ended
	batch         int    // slots at a time, at most
	most          []int  // of each goroutine: how many slots were in use at once in its last act
	refusals      int
}

// step lets another goroutine go on, or this one.
func (w *walk) step() {
	if w.steps++; w.steps > 2_000_000 {
		panic(fmt.Sprintf("seed %d: no end", w.seed))
	}
	me := w.current
	next := w.alive[w.rng.IntN(len(w.alive))]
	if w.rng.IntN(3) != 0 || next == me {
		return
	}
	w.current = next
	w.turn[next] <- struct{}{}
	<-w.turn[me]
}

// pin pins the running goroutine to its P, or to that of one that is not pinned: they
// change places.
func (w *walk) pin() int {
	me, other := w.current, w.rng.IntN(len(w.onP))
	if w.rng.IntN(4) == 0 && !w.pinned[other] {
		w.onP[me], w.onP[other] = w.onP[other], w.onP[me]
	}
	w.pinned[me] = true
	return w.onP[me]
}

func (w *walk) unpin() { w.pinned[w.current] = false }

// end ends the running goroutine and lets another go on.
func (w *walk) end() {
	for k, g := range w.alive {
		if g == w.current {
			w.alive = append(w.alive[:k], w.alive[k+1:]...)
			break
		}
	}
	if len(w.alive) == 0 {
		close(w.ended)
		return
	}
	w.current = w.alive[w.rng.IntN(len(w.alive))]
	w.turn[w.current] <- struct{}{}
}

func (w *walk) fail(format string, args ...any) {
	panic(fmt.Sprintf("seed %d, step %d: ", w.seed, w.steps) + fmt.Sprintf(format, args...))
}

func (w *walk) got(x unsafe.Pointer) {
	if _, ok := w.owned[x]; ok {
		w.fail("slot %p was handed out twice", x)
	}
	stamp := w.rng.Uint64()
	w.owned[x] = stamp
	for g := range w.most {
		w.most[g] = max(w.most[g], len(w.owned))
	}
	*(*uint64)(x) = stamp
}

func (w *walk) putting(x unsafe.Pointer) {
	if *(*uint64)(x) != w.owned[x] {
		w.fail("slot %p has been overwritten", x)
	}
	delete(w.owned, x)
}

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
	if w.rng.IntN(4) == 0 {
		x, _, err = w.c.tryGet()
		return x, err
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
		w.putting(x)
		w.c.put(x)
	case op < 75:
		xs := make([]unsafe.Pointer, 1+w.rng.IntN(w.batch))
		w.asked += uint64(len(xs))
		n, _, err := w.c.getBatch(xs)
		w.served += uint64(len(xs))
		if err != nil {
			w.refused(err)
		} else if n != len(xs) {
			w.fail("GetBatch: %d of %d", n, len(xs))
		}
		xs = xs[:n]
		for _, x := range xs {
			w.got(x)
		}
		w.table = append(w.table, xs...)
	case op < 80:
		var xs []unsafe.Pointer
		for range min(w.batch, len(w.table)) {
			x := w.take()
			w.putting(x)
			xs = append(xs, x)
		}
		w.c.putBatch(xs)
	case op < 84 && len(w.table) > 0:
		x := w.take()
		w.refs = append(w.refs, w.c.ref(uintptr(x)))
		w.table = append(w.table, x)
	case op < 92 && len(w.refs) > 0:
		w.putRef(w.refs[w.rng.IntN(len(w.refs))])
	case op < 96:
		w.c.tick()
	case op < 98:
		w.c.trim()
	case op < 99:
		served := w.served
		if gets := w.c.stats().Gets; gets < served || gets > w.asked {
			w.fail("Stats has %d Gets, of %d to %d", gets, served, w.asked)
		}
	default:
		for _, pg := range w.c.allPages() {
			w.c.liveRefs(pg)
		}
	}
}

// refused looks at an error: only at the limit may there be one, and only if at some moment of the
// call no slot was free but for those that it or others were getting or putting.
func (w *walk) refused(err error) {
	capacity := w.c.maxPages * int(w.c.geo.slots)
	if free := capacity - w.most[w.current]; !errors.Is(err, ErrLimit) || free > w.batch*len(w.onP) {
		w.fail("%v, with %d of %d slots free", err, free, capacity)
	}
	w.refusals++
}

// putRef puts by a Ref, unless somebody has taken its slot off the table. Of two
// that do so at once, one does it.
func (w *walk) putRef(id uint64) {
	x := w.c.deref(id)
	for k, y := range w.table {
		if x != nil && x == y {
			w.table = append(w.table[:k], w.table[k+1:]...)
			w.putting(x)
			if !w.c.putRef(id) {
				w.fail("PutRef of a slot in use")
			}
			return
		}
	}
}

// run does all of a walk.
func (w *walk) run(t *testing.T, size uintptr, goroutines, actions int, o options) {
	w.c = new(core)
	initCore(w.c, size, "steps", o)
	require.Equal(t, accessNosplit, access())
	w.c.stopClock()
	for g := range goroutines {
		w.turn = append(w.turn, make(chan struct{}))
		w.alive = append(w.alive, g)
		w.onP = append(w.onP, g)
		w.most = append(w.most, 0)
		w.pinned = append(w.pinned, false)
		go func() {
			<-w.turn[g]
			for range actions {
				w.act()
				w.step()
			}
			w.end()
		}()
	}
	stepper = w
	w.turn[0] <- struct{}{}
	<-w.ended
	w.alive = []int{0} // this one, from here on
	w.current = 0
	require.NoError(t, w.c.checkInvariants(), "seed %d", w.seed)
	require.Equal(t, len(w.owned), w.c.stats().Live, "seed %d", w.seed)
	for _, x := range w.table {
		w.putting(x)
		w.c.put(x)
	}
	w.c.trim()
	st := w.c.stats()
	require.Zero(t, st.Live, "seed %d", w.seed)
	require.Zero(t, st.Pages, "seed %d", w.seed)
	require.NoError(t, w.c.close(), "seed %d", w.seed)
	stepper = nil
}

// TestSteps lets goroutines take turns at every step of what has no lock, in an
// order that a seed determines: what the scheduler of a real machine does once in
// a year, it does in each run. It finds what is wrong whatever the memory model;
// that the order of loads and stores is right is for the stress tests.
func TestSteps(t *testing.T) {
	walks, steps, refusals := 0, 0, 0
	for until := time.Now().Add(*stepTime); time.Now().Before(until); walks++ {
		seed := rand.Uint64() >> 1
		if *stepSeed != 0 {
			seed = *stepSeed
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &walk{seed: seed, rng: rng, ended: make(chan struct{}), owned: make(map[unsafe.Pointer]uint64), batch: 20}
		sizes := []uintptr{64, 2000, 8192, 40000}
		o := options{warmPages: rng.IntN(3)}
		if rng.IntN(3) == 0 {
			o.profileRate, o.startProfile = 100_000, func() {}
		}
		size := sizes[rng.IntN(len(sizes))]
		if size > 64 && rng.IntN(3) == 0 {
			w.batch = 2 // so that few are in others' hands
			o.limit = int64(1+rng.IntN(2)) * int64(geometryOf(size).pageSize)
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
