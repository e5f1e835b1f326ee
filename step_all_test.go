//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug

package pool

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestSteps walks at random through long programs. The tests here try all schedules of short ones:
// those in which goroutines are preempted a few times at most. Most faults show with one or two
// preemptions (Musuvathi and Qadeer: "Iterative Context Bounding for Systematic Testing of
// Multithreaded Programs", PLDI 2007). CHESS and loom search in the same way.

var preemptions = flag.Int("preemptions", -1,
	"the bound of the tests that try all schedules; negative: each has its own")

// An explorer is one schedule of a few goroutines. At each step it chooses who goes on. The choices
// of the schedules before lead it into one that was not tried yet: a search, depth first.
type explorer struct {
	crew
	t     *testing.T
	bound int // preemptions, at most
	path  []choice
	depth int // choices made

	standings   []standing
	onP         []int // which goroutine is pinned to each P, or nobody
	idleP       int   // the P of who uses the pool before and after
	isRunning   bool
	steps       int
	preempted   int
	isCut       bool // a schedule with one more preemption was left out
	isRedundant bool // the rest is as in another schedule
	turns       []turn
}

// nobody is no goroutine.
const nobody = -1

// A choice was made among several goroutines.
type choice struct{ taken, of int }

// A standing is how a goroutine stands in the schedule.
type standing struct {
	p       int
	ready   func() bool // whether what it waits for has come; nil: it does not wait, or looks itself
	isSpent bool        // it has waited since others had their turn
	looks   bool        // its last step was to find that it has to wait
	looksIn bool        // it was let in after that, by a preemption
}

// A turn is a place where another goroutine has gone on.
type turn struct {
	step, from, to int
	callers        [8]uintptr
}

// fail ends the test. Any goroutine of the crew.
func (x *explorer) fail(format string, args ...any) {
	x.isRunning = false
	require.FailNow(x.t, fmt.Sprintf(format, args...))
}

// choose returns one of the goroutines, another one in each schedule. What comes first is tried
// first.
func (x *explorer) choose(among []int) int {
	if len(among) == 1 || x.isRedundant {
		return among[0]
	}
	if x.depth == len(x.path) {
		x.path = append(x.path, choice{0, len(among)})
	}
	ch := x.path[x.depth]
	if ch.of != len(among) {
		x.fail("the same choices lead elsewhere: the scenario depends on something else")
	}
	x.depth++
	return among[ch.taken]
}

// next returns the choices that lead into the next schedule, and false if there is none.
func (x *explorer) next() (path []choice, more bool) {
	for k := len(x.path) - 1; k >= 0; k-- {
		if ch := x.path[k]; ch.taken+1 < ch.of {
			return append(x.path[:k], choice{ch.taken + 1, ch.of}), true
		}
	}
	return nil, false
}

// ready returns the goroutines but one that have not ended, and do not wait for something that has
// not come.
func (x *explorer) ready(but int) (all []int) {
	for _, g := range x.alive {
		if f := x.standings[g].ready; g != but && (f == nil || f()) {
			all = append(all, g)
		}
	}
	return all
}

// turnTo lets goroutine g go on.
func (x *explorer) turnTo(g int) {
	if g == x.current {
		return
	}
	at := turn{step: x.steps, from: x.current, to: g}
	runtime.Callers(3, at.callers[:])
	x.turns = append(x.turns, at)
	x.goOn(g)
}

// count counts a step.
func (x *explorer) count() {
	if x.steps++; x.steps > 50_000 {
		x.fail("the schedule does not end")
	}
}

// step may preempt the running goroutine.
func (x *explorer) step() {
	if !x.isRunning {
		return
	}
	x.count()
	me := &x.standings[x.current]
	me.looks, me.looksIn = false, false
	others := x.ready(x.current)
	switch {
	case len(others) == 0:
		return
	case x.preempted == x.bound:
		x.isCut = true
		return
	}
	g := x.choose(append([]int{x.current}, others...))
	if g != x.current {
		x.preempted++
		x.standings[g].looksIn = x.standings[g].looks
	}
	x.turnTo(g)
}

// wait lets another goroutine go on, which is no preemption. To look once more in vain is not worth
// one: that schedule is the same as without it.
func (x *explorer) wait(ready func() bool) {
	x.count()
	if !x.isRunning {
		return
	}
	me := &x.standings[x.current]
	me.ready = ready
	if ready == nil {
		x.isRedundant = x.isRedundant || me.looksIn
		me.isSpent, me.looks, me.looksIn = true, true, false
	}
	x.turnTo(x.choose(x.afterWait()))
	me.ready = nil
}

// afterWait returns who may go on when the running goroutine waits. Those who wait for the others
// let all of them have a turn, so that none waits forever for one that has no turn.
func (x *explorer) afterWait() []int {
	others := x.ready(x.current)
	fresh := slices.DeleteFunc(slices.Clone(others), func(g int) bool { return x.standings[g].isSpent })
	switch me := &x.standings[x.current]; {
	case len(fresh) > 0:
		return fresh
	case len(others) > 0:
		for g := range x.standings {
			x.standings[g].isSpent = g == x.current && me.isSpent
		}
		return others
	case me.ready != nil && !me.ready():
		x.fail("all goroutines wait for locks")
	}
	return []int{x.current}
}

// pin pins the running goroutine to its P. Meanwhile, no other goroutine of the P goes on.
func (x *explorer) pin() int {
	if !x.isRunning {
		return x.idleP
	}
	me := x.current
	p := x.standings[me].p
	isFree := func() bool { return x.onP[p] == nobody || x.onP[p] == me }
	for !isFree() {
		x.wait(isFree)
	}
	x.onP[p] = me
	return p
}

func (x *explorer) unpin() {
	if x.isRunning {
		x.onP[x.standings[x.current].p] = nobody
	}
}

// on calls f on a P, before or after the schedule.
func (x *explorer) on(p int, f func()) {
	x.idleP = p
	defer func() { x.idleP = 0 }()
	f()
}

// start adds a goroutine on a P.
func (x *explorer) start(p int, f func()) {
	x.standings = append(x.standings, standing{p: p})
	for len(x.onP) <= p {
		x.onP = append(x.onP, nobody)
	}
	x.add(func() {
		defer func() {
			if r := recover(); r != nil {
				x.fail("%v\n%s", r, debug.Stack())
			}
		}()
		f()
	})
}

// play runs the goroutines to their end.
func (x *explorer) play() {
	x.isRunning = true
	defer func() { x.isRunning = false }()
	x.current = x.choose(x.ready(nobody))
	x.run(func() int {
		ready := x.ready(nobody)
		if len(ready) == 0 {
			x.fail("all goroutines wait for locks")
		}
		g := x.choose(ready)
		x.turns = append(x.turns, turn{step: x.steps, from: x.current, to: g})
		return g
	})
}

// String tells where in the schedule another goroutine went on.
func (x *explorer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule of %d steps with %d preemptions:", x.steps, x.preempted)
	for _, at := range x.turns {
		fmt.Fprintf(&b, "\n  step %d: %d -> %d", at.step, at.from, at.to)
		for frames := runtime.CallersFrames(at.callers[:]); ; {
			f, more := frames.Next()
			name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
			if f.PC != 0 && !strings.Contains(f.File, "yield_on") {
				fmt.Fprintf(&b, " %s:%d", strings.TrimPrefix(name, "pool."), f.Line)
			}
			if !more {
				break // none at all: the goroutine has ended
			}
		}
	}
	return b.String()
}

// A scenario prepares a pool and the goroutines that use it, by x.start, and returns what verifies
// the pool when they have ended.
type scenario func(c *core, x *explorer) (verify func())

// explore tries all schedules of a scenario, each with a new pool: first those without preemptions,
// then those with at most one, and so on. So a schedule that fails has as few as can be.
func explore(t *testing.T, size uintptr, o options, most int, prepare scenario) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // pools of few slots have pages by that
	defer stopClock()()
	defer func() { stepper = nil }()
	if *preemptions >= 0 {
		most = *preemptions
	}
	schedules, isCut := 0, true
	for bound := 0; bound <= most && isCut; bound++ {
		schedules, isCut = 0, false
		var path []choice
		for more := true; more; {
			x := &explorer{t: t, bound: bound, path: path}
			x.playOne(size, o, prepare)
			schedules += count(!x.isRedundant)
			isCut = isCut || x.isCut
			path, more = x.next()
		}
	}
	if isCut {
		t.Logf("%d schedules; those with more preemptions than %d are left out", schedules, most)
	} else {
		t.Logf("%d schedules, which are all", schedules)
	}
	require.Greater(t, schedules, 1)
}

// playOne plays one schedule.
func (x *explorer) playOne(size uintptr, o options, prepare scenario) {
	defer func() {
		if x.t.Failed() {
			x.t.Log(x)
		}
	}()
	stepper = x
	c := new(core)
	initCore(c, size, "steps", o)
	c.stopClock()
	verify := prepare(c, x)
	x.play()
	require.NoError(x.t, c.checkInvariants())
	verify()
	require.NoError(x.t, c.checkInvariants())
	if !c.depot.closed.Load() {
		require.NoError(x.t, c.close())
	}
}

// duels explores two goroutines, each on a P of its own.
func duels(t *testing.T, o options, prepare func(c *core) (first, second, verify func())) {
	explore(t, 64, o, 2, func(c *core, x *explorer) func() {
		first, second, verify := prepare(c)
		x.start(0, first)
		x.start(1, second)
		return verify
	})
}

// A stage is one schedule of a scenario: a pool, and the slots of it that are out.
type stage struct {
	*core
	x    *explorer
	out  map[unsafe.Pointer]bool
	refs []uint64 // of slots that were put
	more func()   // verifies what is special in the scenario; may be nil
}

// got notes that y was handed out.
func (r *stage) got(y unsafe.Pointer) unsafe.Pointer {
	if r.out[y] {
		r.x.fail("slot %p was handed out twice", y)
	}
	r.out[y] = true
	return y
}

// take is core.get.
func (r *stage) take() unsafe.Pointer { return r.got(r.core.get()) }

// takeSome takes n slots.
func (r *stage) takeSome(n int) []unsafe.Pointer {
	ys := getSome(r.core, n)
	for _, y := range ys {
		r.got(y)
	}
	return ys
}

// try is core.tryGet. It returns nil at the limit.
func (r *stage) try() unsafe.Pointer {
	y, _, err := r.tryGet()
	if err != nil {
		require.ErrorIs(r.x.t, err, ErrLimit)
		return nil
	}
	return r.got(y)
}

// await is core.getContext.
func (r *stage) await() unsafe.Pointer {
	y, _, err := r.getContext(context.Background())
	require.NoError(r.x.t, err)
	return r.got(y)
}

// give puts slots.
func (r *stage) give(ys ...unsafe.Pointer) {
	for _, y := range ys {
		delete(r.out, y)
		r.put(y)
	}
}

// giveHome puts slots, and sends what the P has parked to their pages.
func (r *stage) giveHome(ys ...unsafe.Pointer) {
	r.give(ys...)
	s, err := r.enter("Put")
	require.NoError(r.x.t, err)
	s.flush(0)
	r.leave(s)
}

// start starts a goroutine on a P.
func (r *stage) start(p int, f func()) { r.x.start(p, f) }

// verify verifies that each slot is accounted for, that nobody waits, and that nothing of the pool
// is left when all slots are put.
func (r *stage) verify() {
	t := r.x.t
	requireNoWaiters(t, r.core)
	if !r.depot.closed.Load() {
		require.Equal(t, len(r.out), r.stats().Live)
		require.Equal(t, len(r.out), r.liveNow())
	}
	if r.more != nil {
		r.more()
	}
	for _, id := range r.refs {
		require.Nil(t, r.deref(id), "a Ref resolves after the Put of its slot")
	}
	if r.depot.closed.Load() {
		require.Empty(t, r.out)
		return
	}
	putAll(t, r.core, slices.Collect(maps.Keys(r.out)))
}

// A plot is a scenario of TestStepsInAnyOrder. It prepares the pool and starts goroutines.
type plot struct {
	name    string
	size    uintptr
	o       options
	most    int // preemptions
	prepare func(r *stage)
}

// The plots of this library's own. For each, tools/mutants has a fault that it finds. Those of
// sharded-slab are in step_slab_test.go.
var plots = []plot{
	{"foreign Put, disown", 8192, options{}, 2, func(r *stage) {
		ys := r.takeSome(int(r.geo.slots)) // the current page is full
		r.start(0, func() { r.take() })    // gives it up
		r.start(1, func() { r.giveHome(ys[0]) })
		r.start(2, func() { r.giveHome(ys[1]) })
	}},
	{"claim, release", 8192, options{}, 2, func(r *stage) {
		ys := spareOf(r, 2)
		r.start(0, func() { r.giveHome(ys[0]) })
		r.start(1, func() { r.giveHome(ys[1]) })
		r.start(2, func() { r.depot.expire(true, 0) })
	}},
	{"seize, fast and slow paths", 8192, options{}, 2, func(r *stage) {
		ys := r.takeSome(int(r.geo.slots))
		r.x.on(1, func() { r.giveHome(ys[0]) }) // to the current page of another P
		r.start(0, func() { r.give(r.take()) })
		r.start(0, func() { r.give(ys[1]) })
		r.start(1, func() { r.stopped(func(shards []*shard) { shards[0].giveUpAll() }) })
	}},
	{"flush, adopt", 8192, options{}, 2, func(r *stage) {
		ys := spareOf(r, 2)
		r.start(0, func() { r.giveHome(ys[0]) })
		r.start(1, func() { r.take() })
		r.start(2, func() { r.take(); r.giveHome(ys[1]) })
	}},
	{"Ref, Put, drop", 8192, options{}, 2, func(r *stage) {
		ys := r.takeSome(2)
		r.start(0, func() {
			id := r.ref(ys[0])
			require.Equal(r.x.t, ys[0], r.deref(id))
			r.give(ys[0])
			r.refs = append(r.refs, id)
			require.Nil(r.x.t, r.deref(id))
		})
		r.start(1, func() {
			id := r.ref(ys[1])
			delete(r.out, ys[1])
			require.True(r.x.t, r.putRef(id))
			r.refs = append(r.refs, id)
			r.trim("Trim") // may drop the page
		})
	}},
	{"weak page, Put", 8192, options{goHeap: true}, 2, func(r *stage) {
		ys := r.takeSome(int(r.geo.slots))
		r.start(0, func() { r.take() }) // makes the page weak, and gives it up
		r.start(1, func() { r.giveHome(ys[0]) })
		r.start(2, func() { r.give(ys[1]) })
	}},
	{"waiters, Puts", 64, options{maxSlots: 4}, 1, func(r *stage) {
		ys := r.takeSome(4)
		r.start(0, func() { r.await() })
		r.start(1, func() { r.await() })
		r.start(2, func() { r.give(ys[:2]...) })
	}},
	{"waiter, page on its way", 64, options{maxSlots: 4}, 2, func(r *stage) {
		spareOf(r, 2) // the page has two free slots
		r.start(0, func() { r.try() })
		r.start(1, func() { r.await() })
	}},
	{"waiter, refused memory", 64, options{maxSlots: 4}, 3, func(r *stage) {
		r.trim("Trim")
		SetProcessLimit(1)
		refused := func() {
			_, _, err := r.getContext(context.Background())
			require.ErrorIs(r.x.t, err, ErrLimit)
			require.False(r.x.t, r.isAtBound(err))
		}
		r.start(0, refused)
		r.start(1, refused)
		r.more = func() { SetProcessLimit(0) }
	}},
	{"tick, arm", 64, options{}, 2, func(r *stage) {
		r.alarm.left.Store(1)
		r.start(0, func() { r.alarm.goesOn() })
		r.start(1, r.arm)
		r.more = func() {
			armed.pools = nil
			require.True(r.x.t, r.alarm.armed.Load(), "ticks are left, and none will come")
		}
	}},
	{"search, Put that claims", 8192, options{limit: 128 << 10}, 2, func(r *stage) {
		ys := r.takeSome(2 * int(r.geo.slots)) // two full pages, and no third one may be
		r.give(ys[:3]...)
		// Claims a page for the slots that are parked, and gives it up.
		r.start(0, func() { giveUp(r.core, nil, false) })
		r.start(1, func() { r.take() })
	}},
	{"CloseWhenEmpty, last Puts", 64, options{}, 2, func(r *stage) {
		ys := r.takeSome(2)
		r.start(0, func() { require.NoError(r.x.t, r.closeWhenEmpty()) })
		r.start(1, func() { r.give(ys[0]) })
		r.start(2, func() { r.give(ys[1]) })
		r.more = func() { require.True(r.x.t, r.depot.closed.Load()) }
	}},
	{"new P, waiter", 64, options{maxSlots: 4}, 2, func(r *stage) {
		ys := r.takeSome(4)
		r.start(0, func() { r.await() })
		r.start(5, func() { r.give(ys[0]) })
	}},
	{"new P, first Ref", 64, options{}, 2, func(r *stage) {
		y := r.take()
		r.start(0, func() { r.refs = append(r.refs, r.ref(y)) })
		r.start(5, func() { r.give(r.take()) })
		r.more = func() { r.x.on(5, func() { r.give(y) }) }
	}},
	{"guards, search", 64, options{maxSlots: 8, guardEvery: 1 << 30}, 2, func(r *stage) {
		guardIn(r, 0, 1)
		guardIn(r, 1, 1000)
		y := r.try() // the only one that is guarded
		guardIn(r, 0, 1000)
		for len(r.out) < 8 {
			r.try()
		}
		require.NotNil(r.x.t, pageOf(uintptr(y)).guard)
		require.Nil(r.x.t, r.try())
		r.start(0, func() { r.give(y); r.try() })
		r.start(1, func() { r.try() })
		r.more = func() { require.Len(r.x.t, r.out, 8, "a slot was free, and Gets have failed") }
	}},
	{"samples, Stats", 64, options{profileRate: 1, startProfile: func() {}}, 2, func(r *stage) {
		r.take()
		r.shards.Load().present()[0].renew(3) // the third Get from here on is sampled
		asked := r.stats().Gets
		served := asked
		r.start(0, func() {
			for range 3 {
				asked++
				r.take()
				served++
			}
		})
		r.start(1, func() {
			least := served
			n := r.stats().Gets
			require.GreaterOrEqual(r.x.t, n, least)
			require.LessOrEqual(r.x.t, n, asked)
		})
	}},
	{"samples, Puts of neighbours", 64, options{profileRate: 1, startProfile: func() {}}, 2, func(r *stage) {
		ys := r.takeSome(2)
		r.start(0, func() { r.give(ys[0]) })
		r.start(1, func() { r.give(ys[1]) })
	}},
	{"resets, All", 64, options{reset: slotFunc{f: func(unsafe.Pointer) { yieldPoint() }}}, 2, func(r *stage) {
		ys := r.takeSome(2)
		r.ref(ys[1]) // so that Puts end Refs
		r.start(0, func() { r.give(ys[0]) })
		r.start(1, func() {
			for _, pg := range r.allPages() {
				r.refs = append(r.refs, r.liveRefs(pg)...)
			}
		})
		r.more = func() { r.give(ys[1]) }
	}},
}

// guardIn says which slow Get on a P from here on is guarded.
func guardIn(r *stage, p int, n uint32) {
	r.x.on(p, func() {
		s, err := r.enter("Get")
		require.NoError(r.x.t, err)
		s.guardIn = n
		r.leave(s)
	})
}

// spareOf takes slots of a page that becomes spare. It returns n of them, which are out, and no other
// slot is.
func spareOf(r *stage, n int) []unsafe.Pointer {
	ys := r.takeSome(int(r.geo.slots))
	for _, y := range ys[n:] {
		delete(r.out, y)
	}
	giveUp(r.core, ys[n:], false)
	return ys[:n]
}

// Each slot has one user or none, is found, and ends the wait of one Get, whatever others do between
// two steps of a call.
func TestStepsInAnyOrder(t *testing.T) {
	defer SetProcessLimit(0) // a scenario that fails leaves its own
	for _, sc := range slices.Concat(plots, slabPlots) {
		t.Run(sc.name, func(t *testing.T) {
			explore(t, sc.size, sc.o, sc.most, func(c *core, x *explorer) func() {
				r := &stage{core: c, x: x, out: make(map[unsafe.Pointer]bool)}
				sc.prepare(r)
				return r.verify
			})
		})
	}
}
