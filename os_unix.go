//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !race

package pool

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

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
// here, promises neither that the memory goes now nor what is read there until it goes.)
//
// If that fails, POSIX leaves open whether the old memory is still there, and if it is not, anybody's
// next mmap may get its addresses, Go's heap's for example. So the system is first asked for as much
// memory elsewhere: where it refuses that, nothing has happened to mem. If it fails all the same, and
// the place is free, new memory is put there. Otherwise mem is lost: what is there is not known to be
// the pool's.
func osPurge(mem []byte) (gone, zeroed, lost bool) {
	size := uintptr(len(mem))
	ask := func(at unsafe.Pointer, flags int) (unsafe.Pointer, error) {
		return unix.MmapPtr(-1, 0, at, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|flags)
	}
	got, err := ask(nil, 0)
	if err != nil {
		return false, false, false
	}
	_ = unix.MunmapPtr(got, size)
	if _, err = ask(startOf(mem), unix.MAP_FIXED); err == nil {
		return true, true, false
	}
	if got, err = ask(startOf(mem), 0); err != nil {
		return false, false, true
	}
	if got == startOf(mem) {
		return true, true, false
	}
	_ = unix.MunmapPtr(got, size)
	return false, false, true
}

// osProtect makes committed memory inaccessible, or accessible again. The memory keeps its
// contents.
func osProtect(mem []byte, accessible bool) error {
	if accessible {
		return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
	}
	return unix.Mprotect(mem, unix.PROT_NONE)
}
