//go:build !asan

package pool

import "unsafe"

// asanEnabled says that the address sanitizer watches: see sanitize_asan.go.
const asanEnabled = false

func asanGot(unsafe.Pointer, int) {}
func asanPut(unsafe.Pointer, int) {}
