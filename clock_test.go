package pool

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A clock goes on if it is armed while its last tick is ending.
func TestArmWhileRingEnds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	timer := time.AfterFunc(time.Hour, func() {})
	defer timer.Stop()
	clocks := make([]clock, 40)
	for i := range clocks {
		clocks[i].onTick = func() {}
		clocks[i].timer = timer
	}
	var begun, ended atomic.Int64
	await := func(n *atomic.Int64, round int64) {
		for n.Load() < round {
			runtime.Gosched()
		}
	}
	rounds := int64(times(5000))
	defer begun.Store(rounds) // ends the goroutine if the test has failed
	go func() {
		for round := range rounds {
			await(&begun, round+1)
			for i := range clocks { // from the other end, so that the two meet somewhere
				clocks[len(clocks)-1-i].arm()
			}
			ended.Add(1)
		}
	}()
	for round := range rounds {
		for i := range clocks {
			clocks[i].left.Store(1)
			clocks[i].armed.Store(true)
		}
		begun.Add(1)
		for i := range clocks {
			clocks[i].ring()
		}
		await(&ended, round+1)
		for i := range clocks {
			require.True(t, clocks[i].armed.Load(), "round %d: %d ticks are left, and none is to come", round, clocks[i].left.Load())
		}
	}
}
