package pool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// resident returns how many bytes of the arena's regions are in memory, by the
// kernel's count, or 0 where that cannot be told.
func (a *arena) resident() int {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0
	}
	defer f.Close()
	total, in := 0, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			in = false
			for _, r := range a.regions {
				in = in || from-r.base < r.size
			}
		}
		var kib int
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %d kB", &kib); n == 1 && in {
			total += kib << 10
		}
	}
	return total
}

// failing makes those system calls fail for which fail is true ("reserve",
// "commit", "purge"), until the end of the test.
func failing(t testing.TB, fail func(call string) bool) {
	before := system.Load()
	t.Cleanup(func() { system.Store(before) })
	errFault := errors.New("injected fault")
	system.Store(&calls{
		reserve: func(size uintptr) ([]byte, error) {
			if fail("reserve") {
				return nil, errFault
			}
			return osReserve(size)
		},
		commit: func(mem []byte) error {
			if fail("commit") {
				return errFault
			}
			return osCommit(mem)
		},
		purge: func(mem []byte) (gone, zeroed bool) {
			if fail("purge") {
				return false, false
			}
			return osPurge(mem)
		},
		protect: osProtect,
		barrier: osBarrier,
	})
}

// Stats says where slots are and how Get comes by them: some builds differ from the usual one.
func TestStatsOfBuild(t *testing.T) {
	newArena(t)
	p := newStill[[1024]byte](t)
	assert.Equal(t, offHeap, p.Stats().OffHeap)
	assert.Equal(t, access(), p.Stats().Access)
	if debugging {
		return // which keeps slots from use
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	xs := make([]*[1024]byte, 32<<10)
	p.GetBatch(xs)
	runtime.ReadMemStats(&after)
	onHeap := int64(after.HeapAlloc - before.HeapAlloc)
	assert.Equal(t, !p.Stats().OffHeap, onHeap > 16<<20, "%d bytes of 32 MiB are on the heap", onHeap)
	p.PutBatch(xs)
}

func TestReadMemory(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	oneP(t) // a goroutine that moves takes a page more
	a := newArena(t)
	assert.Equal(t, Memory{}, ReadMemory())
	p := newStill[[64]byte](t)
	xs := simBatch(p, 3*p.Stats().SlotsPerPage)
	m := ReadMemory()
	assert.Positive(t, m.Reserved)
	assert.EqualValues(t, 3<<16, m.InUse)
	assert.Equal(t, m.InUse, m.Committed)
	assert.EqualValues(t, 2, m.SystemCalls, "one to reserve, one to commit")
	p.PutBatch(xs)
	assert.Equal(t, m, ReadMemory(), "kept warm")
	for range 3 * windowSole {
		p.core.tick()
	}
	m = ReadMemory()
	assert.EqualValues(t, 3<<16, m.Warm)
	assert.Equal(t, m.Warm, m.Committed)
	a.purge(func(released) bool { return true })
	m = ReadMemory()
	assert.Zero(t, m.Committed)
	assert.EqualValues(t, 3<<16, m.Purged)
	assert.EqualValues(t, 3, m.SystemCalls, "one for three pages that lie together")
	assert.Zero(t, a.resident())
}

// What the system did not take back is used again, is not taken for zero, and
// goes with a later Trim.
func TestFailedPurge(t *testing.T) {
	needsOSMemory(t)
	oneP(t)
	a := newArena(t)
	p := newStill[[64]byte](t)
	churn := func(n int) {
		xs := make([]*[64]byte, n)
		for k := range xs {
			x, err := p.TryGet()
			require.NoError(t, err)
			require.Equal(t, [64]byte{}, *x)
			*x = [64]byte{1, 2, 3}
			xs[k] = x
		}
		p.PutBatch(xs)
	}
	churn(5000)
	fail := true
	failing(t, func(call string) bool { return call == "purge" && fail })
	assert.Zero(t, p.Trim())
	m := ReadMemory()
	assert.Positive(t, m.Warm)
	assert.Zero(t, m.Purged)
	churn(5000)
	assert.Zero(t, ReadMemory().Warm, "the same memory")
	assert.Equal(t, m.Warm, ReadMemory().InUse)
	assert.Zero(t, p.Trim())

	fail = false
	assert.Equal(t, m.Warm, p.Trim(), "what an earlier Trim could not give back")
	assert.Zero(t, ReadMemory().Committed)
	assert.Zero(t, a.resident())
	assert.Zero(t, p.Trim())
	churn(5000)
}

// A call of the system that fails, whichever it is, makes for an error, and for
// nothing else.
func TestFailedCalls(t *testing.T) {
	for _, call := range []string{"reserve", "commit"} {
		newArena(t)
		fail := true
		failing(t, func(c string) bool { return c == call && fail })
		p := newStill[[64]byte](t, WithName("orders"))
		for range 3 {
			_, err := p.TryGet()
			require.ErrorIs(t, err, ErrOutOfMemory)
			require.ErrorContains(t, err, `pool "orders"`)
			requirePanic(t, ErrOutOfMemory, func() { p.Get() })
			xs := make([]*[64]byte, 100)
			requirePanic(t, ErrOutOfMemory, func() { p.GetBatch(xs) })
			require.NoError(t, p.core.checkInvariants())
		}
		assert.Zero(t, ReadMemory().Committed)
		fail = false
		xs := simBatch(p, 3000)
		fail = true
		xs = append(xs, p.Get()) // of memory that is there
		p.PutBatch(xs)
		p.Trim()
		assert.Zero(t, p.Stats().Live)
	}
}

// Pools that come and go leave no memory and no address space behind.
func TestManyPools(t *testing.T) {
	newArena(t)
	var early Memory
	for i := range times(2000) {
		p := New[[64]byte]()
		xs := simBatch(p, 3000)
		p.PutBatch(xs)
		require.NoError(t, p.Close())
		if i == 10 {
			early = ReadMemory()
		}
	}
	late := ReadMemory()
	assert.Positive(t, early.Reserved)
	assert.Equal(t, early.Reserved, late.Reserved)
	assert.LessOrEqual(t, late.Committed, early.Committed+4<<16)
	assert.Zero(t, late.InUse)
}

// What Ps have that are no more, because GOMAXPROCS went down, is used by those
// that are left, and released in its time.
func TestLowerGOMAXPROCS(t *testing.T) {
	skipUnlessPinned(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	p := newStill[[64]byte](t)
	all := make(chan []*[64]byte, 4)
	for range 4 {
		go func() { all <- simBatch(p, 3*p.Stats().SlotsPerPage) }()
	}
	var xs []*[64]byte
	for range 4 {
		xs = append(xs, <-all...)
	}
	p.PutBatch(xs[:len(xs)/2])
	runtime.GOMAXPROCS(1)
	for range 3 {
		p.core.tick() // by the timer, when a page is taken
	}
	pages := p.Stats().Pages
	again := simBatch(p, len(xs)/2)
	assert.LessOrEqual(t, p.Stats().Pages, pages+2, "what was free is used again")
	p.PutBatch(again)
	p.PutBatch(xs[len(xs)/2:])
	for range 3 * windowSole {
		p.core.tick()
	}
	assert.Zero(t, p.Stats().Pages)
}

// Where the kernel can, it shows whose memory this is.
func TestMemoryName(t *testing.T) {
	newArena(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("needs Linux: ", err)
	}
	if !strings.Contains(string(smaps), "[anon:") {
		t.Skip("this kernel names no memory (CONFIG_ANON_VMA_NAME)")
	}
	assert.Contains(t, string(smaps), "[anon:warmpage pool]")
}
