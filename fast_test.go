package pool

import "unsafe"

// pointerAt returns an address as a pointer, for calls that get any address at all.
func pointerAt(addr uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), addr) }
