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

// addressSpace returns how many bytes of address space the process has.
func addressSpace(t *testing.T) uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	require.NoError(t, err)
	return pages * uint64(os.Getpagesize())
}

// Under ulimit -v, Gets fail with errors, and work again when the limit is raised.
func TestAddressSpaceLimit(t *testing.T) {
	const plenty = 1 << 30
	for _, more := range []uint64{0, 1 << 20, 5 << 20, 16 << 20, 70 << 20, 130 << 20, plenty} {
		t.Run(fmt.Sprintf("%d MiB", more>>20), func(t *testing.T) {
			t.Parallel()
			if !inChild(t) {
				return
			}
			settle(t)
			var before unix.Rlimit
			require.NoError(t, unix.Getrlimit(unix.RLIMIT_AS, &before))
			limit := unix.Rlimit{Cur: min(addressSpace(t)+more, before.Max), Max: before.Max}
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_AS, &limit))
			f := newFaults(t)
			f.useMuch(math.MaxInt)
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_AS, &before))
			t.Logf("refused calls %v, operations %v, reserved %d MiB", f.struck, f.errors, ReadMemory().Reserved>>20)
			assert.Equal(t, more == plenty, f.errors[ErrOutOfMemory] == 0)
			assert.Equal(t, more >= 5<<20, ReadMemory().Reserved != 0)

			f = newFaults(t)
			f.useMuch(math.MaxInt)
			assert.Zero(t, f.errors[ErrOutOfMemory])
		})
	}
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
	for _, spare := range []int{0, 1, 100} { // 1 may be enough, because the system joins mappings
		t.Run(fmt.Sprint(spare), func(t *testing.T) {
			t.Parallel()
			if !inChild(t) {
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
