//go:build !race

// The race detector maps memory of its own, and does not survive if the system refuses it.

package pool

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// useMuch uses 160 MiB of address space, or as much of it as the system allows.
func (f *faults) useMuch(largest uintptr) {
	install(largest, f.strike, f.failed)
	small := open[[64]byte](f, WithName("small"))
	small.refs = true
	large := open[[500_000]byte](f)
	small.want(10)
	for range 20 {
		large.wantBatch(8)
		large.want(1)
		large.wantBatch(7)
	}
	small.wantBatch(5000)
	f.check()
	large.put(20)
	large.trim()
	large.wantBatch(8)
	small.put(7)
	small.trim()
	small.close()
	large.close()
}

// settle makes Go take from the system the threads and the memory that it needs itself, because Go
// does not survive if the system refuses them.
func settle(t *testing.T) {
	runtime.MemProfileRate = 0
	var started, done group
	started.Add(16)
	for range 16 {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait() // all have a thread
		})
	}
	done.Wait()
	newFaults(t).useMuch(smallest())
	runtime.KeepAlive(make([]byte, 40<<20))
	runtime.GC() // what is free after it stays mapped
	newProcess()
}

// inPoorChild is inChild for a test in whose process the system refuses Go what the test has it refuse
// the library. If Go dies of that, the test is skipped.
func inPoorChild(t *testing.T) bool { return inProcess(t, true) }

// limitAddressSpace sets RLIMIT_AS and returns a function that undoes it.
func limitAddressSpace(t *testing.T, bytes uint64) (undo func()) {
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_AS, &before))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: min(bytes, before.Max), Max: before.Max}))
	return func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_AS, &before)) }
}

// Under ulimit -v, Gets fail with errors, and work again when the limit is raised. What the limit
// leaves to the rest of the program is not touched.
func TestAddressSpaceLimit(t *testing.T) {
	t.Parallel()
	const plenty = 1 << 30
	for _, more := range []uint64{0, 1 << 20, 7 << 20, 16 << 20, 70 << 20, 130 << 20, plenty} {
		t.Run(fmt.Sprintf("%d MiB", more>>20), func(t *testing.T) {
			t.Parallel()
			if !inPoorChild(t) {
				return
			}
			settle(t)
			used := addressSpace() + more
			limit := max(used+256<<20, used*8/7)
			undo := limitAddressSpace(t, limit)
			f := newFaults(t)
			f.useMuch(math.MaxInt)
			assert.Greater(t, limit-addressSpace(), uint64(176<<20), "Go may have mapped 64 MiB for its heap")
			undo()
			t.Logf("refused calls %v, operations %v, reserved %d MiB", f.struck, f.errors, ReadMemory().Reserved>>20)
			assert.Equal(t, more == plenty, f.errors[ErrOutOfMemory] == 0)
			assert.Equal(t, more >= 7<<20, ReadMemory().Reserved != 0)

			f = newFaults(t)
			f.useMuch(math.MaxInt)
			assert.Zero(t, f.errors[ErrOutOfMemory])
		})
	}
}

// A process may lower RLIMIT_AS when it has pools already. It can use what it has left to itself.
func TestAddressSpaceLimitLowered(t *testing.T) {
	t.Parallel()
	if !inChild(t) {
		return
	}
	if addressSpace() == 0 {
		t.Skip("needs /proc")
	}
	p := New[[4096]byte]()
	p.Put(p.Get())
	assert.LessOrEqual(t, ReadMemory().Reserved, int64(70<<20))
	assert.Less(t, addressSpace(), uint64(2<<30), "most of it is Go's own")

	undo := limitAddressSpace(t, 4<<30)
	heap := make([][]byte, 512)
	for i := range heap {
		heap[i] = make([]byte, 1<<20)
	}
	var xs []*[4096]byte
	x, err := p.TryGet()
	for ; err == nil && len(xs) < 1<<20; x, err = p.TryGet() {
		xs = append(xs, x)
	}
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.ErrorContains(t, err, "RLIMIT_AS")
	assert.Greater(t, len(xs), 256<<20/4096)
	for range 200 {
		heap = append(heap, make([]byte, 1<<20))
	}
	runtime.KeepAlive(heap)
	undo()
	xs = append(xs, p.Get())
	p.PutBatch(xs)
	assert.NoError(t, p.Close())
}

// crowd makes as many mappings as the process may have, except a few. It returns a function that
// undoes it.
func crowd(t *testing.T, spare int) (leave func()) {
	const most = 100_000
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n > most {
		t.Skipf("a process may have %q mappings, which are too many to make", text)
	}
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 2*most*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	// Every second page is made readable. Each of them is a mapping, and so is the one behind it.
	n := 0
	for ; err == nil; n++ {
		err = unix.Mprotect(mem[(2*n+1)*page:][:page], unix.PROT_READ)
	}
	require.ErrorIs(t, err, unix.ENOMEM)
	for k := range spare {
		require.NoError(t, unix.Mprotect(mem[(2*k+1)*page:][:page], unix.PROT_NONE))
	}
	return func() { require.NoError(t, unix.Munmap(mem)) }
}

// If a process can make hardly any more mappings (vm.max_map_count), Gets fail with errors. They work
// again when it can make more.
func TestMapCountLimit(t *testing.T) {
	t.Parallel()
	for _, spare := range []int{0, 1, 100} { // 1 may be enough, because the system joins mappings
		t.Run(fmt.Sprint(spare), func(t *testing.T) {
			t.Parallel()
			if !inPoorChild(t) {
				return
			}
			settle(t)
			f := newFaults(t)
			leave := crowd(t, spare)
			f.useMuch(smallest())
			leave()
			t.Logf("refused calls %v, operations %v", f.struck, f.errors)
			switch spare {
			case 0:
				assert.Positive(t, f.errors[ErrOutOfMemory])
			case 100:
				assert.Zero(t, f.errors[ErrOutOfMemory])
			}

			f = newFaults(t)
			f.useMuch(smallest())
			assert.Zero(t, f.errors[ErrOutOfMemory])
		})
	}
}
