//go:build asan

package pool

// #include <stdint.h>
// #include <sanitizer/asan_interface.h>
//
// // Numbers, because Go checks what a pointer that is passed to C leads to.
// static void unpoison(uintptr_t x, size_t n) { __asan_unpoison_memory_region((void *)x, n); }
// static void poison(uintptr_t x, size_t n) { __asan_poison_memory_region((void *)x, n); }
import "C"

import "unsafe"

// With the address sanitizer, a slot that is not in use is poisoned: an access ends the program
// with a report. Go has no function for that. But -asan needs cgo in any case, so this calls the
// sanitizer's own interface.

const asanEnabled = true

// asanGot makes memory accessible.
func asanGot(x unsafe.Pointer, size int) { C.unpoison(C.uintptr_t(uintptr(x)), C.size_t(size)) }

// asanPut makes memory inaccessible.
func asanPut(x unsafe.Pointer, size int) { C.poison(C.uintptr_t(uintptr(x)), C.size_t(size)) }
