package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// makers are calls that New and NewBytes of the pool package accept or refuse. Poolvet reports what
// they refuse, and nothing else.
var makers = []string{
	"pool.New[int]()",
	"pool.New[string]()",
	"pool.New[string](pool.WithGoHeap())",
	"pool.New[[0]string]()",
	"pool.New[struct{}](pool.WithGoHeap())",
	"pool.New[struct{ _ [0]*int; n int }]()",
	"pool.New[struct{ a [2]struct{ f func() } }]()",
	"pool.New[sync.Mutex]()",
	"pool.New[atomic.Int64]()",
	"pool.New[atomic.Pointer[int]]()",
	"pool.New[time.Time]()",
	"pool.New[unsafe.Pointer]()",
	"pool.New[uintptr]()",
	"pool.New[pool.Ref[int]]()",
	"pool.New[[64 << 20]byte]()",
	"pool.New[[64<<20 + 1]byte]()",
	"pool.New[int](nil)",
	"pool.New[int](pool.WithLimit(-1))",
	"pool.New[int](pool.WithLimit(0))",
	"pool.New[int](pool.WithLimit(1))",
	"pool.New[int](pool.WithLimit(64 << 10))",
	"pool.New[int](pool.WithGoHeap(), pool.WithLimit(8 << 10))",
	"pool.New[int](pool.WithGoHeap(), pool.WithMaxSlots(1), pool.WithLimit(8 << 10))",
	"pool.New[int](pool.WithGoHeap(), pool.WithLimit(8<<10 - 1))",
	"pool.New[[1 << 20]byte](pool.WithLimit(1<<20 - 1))",
	"pool.New[[1 << 20]byte](pool.WithGoHeap(), pool.WithLimit(1 << 20))",
	"pool.New[int](pool.WithLimit(-1), pool.WithLimit(0))",
	"pool.New[int](pool.WithMaxSlots(-1))",
	"pool.New[int](pool.WithMaxSlots(0))",
	"pool.New[int](pool.WithWarmPages(-1))",
	"pool.New[int](pool.WithWarmSlots(-1))",
	"pool.New[int](pool.WithProfile(-1))",
	"pool.New[int](pool.WithGuardSampling(-1))",
	"pool.New[int](pool.WithAlign(0))",
	"pool.New[int](pool.WithAlign(24))",
	"pool.New[int](pool.WithAlign(4096))",
	"pool.New[int](pool.WithAlign(8192))",
	"pool.New[int](pool.WithOffHeap())",
	"pool.New[int](pool.WithInit[int](nil))",
	"pool.New[int](pool.WithInit(func(*int) {}))",
	"pool.New[int](pool.WithInit(func(*uint) {}))",
	"pool.New[int](pool.WithReset(func(*int) {}))",
	"pool.New[int](pool.WithReset(func(*string) {}))",
	"pool.New[string](pool.WithInit(func(*string) {}))",
	"pool.NewBytes()",
	"pool.NewBytes(pool.WithGoHeap())",
	"pool.NewBytes(pool.WithOffHeap())",
	"pool.NewBytes(pool.WithOffHeap(), pool.WithGoHeap())",
	"pool.NewBytes(pool.WithLimit(-1))",
	"pool.NewBytes(pool.WithLimit(1))",
	"pool.NewBytes(pool.WithWarmPages(1))",
	"pool.NewBytes(pool.WithWarmSlots(1))",
	"pool.NewBytes(pool.WithMaxSlots(1))",
	"pool.NewBytes(pool.WithMaxSlots(0))",
	"pool.NewBytes(pool.WithAlign(8))",
	"pool.NewBytes(pool.WithInit(func(*int) {}))",
	"pool.NewBytes(pool.WithReset(func(*int) {}))",
}

const callsBefore = `package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
)

var _ = fmt.Sprint(sync.Mutex{}, atomic.Int64{}, time.Time{}, unsafe.Pointer(nil))

var calls = []func(){
`

const tryAll = `package main

func fails(f func()) (failed bool) {
	defer func() { failed = recover() != nil }()
	f()
	return false
}

func main() {
	for i, f := range calls {
		if fails(f) {
			println(i)
		}
	}
}
`

func TestRefusalsAreThoseOfNew(t *testing.T) {
	var b strings.Builder
	b.WriteString(callsBefore)
	for _, call := range makers {
		fmt.Fprintf(&b, "\tfunc() { %s },\n", call)
	}
	b.WriteString("}\n")
	dir := moduleOf(t, map[string]string{"calls.go": b.String(), "main.go": tryAll})
	refused := "\n" + goCommand(t, dir, "run", ".")
	reported := output(t, exitMistakes, dir)
	line := strings.Count(callsBefore, "\n") + 1
	for i, call := range makers {
		want := strings.Contains(refused, fmt.Sprintf("\n%d\n", i))
		got := strings.Contains(reported, fmt.Sprintf("calls.go:%d: ", line+i))
		assert.Equal(t, want, got, call)
	}
	require.Greater(t, strings.Count(refused, "\n"), 20)
}
