//go:build !race

package pool

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// offHeap says that the memory of pages is not the Go heap's, and that osProtect works.
const offHeap = true

// osReserve reserves size bytes of address space without memory behind it. Its start is aligned to
// an OS page, and not to more.
//
// The kernel puts no huge pages there, even if it is told to put them everywhere (transparent huge
// pages, "always"): it would fill 2 MiB for one object, and fill again what was purged between
// pages in use. See docs/performance.md. A refusal is ignored.
func osReserve(size uintptr) ([]byte, error) {
	if size > smallestRegion && uint64(size) > room() { // what a region needs besides is small
		return nil, errNoRoom
	}
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err == nil {
		nameMemory(mem)
		_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	}
	return mem, err
}

var errNoRoom = errors.New("the limit of address space (RLIMIT_AS, ulimit -v) leaves no room for it")

// room returns how many bytes of address space may be reserved. Reserved addresses count against
// RLIMIT_AS, which a program may lower at any time, and the Go heap and threads need some, too. So a
// quarter of a GiB, or an eighth of the limit if that is more, is left to them. If the system
// does not say how much is used, no region is larger than a chunk, which the largest page takes.
func room() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur >= math.MaxInt64 {
		return math.MaxUint64
	}
	used := addressSpace()
	if used == 0 {
		return chunkSize + tableStep
	}
	left := limit.Cur - min(limit.Cur, max(limit.Cur/8, 256<<20))
	return left - min(left, used)
}

// addressSpace returns how many bytes of address space the process has, or 0 if the system does not
// say.
func addressSpace() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(statm, []byte(" "))
	pages, _ := strconv.ParseUint(string(first), 10, 64)
	return pages * uint64(os.Getpagesize())
}

// nameMemory makes the kernel show mem as [anon:warmpage pool] in /proc/PID/smaps. The kernel can
// do that since Linux 5.17, if it was built with CONFIG_ANON_VMA_NAME. Otherwise, or in a sandbox
// that forbids prctl(2), the memory has no name.
func nameMemory(mem []byte) {
	_ = unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, addressOf(mem), uintptr(len(mem)), address(&memoryName))
}

// memoryName ends with a zero byte, as the kernel wants it. It is a variable of the package, because
// nothing keeps alive and in place what a number points to, except for such variables.
var memoryName = [...]byte{'w', 'a', 'r', 'm', 'p', 'a', 'g', 'e', ' ', 'p', 'o', 'o', 'l', 0}

// osCommit makes reserved memory usable. It reads as zero.
func osCommit(mem []byte) error {
	return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
}

// osPurge gives the memory behind mem back to the system, and mem remains usable. It reports
// whether the memory is gone, and whether the next read finds zeroes. Linux promises both for
// private anonymous memory (madvise(2), MADV_DONTNEED). It refuses locked memory (mlock(2)). A call
// that fails may have done its work for a part of mem.
func osPurge(mem []byte) (gone, zeroed, lost bool) {
	err := unix.Madvise(mem, unix.MADV_DONTNEED)
	return err == nil, err == nil, false
}

// osProtect makes committed memory inaccessible, or accessible again. The memory keeps its
// contents.
func osProtect(mem []byte, accessible bool) error {
	if accessible {
		return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
	}
	return unix.Mprotect(mem, unix.PROT_NONE)
}
