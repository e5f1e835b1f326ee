//go:build !race

package pool

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// offHeap says that the memory of pages is not the Go heap's, and that osProtect works.
const offHeap = true

// growSize bounds the regions after the first.
const growSize = 64 << 30

// reserveSizes returns the sizes of address space to ask for, the largest first. Reserved addresses
// count against RLIMIT_AS, and the Go heap needs some too. So a region takes at most a sixteenth of
// the limit, or the smallest size.
func reserveSizes() []uint64 {
	sizes := []uint64{256 << 30, 64 << 30, 8 << 30, 1 << 30, 64 << 20, 4 << 20}
	if bits.UintSize == 32 {
		sizes = []uint64{256 << 20, 64 << 20, 16 << 20, 4 << 20}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur == unix.RLIM_INFINITY {
		return sizes
	}
	for len(sizes) > 1 && sizes[0] > limit.Cur/16 {
		sizes = sizes[1:]
	}
	return sizes
}

// osReserve reserves size bytes of address space without memory behind it. Its start is aligned to
// an OS page, and not to a granule or more.
func osReserve(size uintptr) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err == nil {
		nameMemory(mem)
	}
	return mem, err
}

// nameMemory makes the kernel show mem as [anon:warmpage pool] in /proc/PID/smaps. The kernel can
// do that since Linux 5.17, if it was built with CONFIG_ANON_VMA_NAME. Otherwise the memory has no
// name.
func nameMemory(mem []byte) {
	name, err := unix.BytePtrFromString("warmpage pool")
	if err != nil {
		return
	}
	_ = unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, addressOf(mem), uintptr(len(mem)), address(name))
}

// osCommit makes reserved memory usable. It reads as zero.
func osCommit(mem []byte) error {
	return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
}

// osPurge gives the memory behind mem back to the system, and mem remains usable. It reports
// whether the memory is gone, and whether the next read finds zeroes. Linux promises both for
// private anonymous memory (madvise(2), MADV_DONTNEED).
func osPurge(mem []byte) (gone, zeroed bool) {
	err := unix.Madvise(mem, unix.MADV_DONTNEED)
	return err == nil, err == nil
}

// osProtect makes committed memory inaccessible, or accessible again. The memory keeps its
// contents.
func osProtect(mem []byte, accessible bool) error {
	if accessible {
		return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
	}
	return unix.Mprotect(mem, unix.PROT_NONE)
}
