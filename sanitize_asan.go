//go:build asan

package pool

// #include <sanitizer/asan_interface.h>
import "C"

import "unsafe"

// With the address sanitizer, a slot that is not in use is poisoned: an access ends the program
// with a report. Go has no function for that. But -asan needs cgo in any case, so this calls the
// sanitizer's own interface.

const asanEnabled = true

// asanGot makes memory accessible.
func asanGot(x unsafe.Pointer, size int) { C.__asan_unpoison_memory_region(x, C.size_t(size)) }

// asanPut makes memory inaccessible.
func asanPut(x unsafe.Pointer, size int) { C.__asan_poison_memory_region(x, C.size_t(size)) }
