package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The Nth call does not do what it should, for N = 1, 2, 3, ..., in a program that makes all calls of a
// pool with a bound, at which others wait. In one test these are calls of WithInit and WithReset
// functions, which panic or end their goroutine. In another one, they are calls of the system, and of
// all kinds. (TestFaultsOnHeap has calls of functions and of the system fail in one program.)

// failing calls are those from first on, count of them.
type failingCalls struct {
	t            *testing.T
	end          func() // how functions do not return; nil: calls of the system fail
	first, count int

	mu       sync.Mutex
	isPaused bool // calls are not counted
	calls    int
	struck   map[string]int // how many failed, by kind
}

// strike counts a call and reports whether it is to fail.
func (f *failingCalls) strike(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isPaused {
		return false
	}
	f.calls++
	fails := f.calls >= f.first && f.calls-f.first < f.count
	if fails {
		f.struck[call]++
	}
	return fails
}

// pause has calls succeed, and not count, or ends that.
func (f *failingCalls) pause(isPaused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isPaused = isPaused
}

// act is in the middle of a function.
func (f *failingCalls) act(call string) {
	if f.end != nil && f.strike(call) {
		f.end()
	}
}

// sofar returns how many calls have failed, by kind.
func (f *failingCalls) sofar() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.struck)
}

// explains reports whether a call has failed since before because of which an operation fails with err.
func (f *failingCalls) explains(err error, before map[string]int) bool {
	kinds := []string{"init", "reset"}
	if errors.Is(err, ErrOutOfMemory) {
		kinds = []string{"reserve", "commit"}
	} else if !errors.Is(err, errFunction) && !errors.Is(err, errExit) {
		return false
	}
	now := f.sofar()
	return slices.ContainsFunc(kinds, func(kind string) bool { return now[kind] > before[kind] })
}

var errExit = errors.New("the goroutine has ended")

// try does something on a goroutine of its own. It returns the error with which that has failed or
// panicked, or errExit.
func try(do func() error) (err error) {
	done := make(chan bool)
	go func() {
		defer close(done)
		err = errExit
		err = caught(do)
	}()
	<-done
	return err
}

// An object is whole if the function that was called last has returned. Objects are large, so that few
// of them fill pages.
type madeObject struct {
	user           uint64 // its last one
	begun, renewed uint64 // both are wholeObject
	_              [7900]byte
}

// A scannedObject is one that the collector looks into: inside finds the other.
type scannedObject struct {
	_ madeObject
	_ *uint64
}

const wholeObject = 0x600d

// A customer uses a pool whose functions may fail.
type customer[T any] struct {
	f             *failingCalls
	p             *Pool[T]
	keeps, resets bool
	bound         int
	live          []*T
	puts, begun   atomic.Int64 // begun are calls of the reset function
	isCrowded     bool         // others use the pool, too
}

func inside[T any](x *T) *madeObject { return (*madeObject)(unsafe.Pointer(x)) }

// newCustomer makes a pool that is bound to two pages, or to as many slots.
func newCustomer[T any](f *failingCalls, keeps, resets, limited bool, opts ...Option) *customer[T] {
	u := &customer[T]{f: f, keeps: keeps, resets: resets, bound: 16}
	if keeps {
		opts = append(opts, WithInit(func(x *T) {
			o := inside(x)
			if *o != (madeObject{}) {
				f.t.Error("an object is made of an old one")
			}
			o.begun = wholeObject
			f.act("init")
			o.renewed = wholeObject
		}))
	}
	if resets {
		opts = append(opts, WithReset(func(x *T) {
			o := inside(x)
			if o.user == 0 {
				f.t.Error("an object is reset that nobody has")
			}
			u.begun.Add(1)
			o.user, o.begun = 0, 0
			f.act("reset")
			o.begun = wholeObject
		}))
	}
	if limited {
		probe := New[T](opts...)
		st := probe.Stats()
		require.NoError(f.t, probe.Close())
		u.bound = 2 * st.SlotsPerPage
		opts = append(opts, WithLimit(int64(2*st.PageBytes)))
	} else {
		opts = append(opts, WithMaxSlots(u.bound))
	}
	u.p = New[T](opts...)
	u.p.core.stopClock()
	return u
}

// accept checks an object that was got, and uses it.
func (u *customer[T]) accept(x *T, zeroed bool) {
	o := inside(x)
	switch {
	case u.keeps && (o.begun != wholeObject || o.renewed != wholeObject):
		u.f.t.Error("an object is handed out half made")
	case u.keeps && u.resets && o.user != 0:
		u.f.t.Error("an object was not reset")
	case !u.keeps && zeroed && *o != (madeObject{}):
		u.f.t.Error("an object is not zero")
	}
	o.user = 1
}

// do does something in which a call may fail. It reports whether it was done.
func (u *customer[T]) do(operation func() error) bool {
	before := u.f.sofar()
	err := try(operation)
	if err != nil && !u.f.explains(err, before) {
		require.ErrorIs(u.f.t, err, ErrLimit)
		require.Len(u.f.t, u.live, u.bound)
	}
	if !maps.Equal(before, u.f.sofar()) {
		u.check()
	}
	return err == nil
}

// check requires that nothing is lost.
func (u *customer[T]) check() {
	if u.isCrowded {
		return
	}
	u.f.pause(true)
	defer u.f.pause(false)
	require.NoError(u.f.t, u.p.core.checkInvariants())
	require.Equal(u.f.t, len(u.live), u.p.Stats().Live)
	require.Equal(u.f.t, len(u.live), u.p.Live())
	require.Zero(u.f.t, uint32(u.p.core.depot.transit.word.Load()))
	for _, x := range u.live {
		require.EqualValues(u.f.t, 1, inside(x).user, "an object in use is changed")
	}
	if u.resets {
		require.Equal(u.f.t, u.puts.Load(), u.begun.Load(), "each Put resets once, and nothing else does")
	}
}

// get gets one object, by the kth kind of Get.
func (u *customer[T]) get(k int) {
	u.do(func() (err error) {
		var x *T
		switch k % 5 {
		case 0:
			x = u.p.Get()
		case 1:
			x = u.p.GetNoZero()
		case 2:
			_, x = u.p.GetRef()
		case 3:
			x, err = u.p.TryGet()
		case 4:
			if len(u.live) == u.bound {
				return u.p.core.depot.errLimit // it would wait
			}
			x, err = u.p.GetContext(context.Background())
		}
		if err == nil {
			u.accept(x, k%5 != 1)
			u.live = append(u.live, x)
		}
		return err
	})
}

// getBatch gets n objects or none.
func (u *customer[T]) getBatch(n int) {
	xs := make([]*T, min(n, u.bound-len(u.live)))
	got := u.do(func() error {
		u.p.GetBatch(xs)
		for _, x := range xs {
			u.accept(x, true)
		}
		u.live = append(u.live, xs...)
		return nil
	})
	if !got {
		require.Equal(u.f.t, make([]*T, len(xs)), xs)
	}
}

// put puts some objects, by the kth kind of Put. It reports whether there was one.
func (u *customer[T]) put(k int) bool {
	n := min([]int{1, 1, 1, 2, 3}[k%5], len(u.live))
	xs := slices.Clone(u.live[len(u.live)-n:])
	if n == 0 {
		return false
	}
	u.do(func() error {
		var refs []Ref[T]
		gone := int(u.begun.Load())
		u.live = u.live[:len(u.live)-n]
		defer func() {
			switch gone = int(u.begun.Load()) - gone; {
			case !u.resets:
				gone = n
			case u.isCrowded: // others reset objects, too
				gone = 1
			}
			u.puts.Add(int64(gone))
			u.live = append(u.live, xs[gone:]...)
			for _, r := range refs[:min(gone, len(refs))] {
				if u.p.Deref(r) != nil {
					u.f.t.Error("the Ref of an object that was put")
				}
			}
		}()
		for _, x := range xs {
			if k%5 == 2 || k%5 == 3 {
				refs = append(refs, u.p.Ref(x))
			}
		}
		switch k % 5 {
		case 0:
			u.p.Put(xs[0])
		case 1:
			return u.p.TryPut(xs[0])
		case 2:
			if !u.p.PutRef(refs[0]) {
				u.f.t.Error("the Ref of an object in use")
			}
		case 3:
			if u.p.PutRefs(refs) != n {
				u.f.t.Error("the Refs of objects in use")
			}
		case 4:
			u.p.PutBatch(xs)
		}
		return nil
	})
	return true
}

// crowd has others wait at the bound until an object is put, by the kth kind of Put, which puts one. All
// of them get it, one after the other, or are told that a function has failed.
func (u *customer[T]) crowd(k int) {
	for n := 0; len(u.live) < u.bound && n < 2*u.bound; n++ {
		u.get(n)
	}
	u.isCrowded = true
	before := u.f.sofar()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ends := make(chan error, 3)
	for n := range cap(ends) {
		go func() {
			ends <- try(func() error {
				x, err := u.p.GetContext(ctx)
				if err == nil {
					u.accept(x, true)
					u.puts.Add(1)
					u.p.Put(x)
				}
				return err
			})
		}()
		for int(u.p.core.waiters.n.Load())+len(ends) <= n {
			runtime.Gosched()
		}
	}
	u.put(k)
	for range cap(ends) {
		if err := <-ends; err != nil && !u.f.explains(err, before) {
			require.NoError(u.f.t, err, "somebody waited in vain")
		}
	}
	u.isCrowded = false
	u.check()
}

// work makes all calls of a pool.
func (u *customer[T]) work() {
	for k := range 5 {
		u.get(k)
	}
	u.getBatch(3)
	for k := range 5 {
		u.put(k)
	}
	u.getBatch(6)
	u.put(4)
	u.getBatch(5)
	for k := range 3 {
		u.crowd(k)
	}
	for k := 0; len(u.live) > 2; k++ {
		u.put(k)
	}
	for range 3 * windowSole {
		u.p.core.tick()
	}
	u.p.Trim()
	u.getBatch(2)
	u.get(2)
	u.p.Clear()
	u.live = nil
	u.getBatch(2)
	u.get(3)
	u.check()
}

// end puts the last object, which closes the pool.
func (u *customer[T]) end() {
	u.getBatch(3)
	u.get(3)
	require.NoError(u.f.t, u.p.CloseWhenEmpty())
	for k := 0; u.put(k); k++ {
	}
	require.ErrorIs(u.f.t, u.p.Close(), ErrClosed)
	u.check()
}

// heal requires the pool to work as if nothing had happened.
func (u *customer[T]) heal() {
	u.f.count = 0
	for k := 0; u.put(k); k++ {
	}
	for k := range u.bound + 1 {
		u.get(k)
	}
	require.Len(u.f.t, u.live, u.bound)
	for k := 0; u.put(k); k++ {
	}
	require.NoError(u.f.t, u.p.Close())
	u.check()
}

// run makes two pools and has all calls made. It reports whether one has failed.
func (f *failingCalls) run(newOne func() worker) (failed bool) {
	f.struck = make(map[string]int)
	if f.end == nil {
		awaitEmptyTable(f.t)
		newProcess()
		f.install()
	}
	u, v := newOne(), newOne()
	u.work()
	v.end()
	failed = len(f.struck) != 0
	u.heal()
	if f.end == nil {
		require.True(f.t, theArena.unsealAll())
		theArena.purge(func(released) bool { return true })
		require.Zero(f.t, ReadMemory().Committed-int64(theArena.total.held)*granuleSize)
	}
	return failed
}

// install has calls of the system fail.
func (f *failingCalls) install() {
	install(smallest(), f.strike, func(string) {})
	failing := *system.Load()
	failing.barrier = func() bool { return !f.strike("barrier") && osBarrier() }
	system.Store(&failing)
}

type worker interface {
	work()
	end()
	heal()
}

// A customerKind makes customers whose pools have, or have not, functions for WithInit and WithReset.
type customerKind func(f *failingCalls, keeps, resets bool) worker

func customers[T any](limited bool, opts ...Option) customerKind {
	return func(f *failingCalls, keeps, resets bool) worker {
		return newCustomer[T](f, keeps, resets, limited, opts...)
	}
}

var customerKinds = []struct {
	name string
	new  customerKind
	sets [][2]bool // whether it has WithInit, and WithReset
}{
	{"off-heap", customers[madeObject](false), [][2]bool{{true, false}, {false, true}, {true, true}}},
	{"limit", customers[madeObject](true), [][2]bool{{true, true}}},
	{"guards", customers[madeObject](false, WithGuardSampling(2), WithProfile(1)), [][2]bool{{true, true}}},
	{"Go heap", customers[madeObject](false, WithGoHeap()), [][2]bool{{true, true}}},
	{"pointers", customers[scannedObject](true, WithGoHeap()), [][2]bool{{true, false}, {false, true}, {true, true}}},
}

// failEachCall has calls fail in turn: some from the first on, then from a later one on, and so on. end
// says how functions fail, or is nil. It returns how many calls have failed, by kind.
func failEachCall(t *testing.T, end func(), some, step int, newOne func(*failingCalls) worker) map[string]int {
	total := make(map[string]int)
	for first, failed := 1, true; failed; first += step {
		f := &failingCalls{t: t, end: end, first: first, count: some}
		failed = f.run(func() worker { return newOne(f) })
		for call, n := range f.struck {
			total[call] += n
		}
		require.False(t, t.Failed(), "%d calls from %d on", some, first)
	}
	return total
}

func TestFailingFunctions(t *testing.T) {
	noQuarantine(t)
	step := 1
	if testing.Short() || watchAll {
		step = 7
	}
	for _, kind := range customerKinds {
		for _, set := range kind.sets {
			t.Run(fmt.Sprintf("%s, init %t, reset %t", kind.name, set[0], set[1]), func(t *testing.T) {
				newOne := func(f *failingCalls) worker { return kind.new(f, set[0], set[1]) }
				fail := func() { panic(errFunction) }
				once, exits := failEachCall(t, fail, 1, step, newOne), failEachCall(t, runtime.Goexit, 1, 2*step, newOne)
				several := failEachCall(t, fail, 4, 4*step, newOne)
				t.Logf("calls that panicked once %v, ended their goroutine %v, panicked four times %v", once, exits, several)
				for k, call := range []string{"init", "reset"} {
					assert.Equal(t, set[k], once[call] > 0, call)
				}
			})
		}
	}
}

// Calls of the system fail while others wait. Nobody waits for a slot that is free, or for memory.
func TestFaultsWhileOthersWait(t *testing.T) {
	t.Parallel()
	needsOSMemory(t)
	if strconv.IntSize == 32 {
		t.Skip("there is no room for so many arenas")
	}
	for _, kind := range customerKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			if !inChild(t) {
				return
			}
			oneP(t)
			t.Cleanup(stopClock())
			step := 1
			if testing.Short() || watchAll {
				step = 5
			}
			reserves := 0
			for _, some := range []int{1, 10, math.MaxInt} {
				for _, functions := range []bool{false, true} {
					struck := failEachCall(t, nil, some, step, func(f *failingCalls) worker {
						return kind.new(f, functions, functions)
					})
					t.Logf("%d from each call on, with functions %t: %v", some, functions, struck)
					reserves += struck["reserve"]
				}
			}
			assert.Positive(t, reserves)
		})
	}
}
