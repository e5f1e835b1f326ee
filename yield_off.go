//go:build !(poolyield && linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolunknown)

package pool

import (
	"runtime"
	"sync"
	"time"
)

// stepping says that the build explores interleavings.
const stepping = false

// yieldPoint stands between two steps of an algorithm without a lock, where other goroutines may
// come in between: see yield_on.go.
func yieldPoint() {}

// whenCollected is the cleanup of the slots of pg: see yield_on.go.
func whenCollected(pg *page) { pg.collected() }

// A mutex is a lock that may be held across yield points.
type mutex = sync.Mutex

// pause waits for something that another goroutine is about to do, for the nth time.
func pause(n int) {
	if n < 100 || inBubble() { // where time.Sleep does not wait for anybody outside
		runtime.Gosched()
	} else {
		time.Sleep(20 * time.Microsecond) // that goroutine may have lost its processor
	}
}
