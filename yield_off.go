//go:build !(poolyield && linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolunknown)

package pool

import (
	"runtime"
	"sync"
	"time"
)

// yieldPoint is between two steps of an algorithm without lock, where another
// goroutine may come: see yield_on.go.
//
//go:nosplit
func yieldPoint() {}

// A mutex is held across yield points.
type mutex = sync.Mutex

// pause waits for what another goroutine is about to do, for the nth time.
func pause(n int) {
	if n < 100 {
		runtime.Gosched()
	} else {
		time.Sleep(20 * time.Microsecond) // who does it may have lost its processor
	}
}
