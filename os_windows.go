//go:build !race

package pool

import "golang.org/x/sys/windows"

// offHeap says that the memory of pages is not the Go heap's, and that osProtect works.
const offHeap = true

// osReserve reserves size bytes of address space without memory behind it.
func osReserve(size uintptr) ([]byte, error) {
	addr, err := windows.VirtualAlloc(0, size, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if err != nil {
		return nil, err
	}
	return memoryAt(addr, size), nil
}

// osCommit makes reserved memory usable. It reads as zero.
func osCommit(mem []byte) error {
	_, err := windows.VirtualAlloc(addressOf(mem), uintptr(len(mem)), windows.MEM_COMMIT, windows.PAGE_READWRITE)
	return err
}

// osPurge gives the memory behind mem back to the system, and mem remains usable. It tells Windows
// that the contents are of no interest, and then takes the memory out of the working set. (That is
// what VirtualUnlock does with memory that is not locked, besides reporting an error.) What is read
// there afterwards is not promised. (Decommitting the memory would promise zeroes. But committing
// it again can fail, and would leave addresses that fault.)
func osPurge(mem []byte) (gone, zeroed, lost bool) {
	if _, err := windows.VirtualAlloc(addressOf(mem), uintptr(len(mem)), windows.MEM_RESET, windows.PAGE_READWRITE); err != nil {
		return false, false, false
	}
	_ = windows.VirtualUnlock(addressOf(mem), uintptr(len(mem)))
	return true, false, false
}

// osProtect makes committed memory inaccessible, or accessible again. The memory keeps its
// contents.
func osProtect(mem []byte, accessible bool) error {
	protection := uint32(windows.PAGE_NOACCESS)
	if accessible {
		protection = windows.PAGE_READWRITE
	}
	return windows.VirtualProtect(addressOf(mem), uintptr(len(mem)), protection, &protection)
}
