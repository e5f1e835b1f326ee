//go:build (amd64 || arm64) && !race && !asan && !msan

// The sanitizers map memory of their own, and do not survive if the system refuses it.

package pool

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// System calls that a sandbox refuses (seccomp(2)), from the start or from the middle of a run on.
//
// The refusals are the kernel's. Go itself needs mmap, so the filters look at arguments that Go does
// not use. A filter stays for good. So what happens when a refusal ends is tested with memory that
// is locked for a time, and with refusals that are not the kernel's (TestRefusalEnds, TestFaults).

// An arg is the number of an argument of a system call, and the lower half of its value.
type arg struct{ number, value uint32 }

// forbid makes the kernel refuse a system call, with these arguments, with errno, for all threads of
// the process and for good.
func forbid(t *testing.T, call uint32, errno unix.Errno, args ...arg) {
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the number of the call
	want := func(value uint32, rest int) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(2*rest + 1), K: value})
	}
	want(call, len(args))
	for k, a := range args {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*a.number})
		want(a.value, len(args)-1-k)
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		t.Skip("no seccomp: ", e)
	}
}

// A refusal is something that a system may refuse, and what is to be expected of a program that goes
// on without it.
type refusal struct {
	name   string
	forbid func(*testing.T, unix.Errno)
	struck string // the calls of the arena or of guards that fail
	needy  bool   // Gets fail
	holds  bool   // released memory is held
	stops  bool   // the world is stopped
}

var sandboxes = []refusal{
	{name: "purge", struck: "purge", holds: true, forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_MADVISE, errno)
	}},
	{name: "commit", struck: "commit", needy: true, forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_MPROTECT, errno, arg{1, commitGranules * granuleSize})
	}},
	{name: "make inaccessible", struck: "protect", forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_MPROTECT, errno, arg{2, unix.PROT_NONE})
	}},
	{name: "make inaccessible or accessible", struck: "protect", forbid: func(t *testing.T, errno unix.Errno) {
		for _, size := range []int{osPages(guardedSize), guardGranules(guardedSize) * granuleSize} {
			forbid(t, unix.SYS_MPROTECT, errno, arg{1, uint32(size)})
		}
	}},
	{name: "reserve", struck: "reserve", needy: true, forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_MMAP, errno, arg{2, unix.PROT_NONE}, arg{3, unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE})
	}},
	{name: "name memory", forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_PRCTL, errno)
		require.ErrorIs(t, unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, 0, 0, 0), errno)
	}},
	{name: "barrier", stops: true, forbid: func(t *testing.T, errno unix.Errno) {
		forbid(t, unix.SYS_MEMBARRIER, errno)
		require.False(t, osBarrier())
	}},
}

const guardedSize = 60_000 // as in faults.scenario

// A program that is refused a call goes on: Gets fail with errors, or released memory is held, or
// memory has no name, or no slot is guarded, or the world is stopped. Slots in use stay as they are,
// Puts work, no memory is lost, and what ReadMemory says is true.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, r := range sandboxes {
		for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
			for name, late := range map[string]bool{"from the start": false, "later": true} {
				if late != (errno == unix.EPERM) {
					continue // the library does not look at errno: two of the four will do
				}
				t.Run(fmt.Sprintf("%s, %s, %s", r.name, name, unix.ErrnoName(errno)), func(t *testing.T) {
					t.Parallel()
					if inPoorChild(t) {
						r.refuse(t, errno, late)
					}
				})
			}
		}
	}
}

// A program that may not read its limit of address space, or cannot read how much of it is used,
// because it may open no file, has pools that work. In the second case, no region is larger than a chunk.
func TestLimitIsSecret(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hide    func(t *testing.T)
		regions int // for six pages of the largest slots
	}{
		"limit": {func(t *testing.T) {
			forbid(t, unix.SYS_GETRLIMIT, unix.EPERM)
			forbid(t, unix.SYS_PRLIMIT64, unix.EPERM)
		}, 3},
		"use": {func(t *testing.T) {
			var files unix.Rlimit
			require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: files.Max}))
			t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &files)) })
			require.Zero(t, addressSpace())
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !inChild(t) {
				return
			}
			limitAddressSpace(t, 1<<40)
			test.hide(t)
			p := New[[MaxSlotSize]byte]()
			xs := simBatch(p, 6)
			assert.Len(t, theArena.regions, test.regions)
			p.PutBatch(xs)
			require.NoError(t, p.Close())
		})
	}
}

// refuse runs in a process of its own.
func (r refusal) refuse(t *testing.T, errno unix.Errno, late bool) {
	oneP(t)
	goOn := stopClock()
	settle(t)
	early := newFaults(t)
	early.listen(smallest())
	var guards *tenant[[guardedSize]byte]
	if late {
		early.scenario()
		guards = open[[guardedSize]byte](early, WithGuardSampling(1))
		guards.want(60)
		guards.put(40) // some guards are in use now, and some are idle
		require.Empty(t, early.struck)
	}
	r.forbid(t, errno)

	f := newFaults(t)
	f.listen(smallest())
	if late {
		early.struck = f.struck
		guards.put(20)
		guards.want(30)
		guards.put(10)
	}
	purged := ReadMemory().Purged
	sampled := open[[guardedSize]byte](f, WithGuardSampling(1))
	sampled.want(10)
	if !r.needy {
		assert.Equal(t, r.struck != "protect", sampled.p.Stats().GuardedGets > 0)
	}
	for range 2 {
		f.scenario()
		early.check()
		requireTotals(t, theArena)
	}
	t.Logf("refused calls %v, operations %v, %+v", f.struck, f.errors, ReadMemory())
	if r.struck == "" {
		assert.Empty(t, f.struck)
	} else {
		assert.Len(t, f.struck, 1)
		assert.Positive(t, f.struck[r.struck])
	}
	assert.Equal(t, r.needy, f.errors[ErrOutOfMemory] > 0)
	assert.Equal(t, r.stops && pinned, ReadMemory().WorldStops > 0)
	early.end()
	f.end()
	requireRest(t, r.holds)
	if r.holds {
		assert.Equal(t, purged, ReadMemory().Purged)
	}
	goOn()
	if late {
		passByTime(t)
		requireRest(t, r.holds)
	}
}

// listen notes which calls the system refuses from now on.
func (f *faults) listen(largest uintptr) {
	install(largest, func(string) bool { return false }, f.failed)
}

// end puts all slots and closes the pools.
func (f *faults) end() {
	for _, u := range f.tenants {
		u.end()
	}
	f.passTime()
}

// requireRest requires that the arena has no memory but what the system refuses to take back, and
// what guards had that it refuses to make accessible.
func requireRest(t *testing.T, holds bool) {
	t.Helper()
	requireTotals(t, theArena)
	sealed := 0
	for _, r := range theArena.sealed {
		sealed += r.size()
	}
	assert.LessOrEqual(t, len(theArena.sealed), guardMax)
	assert.EqualValues(t, sealed, ReadMemory().InUse)
	assert.Equal(t, holds, ReadMemory().Warm > 0)
	if !holds { // a kernel that refuses MADV_NOHUGEPAGE, too, may fill more than was used
		assert.Zero(t, uncounted(t, theArena))
	}
}

// uncounted returns how many bytes are in memory, as the kernel says, that ReadMemory does not count.
func uncounted(t *testing.T, a *arena) (bytes int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	in := make([]byte, granuleSize/os.Getpagesize()) // one for each OS page
	for _, ch := range a.open {
		for i := range len(ch.mem) / granuleSize {
			if ch.busy.has(i) || ch.held.has(i) || ch.committed&(1<<(i/commitGranules)) == 0 {
				continue
			}
			mem := ch.mem[i*granuleSize:][:granuleSize]
			_, _, errno := unix.Syscall(unix.SYS_MINCORE, addressOf(mem), granuleSize, uintptr(unsafe.Pointer(&in[0])))
			require.Zero(t, errno)
			for _, b := range in {
				bytes += int(b&1) * os.Getpagesize()
			}
		}
	}
	return bytes
}

// passByTime uses a pool with its clock, until ticks have done all that they do.
func passByTime(t *testing.T) {
	p := New[[1000]byte](WithName("by time"))
	var xs []*[1000]byte
	for range 1000 {
		x, err := p.TryGet()
		if err != nil {
			require.ErrorIs(t, err, ErrOutOfMemory)
			break
		}
		xs = append(xs, x)
	}
	p.PutBatch(xs)
	until := time.Now().Add(30 * time.Second)
	for p.Stats().Pages > 0 || theArena.isWaiting() {
		require.True(t, time.Now().Before(until), "no tick released the pages, or purged them")
		time.Sleep(time.Millisecond) // and not a loop: other processes of this test have a use for the core
	}
	require.NoError(t, p.Close())
}

// The kernel puts no huge pages into regions, however it is set.
func TestNoHugePages(t *testing.T) {
	newArena(t)
	p := newStill[[64]byte](t)
	x := p.Get()
	defer p.Put(x)
	mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(mem)) }()
	if unix.Madvise(mem, unix.MADV_NOHUGEPAGE) != nil || !slices.Contains(flagsOf(addressOf(mem)), "nh") {
		t.Skip("the kernel has no huge pages, or does not say where it puts none, as an emulator's")
	}
	assert.Contains(t, flagsOf(address(x)), "nh")
}

// flagsOf returns what flags the kernel says that the memory at addr has.
func flagsOf(addr uintptr) (flags []string) {
	eachMapping(func(from, to uintptr, line string) {
		if text, ok := strings.CutPrefix(line, "VmFlags:"); ok && from <= addr && addr < to {
			flags = strings.Fields(text)
		}
	})
	return flags
}

// The kernel does not take locked memory back. It does when the memory is not locked any more. (But a
// step of commitGranules that was committed while memory was locked is in memory as a whole, and the
// part of it that was never used remains there, uncounted.)
func TestLockedMemory(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"from the start": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !inPoorChild(t) {
				return
			}
			oneP(t)
			t.Cleanup(stopClock())
			newProcess()
			early := newFaults(t)
			early.listen(math.MaxInt)
			if late {
				early.scenario()
			}
			if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE); err != nil {
				t.Skip("the process may not lock its memory: ", err)
			}
			f := newFaults(t)
			f.listen(math.MaxInt)
			f.scenario()
			early.check()
			assert.Len(t, f.struck, 1)
			assert.Positive(t, f.struck["purge"])
			assert.Empty(t, f.errors[ErrOutOfMemory])
			early.end()
			requireTotals(t, theArena)
			assert.Positive(t, ReadMemory().Warm)

			require.NoError(t, unix.Munlockall())
			f.heal()
			requireTotals(t, theArena)
		})
	}
}

// When a refusal ends, everything works again, and Trim gives back what was held. These refusals are
// not the kernel's, because no process can have it take a filter back.
func TestRefusalEnds(t *testing.T) {
	t.Parallel()
	if !inChild(t) {
		return
	}
	oneP(t)
	t.Cleanup(stopClock())
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		errFault = errno
		for _, refused := range []string{"reserve", "commit", "purge", "protect"} {
			for _, late := range []bool{false, true} {
				newProcess()
				f := newFaults(t)
				refusing := !late
				install(smallest(), func(call string) bool { return refusing && call == refused }, f.failed)
				f.scenario()
				assert.Equal(t, late, len(f.struck) == 0)
				refusing = true
				f.scenario()
				assert.Len(t, f.struck, 1)
				assert.Positive(t, f.struck[refused])
				requireTotals(t, theArena)
				refusing = false
				f.heal()
				requireRest(t, false)
			}
		}
	}
}
