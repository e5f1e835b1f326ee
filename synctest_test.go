//go:build go1.25

package pool

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bubble runs f in a bubble, and lets an hour pass there.
func bubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		assert.True(t, inBubble())
		f(t)
		time.Sleep(time.Hour)
	})
	assert.False(t, inBubble())
}

// fillAndDrain has p take some pages into use, and leaves them empty.
func fillAndDrain(p *Pool[[1000]byte]) {
	var xs [300]*[1000]byte
	for i := range xs {
		xs[i] = p.Get()
	}
	for _, x := range xs {
		p.Put(x)
	}
}

// givesBack waits until p has given back all memory. Meanwhile nobody calls Get or Put.
func givesBack(t *testing.T, p *Pool[[1000]byte], step func()) {
	if debugging {
		return // the quarantine has slots
	}
	for until := time.Now().Add(20 * time.Second); p.Stats().Pages > 0 || offHeap && p.Stats().PurgedBytes == 0; step() {
		require.True(t, time.Now().Before(until), "nothing comes back: %+v", p.Stats())
	}
}

// nap lets time pass for givesBack: what time releases comes back after some ticks.
func nap() { time.Sleep(10 * time.Millisecond) }

// Pools may be made, used, closed and left over in a bubble of testing/synctest, and used inside and
// outside in turn. Outside, memory goes back by time as if there had been no bubble.
func TestSynctest(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Parallel()
	}
	for name, test := range map[string]func(t *testing.T){
		"made, used and closed inside": func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := New[[1000]byte]()
				fillAndDrain(p)
				require.NoError(t, p.Close())
			})
			p := New[[1000]byte]()
			fillAndDrain(p)
			givesBack(t, p, nap)
		},
		"made outside, used inside": func(t *testing.T) {
			p := New[[1000]byte]()
			bubble(t, func(t *testing.T) { fillAndDrain(p) })
			fillAndDrain(p)
			givesBack(t, p, nap)
		},
		"made inside, used outside": func(t *testing.T) {
			var p *Pool[[1000]byte]
			bubble(t, func(t *testing.T) { p = New[[1000]byte]() })
			fillAndDrain(p)
			givesBack(t, p, nap)
		},
		"used inside, and then nowhere": func(t *testing.T) {
			p := New[[1000]byte]()
			bubble(t, func(t *testing.T) { fillAndDrain(p) })
			runtime.GC()
			givesBack(t, p, nap)
		},
		"left over inside": func(t *testing.T) {
			for range 3 {
				bubble(t, func(t *testing.T) { fillAndDrain(New[[1000]byte]()) })
				runtime.GC()
			}
			p := New[[1000]byte]()
			fillAndDrain(p)
			givesBack(t, p, nap)
		},
		"inside and outside in turn": func(t *testing.T) {
			p := New[[1000]byte]()
			for range 3 {
				fillAndDrain(p)
				bubble(t, func(t *testing.T) { fillAndDrain(p) })
				givesBack(t, p, nap)
			}
		},
		"inside while the clock runs outside": func(t *testing.T) {
			p, q := New[[1000]byte](), New[[1000]byte]()
			end := make(chan bool)
			go func() {
				defer close(end)
				for begun := time.Now(); time.Since(begun) < 10*tickPeriod; {
					q.Put(q.Get())
				}
			}()
			for range 50 {
				bubble(t, func(t *testing.T) {
					for range 4 {
						go fillAndDrain(p)
					}
					synctest.Wait()
				})
			}
			<-end
			givesBack(t, p, nap)
		},
		"at limits inside": func(t *testing.T) {
			needsOSMemory(t)
			bubble(t, func(t *testing.T) {
				p := New[[1000]byte](WithLimit(2 << 16))
				xs := fillUp(t, p)
				p.PutBatch(xs)
				require.Len(t, fillUp(t, p), len(xs))
				p.PutBatch(xs)
				SetProcessLimit(ReadMemory().Committed)
				p.Trim()
				q := New[[2000]byte]()
				q.Put(q.Get())
			})
			SetProcessLimit(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(childEnv) == "" {
				t.Parallel() // each of them mostly waits
			}
			if inChild(t) {
				test(t)
			}
		})
	}
}

// The same in this process, if the clock stands still: a collection sets the timer.
func TestBubbleWaitsForCollection(t *testing.T) {
	if !undisturbed(t) {
		return
	}
	p := New[[1000]byte]()
	for until := time.Now().Add(3 * time.Second); theClock.running.Load() && time.Now().Before(until); {
		nap()
	}
	bubble(t, func(t *testing.T) { fillAndDrain(p) })
	runtime.GC()
	givesBack(t, p, nap)
	require.NoError(t, p.Close())
}

// Each time.
func TestBubblesWaitForCollections(t *testing.T) {
	var hasWork atomic.Bool
	k := new(clock)
	k.init(func() {}, hasWork.Load)
	await := func(running bool) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); k.running.Load() != running; {
			require.True(t, time.Now().Before(until))
			runtime.GC()
			nap()
		}
	}
	for range 2 {
		hasWork.Store(true)
		bubble(t, func(*testing.T) { k.wake() })
		assert.False(t, k.running.Load(), "not in a bubble")
		await(true)
		hasWork.Store(false)
		await(false)
	}
}
