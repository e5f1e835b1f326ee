package pool

import "unsafe"

// pointerAt returns an address as a pointer, for calls that get any address at all.
//
//go:nocheckptr
//go:noinline
func pointerAt(addr uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), addr) }
