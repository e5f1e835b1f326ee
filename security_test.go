package pool

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each promise in SECURITY.md names the tests that hold it. Each row of its table does, too.
func TestSecurityNamesItsTests(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Skip("the document is not here: ", err)
	}
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	exists := make(map[string]bool)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllSubmatch(source, -1) {
			exists[string(f[1])] = true
		}
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	claims := regexp.MustCompile(`(?m)^(- .*(\n  .*)*|\| [^|]+ \| .*)$`).FindAllString(string(page), -1)
	assert.Greater(t, len(claims), 25)
	for _, claim := range claims {
		tests := named.FindAllStringSubmatch(claim, -1)
		assert.NotEmpty(t, tests, "no test holds this: %s", claim)
		for _, test := range tests {
			assert.True(t, exists[test[1]], "there is no %s, which is to hold this: %s", test[1], claim)
		}
	}
	assert.Len(t, claims, strings.Count(string(page), "\n- ")+6, "bullets, and rows of the table")
}

// What Go does with its own objects it refuses to do with slots.
func TestSlotsAreNotGoObjects(t *testing.T) {
	needsOSMemory(t)
	for name, use := range map[string]func(x *quote){
		"runtime.AddCleanup":   func(x *quote) { runtime.AddCleanup(x, func(int) {}, 0) },
		"runtime.SetFinalizer": func(x *quote) { runtime.SetFinalizer(x, func(*quote) {}) },
		"weak.Make":            func(x *quote) { weak.Make(x) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getenv(childEnv) == t.Name() {
				use(New[quote]().Get())
				return
			}
			_, stderr, code := runSelf(t, childEnv+"="+t.Name(), "-test.run=^TestSlotsAreNotGoObjects$/^"+name+"$")
			assert.NotZero(t, code)
			assert.Regexp(t, `^(fatal error|panic|runtime):`, stderr)
		})
	}
}

// A pointer that a program has kept reads something, whatever has become of its slot.
func TestStalePointersDoNotFault(t *testing.T) {
	needsOSMemory(t)
	noQuarantine(t)
	a := newArena(t)
	p, q := New[[4096]byte](), New[[4096]byte]()
	t.Cleanup(stopClock())
	xs := simBatch(p, 100)
	for i := range xs {
		xs[i][4095] = 1
	}
	p.PutBatch(xs)
	read := func() (n int) {
		for _, x := range xs {
			n += int(x[4095])
		}
		return n
	}
	assert.GreaterOrEqual(t, read(), 100, "free") // more in the debug build, which writes there
	p.Trim()
	a.purge(func(released) bool { return true })
	assert.GreaterOrEqual(t, read(), 0, "purged")
	ys := simBatch(q, 100)
	for i := range ys {
		ys[i][4095] = 2
	}
	assert.Equal(t, 200, read(), "another pool's")
	q.PutBatch(ys)
	require.NoError(t, p.Close())
	require.NoError(t, q.Close())
	a.purge(func(released) bool { return true })
	assert.GreaterOrEqual(t, read(), 0, "closed")
}

// weakly returns weak pointers to xs.
func weakly(xs []*heapNode) (slots []weak.Pointer[heapNode]) {
	for _, x := range xs {
		slots = append(slots, weak.Make(x))
	}
	return slots
}

// present returns the slots that the collector has not taken.
func present(slots []weak.Pointer[heapNode]) map[*heapNode]bool {
	there := make(map[*heapNode]bool)
	for _, x := range slots {
		if x := x.Value(); x != nil {
			there[x] = true
		}
	}
	return there
}

// A pointer to a slot on the Go heap that a program keeps after its Put keeps the page, also from
// other pools. It keeps no more than that, although the program has the closed pool as well.
func TestGoHeapStalePointerKeepsItsPage(t *testing.T) {
	noQuarantine(t)
	p := New[heapNode](WithGoHeap())
	xs := simBatch(p, 2000)
	slots := weakly(xs)
	stale := xs[1000]
	p.PutBatch(xs)
	clear(xs)
	require.NoError(t, p.Close())
	var there map[*heapNode]bool
	gcUntil(t, func() bool {
		there = present(slots)
		return len(there) <= p.Stats().SlotsPerPage
	})
	assert.Greater(t, len(there), 1)
	assert.True(t, there[stale])
	q := New[heapNode](WithGoHeap())
	xs = simBatch(q, 20_000)
	for _, x := range xs {
		if there[x] {
			t.Fatal("a slot of the other pool")
		}
	}
	q.PutBatch(xs)
	require.NoError(t, q.Close())
	runtime.KeepAlive(stale)
}

// Trim leaves no page on the Go heap to a pool that has no slot out.
func TestGoHeapTrimLeavesNothing(t *testing.T) {
	noQuarantine(t)
	p := New[heapNode](WithGoHeap())
	defer p.Close()
	xs := simBatch(p, 2000)
	slots := weakly(xs)
	p.PutBatch(xs)
	clear(xs)
	p.Trim()
	runtime.GC()
	assert.Empty(t, present(slots))
}
