package pool

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/internal/hook"
)

// newStill makes a pool whose clock does not tick. The pool is closed when the test ends.
func newStill[T any](t testing.TB, opts ...Option) *Pool[T] {
	p := New[T](opts...)
	p.core.stopClock()
	t.Cleanup(func() {
		require.NoError(t, p.core.checkInvariants())
		require.NoError(t, p.Close())
	})
	return p
}

// tick is one tick of the pool.
func (c *core) tick() { tick([]*core{c}) }

// flush sends all parked slots of the pool home.
func (c *core) flush() {
	c.stopped(func(shards []*shard) {
		for _, s := range shards {
			s.flush(0)
		}
	})
}

// stopClock keeps the clock of c from ticking: it looks armed, so that nobody arms it.
func (c *core) stopClock() { c.alarm.armed.Store(true) }

// newBase is newStill without promotion.
func newBase[T any](t testing.TB) *Pool[T] {
	hook.Promotion.Store(hook.None)
	defer hook.Promotion.Store(hook.Reset)
	return newStill[T](t)
}

// oneP keeps the test on one P, so that counters do not depend on the scheduler.
func oneP(t testing.TB) {
	noQuarantine(t)
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// These do something only in the debug build. debug_test.go sets them.
var (
	// noQuarantine makes slots free as soon as they are put, for tests that count pages.
	noQuarantine = func(testing.TB) {}
	// forgetPast makes the debug build forget the last Put of a slot, which a simulated shard is
	// about to hand out.
	forgetPast = func(*core, uintptr) {}
)

// brief reports whether tests are to be short: with -short, unless -stress asks for more.
func brief() bool { return testing.Short() && *stressFlag == 0 }

// times returns n, or less if tests are to be brief, and in builds that watch all slots, because they
// are slow.
func times(n int) int {
	switch {
	case watchAll:
		return max(n/20, 2)
	case brief():
		return max(n/5, 2)
	}
	return n
}

// needsOSMemory skips a test that looks at memory of the system.
func needsOSMemory(t testing.TB) {
	if !offHeap {
		t.Skip("in this build, memory comes from the Go heap")
	}
}

// exactSlots skips a test that knows how many slots a page has.
func exactSlots(t testing.TB) {
	if redZone != 0 {
		t.Skip("in this build, slots have red zones")
	}
}

// needsPreemption skips a test whose goroutines run in endless loops and rely on the scheduler to
// interrupt them.
func needsPreemption(t testing.TB) {
	if runtime.GOARCH == "wasm" {
		t.Skip("on wasm, a goroutine runs until it waits")
	}
}

// skipUnlessPinned skips a test that needs shards that belong to Ps, and one that uses a pool with
// on and looks at its other shards.
func skipUnlessPinned(t *testing.T) {
	if !pinned {
		t.Skip("in this build, shards do not belong to Ps")
	}
}

type quote struct {
	id, price int64
	symbol    [16]byte
}

var global quote

// quotePool makes a pool with the name that messages of tests have.
func quotePool(opts ...Option) *Pool[quote] {
	return New[quote](append(opts, WithName("quotes"))...)
}

// closed returns a pool that is closed.
func closed() *Pool[quote] {
	p := New[quote](WithName("quotes"))
	if err := p.Close(); err != nil {
		panic(err)
	}
	return p
}

// copied returns a copy of p. A struct has one if it is made with *pool.New[T]().
func copied[T any](p *Pool[T]) *Pool[T] {
	q := new(Pool[T])
	reflect.ValueOf(q).Elem().Set(reflect.ValueOf(p).Elem())
	return q
}

// simBatch gets n slots.
func simBatch[T any](p *Pool[T], n int) []*T {
	xs := make([]*T, n)
	p.GetBatch(xs)
	return xs
}

// fillUp gets slots until TryGet fails, which has to happen with ErrLimit.
func fillUp[T any](t *testing.T, p *Pool[T]) []*T {
	var xs []*T
	for {
		x, err := p.TryGet()
		if err != nil {
			assert.ErrorIs(t, err, ErrLimit)
			return xs
		}
		xs = append(xs, x)
	}
}

// requirePanic requires f to panic with an error that wraps want.
func requirePanic(t *testing.T, want error, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ := recover().(error)
		require.ErrorIs(t, err, want)
	}()
	f()
}

// caught calls f and returns its error, or the error that it panics with.
func caught(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok || errors.As(err, new(runtime.Error)) {
				panic(r)
			}
		}
	}()
	return f()
}

// view returns the bytes of a slot.
func view[T any](x *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafe.Sizeof(*x))
}

// word returns the first word of a slot.
func word[T any](x *T) *uintptr { return (*uintptr)(unsafe.Pointer(x)) }

// canary returns byte k of slot i in a round.
func canary(round, i, k int) byte { return byte(round*31 + i*7 + k*3 + 1) }

// fill writes the bytes of slot i in a round to b.
func fill(b []byte, round, i int) {
	for k := range b {
		b[k] = canary(round, i, k)
	}
}

// intact reports whether b holds what fill wrote.
func intact(b []byte, round, i int) bool {
	for k := range b {
		if b[k] != canary(round, i, k) {
			return false
		}
	}
	return true
}

// churn is one round: n Gets, then Puts in the given order.
func churn[T any](p *Pool[T], xs []*T, order []int) {
	for i := range xs {
		xs[i] = p.Get()
	}
	for _, i := range order {
		p.Put(xs[i])
	}
}

// orders returns three orders of n things.
func orders(n int) map[string][]int {
	first, last := make([]int, n), make([]int, n)
	for i := range n {
		first[i], last[i] = i, n-1-i
	}
	return map[string][]int{"first-in": first, "last-in": last, "shuffled": rand.New(rand.NewPCG(1, 2)).Perm(n)}
}

// A group is a sync.WaitGroup with the method Go, which Go 1.24 does not have.
type group struct{ sync.WaitGroup }

func (g *group) Go(f func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		f()
	}()
}

// sim makes a core with n shards that only the test uses. The test says which shard does what, not
// the scheduler, and time stands still.
func sim(t testing.TB, size uintptr, n int, opts ...options) (*core, []*shard) {
	oneP(t) // see on
	c := new(core)
	initCore(c, size, "sim", append(opts, options{})[0])
	c.stopClock()
	shards := make([]*shard, n)
	for i := range shards {
		shards[i] = newShard(c.spec, &c.depot, i)
	}
	c.shards.Store(&shardTable{core: c, shards: shards})
	t.Cleanup(func() { c.closeAll(t) })
	return c, shards
}

// initCore makes c the core of a pool for objects of size bytes.
func initCore(c *core, size uintptr, name string, o options) {
	sp, err := newSpec(reflect.ArrayOf(int(size), reflect.TypeFor[byte]()), o)
	if err != nil {
		panic(err)
	}
	sp.typeName = name
	c.contents = contentsOf(sp, &o, func(x unsafe.Pointer) { clear(bytesAt(x, int(size))) })
	c.init(sp)
}

// closeAll closes the pool even if slots are in use.
func (c *core) closeAll(t testing.TB) {
	for _, s := range c.shards.Load().present() {
		s.flush(0)
		c.settle(s.takeOutbox())
	}
	for _, pg := range c.depot.pages {
		pg.used = pg.remoteState().count()
		clear(pg.links)
	}
	if !c.depot.closed.Load() {
		require.NoError(t, c.close())
	}
}

// on runs f, which uses the pool as a user does, on shard s. Meanwhile s takes the place of the
// shard of the only P, or under locks, of the shard that the address of the caller's stack falls
// on.
func on(c *core, s *shard, f func()) {
	here := c.own()
	here.unpin()
	table := c.shards.Load()
	shards := slices.Clone(table.shards)
	j, k := slices.Index(shards, here), slices.Index(shards, s)
	shards[j], shards[k] = s, here
	use := func(t *shardTable) {
		c.shards.Store(t)
		c.fast.store(t)
	}
	use(&shardTable{core: c, shards: shards})
	defer use(table)
	f()
}

// simGet is Get on shard s.
func simGet(t testing.TB, c *core, s *shard) uintptr {
	for {
		if x, _ := s.get(); x != nil {
			c.settle(s.takeOutbox())
			forgetPast(c, uintptr(x))
			return uintptr(x)
		}
		pg := c.depot.adopt()
		if pg == nil {
			var err error
			pg, err = c.depot.fresh()
			require.NoError(t, err)
		}
		s.attach(pg)
		c.settle(s.takeOutbox())
	}
}

// simPut is Put on shard s. It reports false for a double Put.
func simPut(c *core, s *shard, x uintptr) bool {
	pg := pageOf(x)
	i, ok := pg.indexOf(x)
	ok = ok && pg.spec == c.spec
	if ok {
		unwatch(x)
	}
	ok = ok && s.put(pg, i, pointerAt(x), taken)
	c.settle(s.takeOutbox())
	return ok
}

// unwatch makes a watched slot one that is not watched.
func unwatch(x uintptr) {
	pg := pageOf(x)
	i, _ := pg.indexOf(x)
	if *pg.link(i) == watched {
		*pg.link(i) = taken
	}
}

// simFill gets n slots on shard s.
func simFill(t testing.TB, c *core, s *shard, n int) []uintptr {
	xs := make([]uintptr, n)
	for i := range xs {
		xs[i] = simGet(t, c, s)
	}
	return xs
}

// simDrain puts slots on shard s.
func simDrain(t testing.TB, c *core, s *shard, xs []uintptr) {
	for _, x := range xs {
		require.True(t, simPut(c, s, x))
	}
}

// simTick is one tick of shard s.
func simTick(c *core, s *shard, idle bool) {
	s.tick(idle)
	c.settle(s.takeOutbox())
}

// arenas has all arenas, because pools that a test has not closed stay in the table of pages.
var arenas []*arena

// newArena puts a new arena in the place of the process's until the test ends. pageOf finds the
// pages of both.
func newArena(t *testing.T) *arena {
	for _, c := range openPools() { // nobody may release their pages while there is another arena
		_ = caught(func() error { c.trim("Trim"); return nil })
	}
	before := theArena
	use := func(a *arena) {
		defer stopClock()()
		theArena = a
	}
	use(new(arena))
	arenas = append(arenas, theArena)
	t.Cleanup(func() { use(before) })
	return theArena
}

// stopClock stops the process's clock until goOn.
func stopClock() (goOn func()) {
	k := theClock
	for {
		k.mu.Lock()
		if !k.running.Load() || k.timer.Stop() {
			break
		}
		k.mu.Unlock() // it is ringing
		runtime.Gosched()
	}
	defer k.mu.Unlock()
	k.running.Store(true) // so that nobody starts it
	return func() {
		k.mu.Lock()
		k.running.Store(false)
		k.mu.Unlock()
		k.wake()
	}
}

// resident returns how many bytes of the arena's regions are in memory, as the kernel counts them,
// or 0 where the kernel does not say.
func (a *arena) resident() (total int) {
	eachMapping(func(from, _ uintptr, line string) {
		var kib int
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kib); n == 0 {
			return
		}
		for _, r := range a.regions {
			if from-addressOf(r.mem) < uintptr(len(r.mem)) {
				total += kib << 10
			}
		}
	})
	return total
}

// eachMapping calls f for each line of what the kernel says of the process's mappings, where it says
// anything. The mapping of a line goes from an address to another.
func eachMapping(f func(from, to uintptr, line string)) {
	smaps, _ := os.ReadFile("/proc/self/smaps")
	var from, to uintptr
	for _, line := range strings.Split(string(smaps), "\n") {
		var begin, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &begin, &end); n == 2 {
			from, to = begin, end
		}
		f(from, to, line)
	}
}

// failing makes the system calls fail for which fail returns true, until the test ends. Their names
// are "reserve", "commit" and "purge".
func failing(t testing.TB, fail func(call string) bool) {
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	errFault := errors.New("injected fault")
	system.Store(&calls{
		reserve: func(size uintptr) ([]byte, error) {
			if fail("reserve") {
				return nil, errFault
			}
			return osReserve(size)
		},
		commit: func(mem []byte) error {
			if fail("commit") {
				return errFault
			}
			return osCommit(mem)
		},
		purge: func(mem []byte) (gone, zeroed, lost bool) {
			if fail("purge") {
				return false, false, false
			}
			return osPurge(mem)
		},
		protect: osProtect,
		barrier: osBarrier,
	})
}

// purgeZeroes says that memory is zero after a purge. Windows does not promise that.
const purgeZeroes = runtime.GOOS != "windows"

// Tests that crash, and tests that change what all pools of a process share, run in a process of
// their own. The test binary starts itself again, with one of these variables in its environment.
const (
	crashEnv = "WARMPAGE_POOL_CRASH" // the name of one of misuses, refusals or mistakes
	childEnv = "WARMPAGE_POOL_CHILD" // the name of a test that calls inChild
)

// TestMain does what crashEnv says instead of running the tests. A test cannot do it: package
// testing would recover the panic and add to the line that TestCrash compares.
func TestMain(m *testing.M) {
	name, ok := os.LookupEnv(crashEnv)
	if !ok {
		// Tests that are parallel start processes, which mostly wait.
		_ = flag.Set("test.parallel", strconv.Itoa(max(12, runtime.NumCPU()))) // -parallel comes later, and wins
		os.Exit(m.Run())
	}
	for _, c := range slices.Concat(misuses, refusals) {
		if c.name == name {
			c.do()
		}
	}
	for _, m := range append(mistakes, lateUse) {
		if m.name == name {
			m.do()
		}
	}
}

// runSelf runs the test binary. It skips the test if that is not possible.
func runSelf(t *testing.T, env string, args ...string) (stdout, stderr string, code int) {
	self, err := os.Executable()
	if err != nil {
		t.Skip("the test binary is not found: ", err)
	}
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), env, "GOTRACEBACK=single",
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // otherwise each takes a second to end
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Skip("cannot start a process: ", err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// goNeeds matches what Go says when it dies because the system refused it memory or a thread of its
// own.
var goNeeds = regexp.MustCompile(`(fatal error: .*(out of memory|cannot allocate memory|new OS thread)|pthread_create failed).*` +
	`|SIGSEGV: .*\n(.*\n){1,4}runtime\.\(\*spanQueue\)`) // Go 1.26: a queue that could not grow

// inChild runs the calling test once more, in a process of its own. There it returns true. In the
// parent it returns false when the child has ended, and then the caller returns.
func inChild(t *testing.T) bool { return inProcess(t, false) }

// undisturbed is inChild for a test that could be disturbed by what others have left, or do meanwhile.
// On wasm there are no other processes, and it runs in this one, when no other test does.
func undisturbed(t *testing.T) bool {
	if runtime.GOARCH == "wasm" {
		return true
	}
	t.Parallel()
	return inChild(t)
}

// inProcess is inChild. poor says that the system refuses Go what the test has it refuse the library:
// if Go dies of that, the test is skipped.
func inProcess(t *testing.T, poor bool) bool {
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	stdout, stderr, code := runSelf(t, childEnv+"="+t.Name(), "-test.run="+run, "-test.v", "-test.timeout=5m",
		"-test.short="+strconv.FormatBool(testing.Short()), "-stress="+stressFlag.String())
	if strings.Contains(stdout, "--- SKIP: "+t.Name()) {
		t.Skip(stdout)
	}
	if needy := goNeeds.FindString(stderr); poor && needy != "" {
		t.Skip("the system refused Go itself what it cannot do without: ", needy)
	}
	require.Zero(t, code, "%s%s", stdout, stderr)
	require.Contains(t, stdout, "--- PASS: "+t.Name())
	t.Log(stdout)
	return false
}
