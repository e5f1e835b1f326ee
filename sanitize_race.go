//go:build race

package pool

import (
	"runtime"
	"unsafe"
)

// With the race detector, slots come from the Go heap (os_other.go), because it ignores other
// memory. Shards are under locks (own_lock.go), because it takes plain data guarded by a pin for a
// race. So it sees what a program does with its slots. Get and Put count as writes to the whole
// slot. A use that nothing orders before the Put, or after the Get, is therefore reported even if
// no two users of the slot ever meet.
//
// The locks order more than a Put and the Get that follows it: they order any two uses of a pool
// that get the same shard. A race that such a lock happens to order is not reported.

const raceEnabled = true

// raceGot notes that a slot is handed out to the caller.
func raceGot(x unsafe.Pointer, size int) {
	runtime.RaceAcquire(x)
	runtime.RaceWriteRange(x, size)
}

// racePut notes that the caller puts a slot.
func racePut(x unsafe.Pointer, size int) {
	runtime.RaceWriteRange(x, size)
	runtime.RaceReleaseMerge(x)
}
