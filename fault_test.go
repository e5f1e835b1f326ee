package pool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The Nth system call fails, for N = 1, 2, 3, ..., in a program that does everything a pool can do.
// SQLite is tested in this way (sqlite.org/testing.html, "Anomaly Testing").

// faults are system calls that fail: count of them, from the first on.
type faults struct {
	t            *testing.T
	first, count int
	calls        int
	struck       map[string]int // how many failed, by kind

	tenants []checker
	errors  map[error]int // how many operations reported one
}

// A checker is a tenant of any type.
type checker interface {
	check()
	end()
	finish() (purged int64)
}

func newFaults(t *testing.T) *faults {
	return &faults{t: t, struck: make(map[string]int), errors: make(map[error]int)}
}

var errFault = errors.New("injected fault")

// strike counts a call and reports whether it is to fail.
func (f *faults) strike(string) bool {
	f.calls++
	return f.calls >= f.first && f.calls-f.first < f.count
}

func (f *faults) failed(call string) { f.struck[call]++ }

// act is the end of a function of the program: it panics if its call is to fail.
func (f *faults) act(call string) {
	if f.strike(call) {
		f.failed(call)
		panic(fmt.Errorf("%w: %s", errFunction, call))
	}
}

var errFunction = errors.New("injected panic")

// needy returns how many calls for memory failed.
func (f *faults) needy() int { return f.struck["reserve"] + f.struck["commit"] }

// newProcess makes everything as it is before the first pool. Nobody may use the pools that there
// are.
func newProcess() {
	theArena = new(arena)
	tableRoot, leaves = [rootEntries]uintptr{}, nil
}

// smallest returns the size of the smallest regions that the arena asks for.
func smallest() uintptr {
	return smallestRegion + tableStep
}

// install makes those system calls fail for which strike returns true. It tells failed of them, and
// of the calls that the system itself refuses. Regions larger than a size are refused: the smaller
// regions are, the more of them the arena asks for.
func install(largest uintptr, strike func(call string) bool, failed func(call string)) {
	outcome := func(call string, f func() error) error {
		err := errFault
		if !strike(call) {
			err = f()
		}
		if err != nil {
			failed(call)
		}
		return err
	}
	system.Store(&calls{
		reserve: func(size uintptr) (mem []byte, err error) {
			if size > largest {
				return nil, errFault
			}
			err = outcome("reserve", func() (err error) { mem, err = osReserve(size); return err })
			return mem, err
		},
		commit: func(mem []byte) error {
			return outcome("commit", func() error { return osCommit(mem) })
		},
		purge: func(mem []byte) (gone, zeroed, lost bool) {
			_ = outcome("purge", func() error {
				if gone, zeroed, lost = osPurge(mem); !gone {
					return errFault
				}
				return nil
			})
			return gone, zeroed, lost
		},
		protect: func(mem []byte, accessible bool) error {
			return outcome("protect", func() error { return osProtect(mem, accessible) })
		},
		barrier: osBarrier,
	})
}

// do runs an operation, which may return an error or panic with one if it lacks memory. That may
// happen if a system call failed in the operation, or if there is a limit. Everything is in order
// afterwards, whichever call failed.
func (f *faults) do(limited bool, operation func() error) error {
	needy, calls := f.needy(), f.calls
	functions := f.struck["init"] + f.struck["reset"]
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = r.(error)
			}
		}()
		return operation()
	}()
	switch {
	case errors.Is(err, ErrOutOfMemory):
		f.errors[ErrOutOfMemory]++
		require.NotErrorIs(f.t, err, ErrLimit)
		require.Greater(f.t, f.needy(), needy, "no call failed, but: %v", err)
	case errors.Is(err, errFunction):
		f.errors[errFunction]++
		require.Greater(f.t, f.struck["init"]+f.struck["reset"], functions)
	case errors.Is(err, ErrLimit):
		f.errors[ErrLimit]++
		require.True(f.t, limited, "%v", err)
	default:
		require.NoError(f.t, err)
	}
	if f.calls > calls {
		f.check()
	}
	return err
}

func (f *faults) check() {
	for _, u := range f.tenants {
		u.check()
	}
}

// passTime makes the pools and the arena do what they do when time passes.
func (f *faults) passTime(cores ...*core) {
	_ = f.do(false, func() error {
		for _, c := range cores {
			for range 3 * windowSole {
				c.tick()
			}
		}
		for range purgeDelay + purgeEvery {
			theArena.tick()
		}
		return nil
	})
}

// A tenant is a pool, and the slots that it should have in use.
type tenant[T any] struct {
	f       *faults
	p       *Pool[T]
	live    []holding[T]
	refs    bool // every slot gets a Ref
	limited bool // WithLimit
	other   *T   // not a slot
}

type holding[T any] struct {
	x   *T
	id  uint64 // the slot begins and ends with it
	ref Ref[T]
}

var (
	lastID  uint64
	noBytes [MaxSlotSize]byte
)

func open[T any](f *faults, opts ...Option) *tenant[T] {
	u := &tenant[T]{f: f, p: New[T](opts...), other: new(T)}
	u.p.core.stopClock()
	u.limited = u.p.core.maxPages != 0
	f.tenants = append(f.tenants, u)
	return u
}

// hold notes slots that were handed out, and fills them.
func (u *tenant[T]) hold(zero bool, xs ...*T) {
	for _, x := range xs {
		b := view(x)
		if zero && !bytes.Equal(b, noBytes[:len(b)]) {
			require.Fail(u.f.t, "a slot is not zero")
		}
		lastID++
		binary.NativeEndian.PutUint64(b, lastID)
		binary.NativeEndian.PutUint64(b[len(b)-8:], lastID)
		h := holding[T]{x: x, id: lastID}
		if u.refs {
			h.ref = u.p.Ref(x)
		}
		u.live = append(u.live, h)
	}
}

// check requires the pool to agree with what the test knows of it.
func (u *tenant[T]) check() {
	t := u.f.t
	require.NoError(t, u.p.core.checkInvariants())
	require.Equal(t, len(u.live), u.p.Stats().Live)
	require.Zero(t, uint32(u.p.core.depot.transit.word.Load()), "pages are lost on their way")
	refs := make(map[Ref[T]]*T)
	for _, h := range u.live {
		b := view(h.x)
		if binary.NativeEndian.Uint64(b) != h.id || binary.NativeEndian.Uint64(b[len(b)-8:]) != h.id {
			require.Fail(t, "a slot in use has been overwritten")
		}
		if refs[h.ref] = h.x; u.refs && u.p.Deref(h.ref) != h.x {
			require.Fail(t, "a Ref does not lead to its slot")
		}
	}
	if u.refs && !u.p.core.depot.closed.Load() {
		for ref, x := range u.p.All() {
			if refs[ref] != x {
				require.Fail(t, "All comes to a slot that is not in use")
			}
			delete(refs, ref)
		}
		require.Empty(t, refs, "All misses slots")
	}
}

// want gets n slots one by one, with each kind of Get.
func (u *tenant[T]) want(n int) {
	for i := range n {
		_ = u.f.do(u.limited || theArena.limit != 0, func() (err error) {
			var x *T
			switch i % 3 {
			case 0:
				x = u.p.Get()
			case 1:
				x = u.p.GetNoZero()
			default:
				if x, err = u.p.TryGet(); err != nil {
					require.Nil(u.f.t, x)
					return err
				}
			}
			u.hold(i%3 != 1, x)
			return nil
		})
	}
}

// wantBatch gets n slots or none.
func (u *tenant[T]) wantBatch(n int) {
	_ = u.f.do(u.limited || theArena.limit != 0, func() error {
		xs := make([]*T, n)
		xs[0], xs[n-1] = u.other, u.other
		failed := true
		defer func() {
			if failed && slices.ContainsFunc(xs, func(x *T) bool { return x != nil }) {
				require.Fail(u.f.t, "GetBatch failed, and returned slots")
			}
		}()
		u.p.GetBatch(xs)
		failed = false
		u.hold(true, xs...)
		return nil
	})
}

// put puts all slots except keep of them: some one by one, some by their Refs, some in a batch.
func (u *tenant[T]) put(keep int) {
	keep = min(keep, len(u.live))
	_ = u.f.do(false, func() error {
		var batch []*T
		for i, h := range u.live[keep:] {
			switch {
			case i%2 == 0:
				batch = append(batch, h.x)
			case u.refs:
				require.True(u.f.t, u.p.PutRef(h.ref))
				require.False(u.f.t, u.p.PutRef(h.ref))
				require.Nil(u.f.t, u.p.Deref(h.ref))
			default:
				u.p.Put(h.x)
			}
		}
		u.p.PutBatch(batch)
		u.live = u.live[:keep]
		return nil
	})
}

func (u *tenant[T]) trim() {
	_ = u.f.do(false, func() error {
		before := ReadMemory()
		bytes := u.p.Trim()
		require.Equal(u.f.t, ReadMemory().Purged-before.Purged, bytes)
		return nil
	})
}

func (u *tenant[T]) close() {
	if len(u.live) != 0 {
		require.ErrorIs(u.f.t, u.p.Close(), ErrInUse)
		u.put(0)
	}
	require.NoError(u.f.t, u.p.Close())
	u.f.check()
}

// end closes the pool, unless that was done before.
func (u *tenant[T]) end() {
	if !u.p.core.depot.closed.Load() {
		u.close()
	}
}

// finish requires the pool to work as if nothing had happened. It returns the bytes that the pool
// gave back to the system.
func (u *tenant[T]) finish() int64 {
	if u.p.core.depot.closed.Load() {
		return 0
	}
	u.put(0)
	n := 2 * u.p.Stats().SlotsPerPage
	u.wantBatch(n)
	u.want(3)
	assert.GreaterOrEqual(u.f.t, len(u.live), n)
	u.put(0)
	return u.p.Trim()
}

// scenario does everything that calls the system, or that happens when a call fails. Slots are
// large for their kinds of page, so that few of them fill many pages.
func (f *faults) scenario() {
	tiny := open[[64]byte](f, WithName("tiny"))
	tiny.refs = true
	small := open[[8000]byte](f, WithWarmPages(2))
	medium := open[[60_000]byte](f, WithName("medium"), WithGuardSampling(1), WithProfile(1))
	large := open[[500_000]byte](f, WithLimit(2*largePageSize))
	all := []*core{&tiny.p.core, &small.p.core, &medium.p.core, &large.p.core}

	tiny.want(3)
	tiny.wantBatch(1500)
	small.wantBatch(70 * 8)
	medium.want(4)
	medium.wantBatch(9 * 8)
	large.want(17) // one more than its limit allows
	f.check()

	defer SetProcessLimit(0)
	SetProcessLimit(ReadMemory().Committed)
	small.want(10)
	large.put(8)
	medium.wantBatch(3 * 8) // from memory that large gave back
	_ = f.do(false, func() error { SetProcessLimit(1 << 16); return nil })
	tiny.want(3)
	SetProcessLimit(0)
	large.want(3)

	tiny.put(100)
	small.put(10)
	medium.put(8)
	f.passTime(all...)
	tiny.wantBatch(1500)
	small.wantBatch(10 * 8)
	medium.want(2 * 8)
	large.wantBatch(8)

	small.put(1)
	small.trim()
	large.put(0)
	large.trim()
	tiny.trim()
	large.want(4)
	medium.close()
	again := open[[900_000]byte](f)
	again.want(3)
	small.wantBatch(10 * 8)
	f.passTime(all[0], all[1], all[3])
	small.trim()
}

// heal ends the faults and requires that no effect of them is left.
func (f *faults) heal() {
	f.count = 0
	before := ReadMemory()
	outOfMemory := f.errors[ErrOutOfMemory]
	var purged int64
	for _, u := range f.tenants {
		purged += u.finish()
	}
	f.passTime() // purges the memory of closed pools
	assert.Equal(f.t, outOfMemory, f.errors[ErrOutOfMemory])
	m := ReadMemory()
	assert.GreaterOrEqual(f.t, m.Purged-before.Purged, purged)
	assert.Positive(f.t, m.Purged)
	assert.Zero(f.t, m.Committed, "memory that a purge could not give back goes with a later Trim")
	total := theArena.total
	total.purged = 0
	assert.Zero(f.t, total)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	needsOSMemory(t)
	for name, count := range map[string]int{"once": 1, "twice": 2, "from then on": math.MaxInt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if inChild(t) {
				failEach(t, count)
			}
		})
	}
}

// eachCall is the step from a call to the next one that fails: with -short, only each nth does.
func eachCall(n int) int {
	if testing.Short() {
		return n
	}
	return 1
}

// failEach runs the scenario again and again. count calls fail, from the first call on, from the
// second on, and so on, until the scenario makes fewer calls than that.
func failEach(t *testing.T, count int) {
	oneP(t) // so that each run makes the same calls
	total, held := make(map[string]int), 0
	outOfMemory := 0
	for first := 1; ; first += eachCall(7) {
		f := newFaults(t)
		f.first, f.count = first, count
		newProcess()
		install(smallest(), f.strike, f.failed)
		f.scenario()
		if theArena.total.held != 0 {
			held++
		}
		if len(f.struck) == 0 {
			assert.Zero(t, f.errors[ErrOutOfMemory])
			assert.Positive(t, f.errors[ErrLimit])
			t.Logf("the first %d calls: failed calls %v; operations out of memory %d; runs that ended with memory held %d", first-1, total, outOfMemory, held)
			break
		}
		f.heal()
		for call, n := range f.struck {
			total[call] += n
		}
		outOfMemory += f.errors[ErrOutOfMemory]
	}
	for _, call := range []string{"reserve", "commit", "purge", "protect"} {
		assert.Positive(t, total[call], call)
	}
	if count > 1 { // because a Get tries twice
		assert.Positive(t, outOfMemory)
	}
	if count > 2 { // because other calls follow a purge that failed
		assert.Positive(t, held)
	}
}

// A heapTenant is a pool on the Go heap, and the objects that it should have in use.
type heapTenant struct {
	f         *faults
	p         *Pool[heapObject]
	live      []*heapObject
	refs      []Ref[heapObject] // of forgotten objects, which they keep
	forgotten int               // without a Ref
	limited   bool
	inBatch   bool // GetBatch runs
	resets    int
}

// A heapObject is large, so that few of them fill pages.
type heapObject struct {
	id   uint64
	tag  *uint64 // its id
	made *uint64 // by WithInit
	_    [7900]byte
}

// openOnHeap opens a pool with functions that may fail.
func openOnHeap(f *faults, keeps, resets bool, opts ...Option) *heapTenant {
	u := &heapTenant{f: f}
	opts = append(opts, WithGoHeap())
	if keeps {
		opts = append(opts, WithInit(func(x *heapObject) {
			require.Zero(f.t, *x)
			x.made = new(uint64)
			f.act("init")
		}))
	}
	if resets {
		opts = append(opts, WithReset(func(x *heapObject) {
			require.Equal(f.t, x.id == 0, u.inBatch, "an object is reset twice, or was not in use")
			u.resets++
			if x.id, x.tag = 0, nil; !u.inBatch {
				f.act("reset")
			}
		}))
	}
	u.p = New[heapObject](opts...)
	u.p.core.stopClock()
	u.limited = u.p.core.maxPages != 0
	f.tenants = append(f.tenants, u)
	return u
}

// hold notes objects that were handed out.
func (u *heapTenant) hold(xs ...*heapObject) {
	for _, x := range xs {
		if keeps := u.p.core.construct != nil; keeps != (x.made != nil) {
			require.Fail(u.f.t, "an object is not made")
		} else if x.tag != nil && (!keeps || u.p.core.reset != nil) {
			require.Fail(u.f.t, "an object has something of its last user")
		}
		lastID++
		x.id, x.tag = lastID, new(uint64)
		*x.tag = lastID
		u.live = append(u.live, x)
	}
}

func (x *heapObject) isWhole() bool { return x.tag != nil && *x.tag == x.id }

func (u *heapTenant) check() {
	t := u.f.t
	require.NoError(t, u.p.core.checkInvariants())
	st := u.p.Stats()
	require.Equal(t, len(u.live)+len(u.refs)+u.forgotten, st.Live+int(st.Lost))
	require.LessOrEqual(t, int(st.Lost), u.forgotten)
	require.Zero(t, uint32(u.p.core.depot.transit.word.Load()), "pages are lost on their way")
	for _, x := range u.live {
		require.True(t, x.isWhole(), "an object in use has been overwritten")
	}
	for _, r := range u.refs {
		x := u.p.Deref(r)
		require.True(t, x != nil && x.isWhole(), "a Ref does not keep its object")
	}
}

// want gets n objects one by one, with each kind of Get.
func (u *heapTenant) want(n int) {
	for i := range n {
		_ = u.f.do(u.limited, func() (err error) {
			var x *heapObject
			switch i % 3 {
			case 0:
				x = u.p.Get()
			case 1:
				x = u.p.GetNoZero()
			default:
				if x, err = u.p.TryGet(); err != nil {
					return err
				}
			}
			u.hold(x)
			return nil
		})
	}
}

// wantBatch gets n objects or none.
func (u *heapTenant) wantBatch(n int) {
	_ = u.f.do(u.limited, func() error {
		xs := make([]*heapObject, n)
		u.inBatch = true
		defer func() { u.inBatch = false }()
		for _, x := range u.live {
			require.NotZero(u.f.t, x.id)
		}
		u.p.GetBatch(xs)
		u.hold(xs...)
		return nil
	})
}

// put puts all objects except keep of them: one by one, by Refs, and in a batch, from which an object
// whose reset fails keeps those that follow.
func (u *heapTenant) put(keep int) {
	for len(u.live) > keep+6 {
		x := u.live[len(u.live)-1]
		u.live = u.live[:len(u.live)-1]
		_ = u.f.do(false, func() error {
			if len(u.live)%2 == 0 {
				u.p.Put(x)
				return nil
			}
			r := u.p.Ref(x)
			defer func() { require.Nil(u.f.t, u.p.Deref(r)) }()
			require.True(u.f.t, u.p.PutRef(r))
			return nil
		})
	}
	for len(u.live) > keep {
		_ = u.f.do(false, func() error {
			before, batch := u.resets, slices.Clone(u.live[keep:])
			done := false
			defer func() {
				if n := u.resets - before; !done {
					u.live = append(u.live, batch[n:]...)
				}
			}()
			u.live = u.live[:keep]
			u.p.PutBatch(batch)
			done = true
			return nil
		})
	}
}

// forget forgets all objects but keep, and of every third one it has a Ref.
func (u *heapTenant) forget(keep int) {
	_ = u.f.do(false, func() error {
		for len(u.live) > keep {
			x := u.live[len(u.live)-1]
			u.live = slices.Delete(u.live, len(u.live)-1, len(u.live))
			if len(u.live)%3 == 0 {
				u.refs = append(u.refs, u.p.Ref(x))
			} else {
				u.forgotten++
			}
		}
		return nil
	})
}

// find puts by their Refs the objects that were forgotten.
func (u *heapTenant) find() {
	refs := u.refs
	u.refs = nil
	for k, r := range refs {
		u.refs = refs[k+1:]
		_ = u.f.do(false, func() error {
			require.True(u.f.t, u.p.PutRef(r))
			return nil
		})
	}
}

// collect collects garbage, and waits until the pool knows of it.
func (u *heapTenant) collect() {
	d := &u.p.core.depot
	gcUntil(u.f.t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return !slices.ContainsFunc(d.pages, (*page).isDead)
	})
	u.check()
}

func (u *heapTenant) end() {}

// finish requires the pool to work as if nothing had happened.
func (u *heapTenant) finish() int64 {
	u.find()
	u.put(0)
	if !u.limited {
		u.forget(0)
		u.wantBatch(2 * u.p.Stats().SlotsPerPage)
	}
	u.want(3)
	u.check()
	failed := u.f.errors[errFunction]
	u.put(0)
	require.Equal(u.f.t, failed, u.f.errors[errFunction])
	u.p.Trim()
	require.NoError(u.f.t, u.p.Close())
	require.Zero(u.f.t, u.p.Stats().Live)
	require.EqualValues(u.f.t, u.forgotten, u.p.Stats().Lost)
	return 0
}

// heapScenario does on the Go heap what calls the system or functions of the program.
func (f *faults) heapScenario() {
	cleared := openOnHeap(f, false, true)
	kept := openOnHeap(f, true, false, WithWarmPages(1))
	both := openOnHeap(f, true, true, WithLimit(2<<16))
	cleared.want(10)
	kept.want(9)
	kept.wantBatch(9)
	both.want(17) // one more than the limit allows
	cleared.put(2)
	kept.put(5)
	both.put(9)
	both.wantBatch(4)
	cleared.wantBatch(9)
	cleared.forget(5)
	f.passTime(&cleared.p.core, &kept.p.core, &both.p.core)
	cleared.collect()
	kept.forget(1)
	kept.want(12)
	kept.collect()
	cleared.find()
	cleared.p.Trim()
	both.put(0)
	both.p.Trim()
	both.want(3)
	f.check()
}

// awaitEmptyTable waits until the cleanups of all pages of the Go heap have run, for newProcess.
func awaitEmptyTable(t *testing.T) {
	gcUntil(t, func() bool {
		for _, l := range leaves {
			for at := range (*leaf)(startOf(l)) {
				if atomic.LoadUintptr(&(*leaf)(startOf(l))[at]) != 0 {
					return false
				}
			}
		}
		return true
	})
}

// The Nth call of the system, or of a function that a pool was given, fails.
//
// Of a page on the Go heap, the system can refuse what the arena gives it: its words, and the leaf of the
// table. Memory that Go allocates is not among that: arrays of slots, headers, units of Refs, tables of
// shards and classes. Where the system refuses it, Go ends the process (goNeeds), and no recover sees
// that; [debug.SetMemoryLimit] refuses nothing. So no state of the library matters afterwards.
func TestFaultsOnHeap(t *testing.T) {
	t.Parallel()
	needsOSMemory(t)
	for name, count := range map[string]int{"once": 1, "twice": 2, "from then on": math.MaxInt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if inChild(t) {
				failEachOnHeap(t, count)
			}
		})
	}
}

// failEachOnHeap is failEach for pools on the Go heap.
func failEachOnHeap(t *testing.T, count int) {
	oneP(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // so that each run makes the same calls
	total, failed := make(map[string]int), make(map[error]int)
	for first, done := 1, false; !done; first += eachCall(3) {
		f := newFaults(t)
		f.first, f.count = first, count
		newProcess()
		install(smallest(), f.strike, f.failed)
		f.heapScenario()
		done = len(f.struck) == 0
		f.count = 0
		for _, u := range f.tenants {
			u.finish()
		}
		for call, n := range f.struck {
			total[call] += n
		}
		for err, n := range f.errors {
			failed[err] += n
		}
		f.tenants = nil
		awaitEmptyTable(t)
	}
	t.Logf("failed calls %v; operations that failed %v", total, failed)
	for _, call := range []string{"reserve", "commit", "init", "reset"} {
		assert.Positive(t, total[call], call)
	}
	if count > 1 { // because a Get tries twice
		assert.Positive(t, failed[ErrOutOfMemory])
	}
	assert.Positive(t, failed[errFunction])
	assert.Positive(t, failed[ErrLimit])
}

// System calls fail at random while several goroutines use two pools.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	needsOSMemory(t)
	if !inChild(t) {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var healed atomic.Bool
	var struck, failed atomic.Int64
	newProcess()
	install(smallest(),
		func(string) bool { return !healed.Load() && rand.IntN(4) != 0 },
		func(string) { struck.Add(1) })
	small, medium := New[[8000]byte](WithLimit(20<<16)), New[[60_000]byte](WithWarmPages(1))
	var wg group
	for worker := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for n := 0; n < 40 || n < 4000 && failed.Load() == 0; n++ { // most calls have another way
				failed.Add(takeAndGive(t, small, random))
				failed.Add(takeAndGive(t, medium, random))
			}
		})
	}
	wg.Wait()
	assert.Positive(t, struck.Load())
	assert.Positive(t, failed.Load())
	healed.Store(true)
	require.NoError(t, small.core.checkInvariants())
	require.NoError(t, medium.core.checkInvariants())
	medium.PutBatch(simBatch(medium, 100))
	require.NoError(t, small.Close())
	medium.Trim()
	assert.Zero(t, ReadMemory().InUse)
	theArena.purge(func(released) bool { return true })
	assert.Zero(t, ReadMemory().Committed)
}

// takeAndGive gets slots, one by one and in a batch, puts them, and sometimes trims. It returns how
// often it got an error.
func takeAndGive[T any](t *testing.T, p *Pool[T], random *rand.Rand) (failed int64) {
	refused := func(err error) {
		failed++
		if !errors.Is(err, ErrOutOfMemory) && !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	}
	var xs []*T
	for range random.IntN(60) {
		if x, err := p.TryGet(); err != nil {
			refused(err)
		} else {
			xs = append(xs, x)
		}
	}
	batch := make([]*T, 1+random.IntN(60))
	func() {
		defer func() {
			if r := recover(); r != nil {
				refused(r.(error))
			}
		}()
		p.GetBatch(batch)
	}()
	xs = append(xs, batch...)
	id := byte(random.IntN(256))
	for k, x := range xs {
		if x != nil {
			fill(view(x)[:8], int(id), k)
		}
	}
	if random.IntN(4) == 0 {
		p.Trim()
	}
	for k, x := range xs {
		if x != nil && !intact(view(x)[:8], int(id), k) {
			t.Error("a slot in use has been overwritten")
		}
	}
	p.PutBatch(xs)
	return failed
}
