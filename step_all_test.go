//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug

package pool

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSteps walks at random through long programs. The tests here try all schedules of short ones:
// those in which goroutines are preempted a few times at most. Most faults show with one or two
// preemptions (Musuvathi and Qadeer: "Iterative Context Bounding for Systematic Testing of
// Multithreaded Programs", PLDI 2007). CHESS and loom search in the same way.

var preemptions = flag.Int("preemptions", -1, "the bound of the tests that try all schedules; negative: that of each")

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
			if name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]; f.PC != 0 && !strings.Contains(f.File, "yield_on") {
				fmt.Fprintf(&b, " %s:%d", strings.TrimPrefix(name, "pool."), f.Line)
			}
			if !more {
				break
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
		t.Logf("%d schedules with at most %d preemptions", schedules, most)
	} else {
		t.Logf("%d schedules: all", schedules)
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
