//go:build race || (!linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows)

package pool

import "errors"

// This is for systems for which nobody has written reserve, commit and purge yet, and for builds
// with the race detector, which looks only at Go's memory. Here memory comes from the Go heap, in
// large pieces that are kept for good. The pool works in the same way, but its memory counts in the
// Go heap's size, and purging returns nothing.

// offHeap says that the memory of pages is not the Go heap's, and that osProtect works.
const offHeap = false

func osReserve(size uintptr) ([]byte, error) { return make([]byte, size), nil }

func osCommit([]byte) error { return nil }

func osPurge([]byte) (gone, zeroed, lost bool) { return false, false, false }

func osProtect([]byte, bool) error { return errors.ErrUnsupported }
