//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && linux && (amd64 || arm64) && (go1.28 || poolunknown)

package pool

import (
	"runtime"
	"sync"
)

// A release of Go for which nobody has checked own_nosplit.go. procPin, which the runtime promises
// to keep, is used if the system has a barrier; otherwise shards are under locks.

// pinned says that a shard is got by pinning, not by locking. It is set before any pool exists.
var pinned bool

var pinnedOnce sync.Once

// initOwn prepares what the first pool needs.
func initOwn() { pinnedOnce.Do(func() { pinned = system.Load().barrier() }) }

// stopWorld is for a system that refuses barriers after a time. A collection of garbage takes every
// P to a point at which nothing is pinned, in any release; it is slow.
func stopWorld() { runtime.GC() }

// There is no layout to check, and there are no fast paths to turn off.
func checkLayoutHere() bool { return true }
func turnFastOff()          {}
