//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && !go1.28 && !poolunknown && ((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"unsafe"
)

// How a goroutine gets a shard to itself: by not being preempted.
//
// The compiler marks every instruction of a nosplit function behind its prologue as one at which
// the runtime must not preempt (IsUnsafe in cmd/compile/internal/liveness; isAsyncSafePoint in
// runtime/preempt.go refuses there), and such a function has no stack check, which is the other
// place where a goroutine yields. So from getm to the store that clears busy, in core.get and
// core.put, the goroutine stays on its P, the P stays with its thread, and no stop of the world
// completes. That is what procPin gives too, for two calls and two updates of a counter more.
//
// The P is found through the runtime's m: getm returns it in two instructions, and m.p is a fixed
// place in it for each release (own_layout_*.go).
//
// The rules, held by tests (docs/runtime.md has the list):
//
//  1. get and put are nosplit and noinline: inlined into an ordinary function they would lose the
//     property. They are nocheckptr, so that -d=checkptr adds no calls.
//  2. Between getm and the store that clears busy they call nothing, in no build. A function that
//     is called has a prologue, which is not marked, even if it is nosplit; and what is inlined as
//     a rule is not with -l. So the steps are written out in them, on plain fields with functions
//     such as atomic.LoadUint32, which the compiler always replaces by instructions. (It calls the
//     write barrier, which is the runtime's and no preemption point; and it writes calls for an
//     index out of bounds, which cannot happen.)
//  3. What they leave for is noinline. Otherwise a profile can inline slow code into them, and the
//     program does not link, because a nosplit function may not have a large frame.
//  4. They clear busy before they leave, and the slow path gets a shard anew. While busy is set
//     they allocate nothing, block on nothing, make no system call, and do not panic.
//  5. The layout is checked at run time before it is trusted: see checkLayout.
//  6. They leave when stackguard0 says that the scheduler wants the goroutine to yield. A loop of
//     Gets and Puts hardly has an instruction at which it can be preempted, and would delay the
//     garbage collector by milliseconds. (p.preempt would take an instruction less, but is not set
//     with GODEBUG=asyncpreemptoff=1.)
//
// What the owner of a shard writes is published as under a pin: see own_pin.go, which also has the
// other side, seize.

// fastBuild says that this build has the fast paths.
const fastBuild = true

// pinned says that a shard is got by pinning, not by locking.
const pinned = true

// initOwn prepares what the first pool needs. Where there is no barrier, the world is stopped
// instead.
func initOwn() {
	system.Load().barrier() // the first call prepares the others
	initFast()
}

// An mLayout is the part of the runtime's m that the fast paths read.
type mLayout struct {
	_    [mCurg]byte
	curg *gLayout
	_    [mP - mCurg - unsafe.Sizeof(uintptr(0))]byte
	p    *pLayout
}

// A gLayout is the beginning of the runtime's g.
type gLayout struct {
	stackLo, stackHi uintptr
	stackguard0      uintptr
}

// A pLayout is the beginning of the runtime's p.
type pLayout struct {
	id     uint32
	status uint32
}

// stackPreempt is what the scheduler stores in stackguard0 if it wants the goroutine to yield, so
// that the prologue of the next ordinary function does (stackPreempt in runtime/stack.go).
const stackPreempt = ^uintptr(0) - 1313 // 0xfffffffffffffade

// storesInOrder says that the processor does not reorder a store with the loads and stores before
// it.
const storesInOrder = runtime.GOARCH == "amd64"

// store publishes t, unless the fast paths are off. turnFastOff sets fastOff and then clears all
// tables, and this is the other way round: one of the two clears this one last. core.stopMu is held,
// or nobody else knows of the pool yet.
func (f *fastTable) store(t *shardTable) {
	if fastOff.Load() {
		return
	}
	for i, s := range t.shards[:min(len(t.shards), len(f.few))] {
		storePointer(&f.few[i], s)
	}
	storePointer(&f.rest, t)
	if fastOff.Load() {
		f.clear()
	}
}

// clear turns the fast paths of a pool off.
func (f *fastTable) clear() {
	for i := range f.few {
		storePointer(&f.few[i], nil)
	}
	storePointer(&f.rest, nil)
}

// storePointer publishes what p points to.
func storePointer[T any](at **T, p *T) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(at)), unsafe.Pointer(p))
}

// fastOff is set when the fast paths must not be used.
var (
	fastOff  atomic.Bool
	fastOnce sync.Once
)

// fastPathIsOn reports whether the fast paths may be used.
func fastPathIsOn() bool { return !fastOff.Load() }

// initFast finds out whether the fast paths may be used.
func initFast() {
	fastOnce.Do(func() {
		if os.Getenv("POOL_FASTPATH") == "off" || isFuzzing(os.Args) || !checkLayout() {
			fastOff.Store(true)
		}
	})
}

// isFuzzing reports whether these are the arguments of a test that fuzzes. The compiler then adds a
// call of an ordinary function to each comparison of integers, which breaks rule 2.
func isFuzzing(args []string) bool {
	for _, arg := range args {
		for _, flag := range []string{"-test.fuzz=", "-test.fuzzworker", "-test.fuzzcachedir"} {
			if len(arg) >= len(flag) && arg[:len(flag)] == flag {
				return true
			}
		}
	}
	return false
}

// offsets are where in an m the pointers curg and p are. Tests have others.
type offsets struct{ curg, p uintptr }

var layout = offsets{mCurg, mP}

// checkLayout reports whether the runtime's structures are what the fast paths take them for, on
// several Ps.
func checkLayout() bool {
	const tries = 4
	ok := checkLayoutHere()
	answers := make(chan bool, tries)
	for range tries {
		go func() { answers <- checkLayoutHere() }()
	}
	for range tries {
		ok = <-answers && ok
	}
	return ok
}

// checkLayoutHere is checkLayout for the P that the caller is on. It reads numbers rather than
// pointers, and a fault means no.
func checkLayoutHere() (ok bool) {
	if stepping {
		return true // getm makes up what it returns
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	l := readLayout(layout)
	const running = 1 // _Prunning
	// The stack may be in use below stackguard0, which is the bound for ordinary functions only.
	return l.id == l.pinID && l.status == running && l.backToM == l.m &&
		l.stackLo < l.sp && l.sp < l.stackHi &&
		(l.stackguard0 == stackPreempt || l.stackLo < l.stackguard0 && l.stackguard0 < l.stackHi)
}

// foundLayout is what readLayout has found.
type foundLayout struct {
	m, backToM                        uintptr
	id, status, pinID                 uint32
	stackLo, stackHi, stackguard0, sp uintptr
}

// pBackToM is the offset of p.m, which leads back to the m.
const pBackToM = 48

// readLayout reads the runtime's structures at these offsets. It cannot be preempted: what it reads
// belongs together.
//
//go:nosplit
//go:noinline
func readLayout(at offsets) (l foundLayout) {
	var here byte
	l.sp = uintptr(unsafe.Pointer(&here))
	m := unsafe.Pointer(getm())
	l.m = uintptr(m)
	l.pinID = uint32(procPin())
	procUnpin()
	p := *(*uintptr)(unsafe.Add(m, at.p))
	g := *(*uintptr)(unsafe.Add(m, at.curg))
	if p%8 != 0 || g%8 != 0 || p < 4096 || g < 4096 {
		return l
	}
	l.id = *(*uint32)(unsafe.Add(unsafe.Pointer(nil), p+unsafe.Offsetof(pLayout{}.id)))
	l.status = *(*uint32)(unsafe.Add(unsafe.Pointer(nil), p+unsafe.Offsetof(pLayout{}.status)))
	l.backToM = *(*uintptr)(unsafe.Add(unsafe.Pointer(nil), p+pBackToM))
	l.stackLo = *(*uintptr)(unsafe.Add(unsafe.Pointer(nil), g+unsafe.Offsetof(gLayout{}.stackLo)))
	l.stackHi = *(*uintptr)(unsafe.Add(unsafe.Pointer(nil), g+unsafe.Offsetof(gLayout{}.stackHi)))
	l.stackguard0 = *(*uintptr)(unsafe.Add(unsafe.Pointer(nil), g+unsafe.Offsetof(gLayout{}.stackguard0)))
	return l
}

// turnFastOff turns the fast paths off for good, for all pools: the layout has turned out to be
// wrong.
func turnFastOff() {
	fastOff.Store(true)
	for _, c := range openPools() {
		c.fast.clear()
	}
}

// stopWorld stops the world for a moment. Every fast path and every pinned operation that was under
// way has ended when it returns: neither can be interrupted by a stop. runtime.Stack with true
// stops the world, and with no room for its text it prints nothing. (A fact of the releases that
// the build constraint allows.)
func stopWorld() { runtime.Stack(nil, true) }
