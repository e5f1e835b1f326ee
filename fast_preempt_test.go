//go:build linux && (amd64 || arm64) && !race && !asan && !msan && !pooldebug && !poolportable && !poolunknown && !go1.28

package pool

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Loops of Gets and Puts that are inlined into their callers, and call nothing else, on all Ps, let
// the world be stopped. They do so even if the runtime may not preempt them by a signal: get and
// put ask whether it wants to.
func TestPreemptionOfLoops(t *testing.T) {
	for _, async := range []string{"on", "off"} {
		t.Run("asyncpreempt "+async, func(t *testing.T) {
			if os.Getenv(childEnv) != t.Name() && async == "off" {
				t.Setenv("GODEBUG", strings.TrimPrefix(os.Getenv("GODEBUG")+",asyncpreemptoff=1", ","))
			}
			if !inChild(t) {
				return
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
			p := New[[64]byte]()
			require.Equal(t, accessNosplit, p.Stats().Access)
			xs := make([]*[64]byte, 8*p.Stats().SlotsPerPage)
			var end atomic.Bool
			var users group
			pairs, churns := 0, 0
			users.Go(func() {
				for !end.Load() {
					p.Put(p.Get())
					pairs++
				}
			})
			users.Go(func() { // long loops of Gets alone, and of Puts alone
				for !end.Load() {
					for i := range xs {
						xs[i] = p.GetNoZero()
					}
					for _, x := range xs {
						p.Put(x)
					}
					churns++
				}
			})
			for range 2 {
				users.Go(func() {
					for !end.Load() {
						p.Put(p.GetNoZero())
					}
				})
			}
			for range 20 { // without the question, the first does not end if the signal is off
				runtime.Stack(nil, true)
			}
			runtime.GC()
			end.Store(true)
			users.Wait()
			assert.Positive(t, pairs)
			assert.Positive(t, churns)
			require.NoError(t, p.core.checkInvariants())
			require.NoError(t, p.Close())
		})
	}
}

// A long loop of Puts alone, none of which leaves the fast path, lets the world be stopped midway,
// even if the runtime may not preempt it by a signal.
func TestPreemptionOfPuts(t *testing.T) {
	if os.Getenv(childEnv) != t.Name() {
		t.Setenv("GODEBUG", strings.TrimPrefix(os.Getenv("GODEBUG")+",asyncpreemptoff=1", ","))
	}
	if !inChild(t) {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := New[[8]byte]()
	const pages = 64
	perPage := p.Stats().SlotsPerPage
	xs := make([]*[8]byte, pages*perPage)
	for midway, rounds := false, 0; !midway; rounds++ {
		require.Less(t, rounds, 200, "no stop ended before the Puts did")
		var done atomic.Int64
		var putter group
		putter.Go(func() {
			p.GetBatch(xs)
			for i := range perPage { // one of each page in turn, so that no page is empty before the end
				for page := range pages {
					p.Put(xs[page*perPage+i])
					done.Add(1)
				}
			}
		})
		for done.Load() < int64(len(xs)/10) {
			runtime.Gosched()
		}
		runtime.Stack(nil, true)
		midway = done.Load() < int64(len(xs)*9/10)
		putter.Wait()
	}
	require.NoError(t, p.Close())
}

// Many goroutines that exchange slots in a tight loop, some of them locked to their threads, get no
// slot twice, whatever interrupts them: collections, stops of the world, changes of GOMAXPROCS,
// signals that ask for preemption, and those of a profiler.
func TestFastPathIsAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	type object struct {
		user atomic.Uint64
		_    [56]byte
	}
	p := New[object]()
	var table [512]atomic.Pointer[object] // these point to slots, which the garbage collector ignores
	var end atomic.Bool
	var pairs atomic.Int64
	var users, storms group
	for g := range uint64(64) {
		users.Go(func() {
			if g%8 == 0 {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			random := g*0x9e3779b97f4a7c15 + 1
			n := int64(0)
			for ; !end.Load(); n++ {
				x := p.Get()
				if !x.user.CompareAndSwap(0, g+1) {
					t.Errorf("slot %p was handed out twice", x)
					end.Store(true)
				}
				random = random*6364136223846793005 + 1442695040888963407
				if random>>63 != 0 { // straight back
					if x.user.Load() != g+1 {
						t.Errorf("slot %p has another user", x)
						end.Store(true)
					}
					p.Put(x)
					continue
				}
				if old := table[random>>50%512].Swap(x); old != nil {
					if old.user.Swap(0) == 0 {
						t.Errorf("slot %p is not in use", old)
						end.Store(true)
					}
					p.Put(old)
				}
			}
			pairs.Add(n)
		})
	}
	var rounds int
	storms.Go(func() {
		for ; !end.Load(); rounds++ {
			interrupt()
			runtime.Stack(nil, true)
			switch rounds % 64 {
			case 0:
				runtime.GOMAXPROCS([]int{1, 2, 8, 32}[rounds/64%4])
			case 16:
				runtime.GC()
			case 32:
				p.Trim()
			case 48:
				p.Stats()
			}
		}
	})
	<-time.After(stressTime())
	end.Store(true)
	users.Wait()
	storms.Wait()
	for i := range table {
		if x := table[i].Swap(nil); x != nil {
			p.Put(x)
		}
	}
	t.Logf("%d pairs, %d storms", pairs.Load(), rounds)
	assert.Positive(t, pairs.Load())
	require.NoError(t, p.core.checkInvariants())
	require.NoError(t, p.Close())
}
