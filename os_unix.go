//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !race

package pool

import "golang.org/x/sys/unix"

// offHeap says that the memory of pages is not the Go heap's, and that osProtect works.
const offHeap = true

// osReserve reserves size bytes of address space without memory behind it.
func osReserve(size uintptr) ([]byte, error) {
	return unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// osCommit makes reserved memory usable. It reads as zero.
func osCommit(mem []byte) error {
	return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
}

// osPurge gives the memory behind mem back to the system, and mem remains usable. It maps new
// anonymous memory in its place, which is promised to be zero. (MADV_FREE, which madvise offers
// here, promises neither that the memory goes now nor what is read there until it goes.) If that
// fails, mem is as it was.
func osPurge(mem []byte) (gone, zeroed bool) {
	_, err := unix.MmapPtr(-1, 0, startOf(mem), uintptr(len(mem)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED)
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
