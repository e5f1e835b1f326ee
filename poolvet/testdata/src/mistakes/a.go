// Package mistakes has what New refuses, and copies of pools.
package mistakes

import (
	"time"
	"unsafe"

	"github.com/warmpage/pool"
)

type order struct {
	id    int
	lines [2]struct{ name string }
}

type empty struct{}

func types() {
	pool.New[int]()
	pool.New[order]()                                       // want `pool.New\[order\] panics: order.lines\[\].name string is or contains a Go pointer: add pool.WithGoHeap\(\)`
	pool.New[*int](pool.WithName("ints"))                   // want `pool.New\[\*int\] panics: \*int is or contains a Go pointer`
	pool.New[time.Time]()                                   // want `pool.New\[time.Time\] panics: time.Time.loc \*time.Location is`
	pool.New[empty]()                                       // want `pool.New\[empty\] panics: its size is 0`
	pool.New[[0]string](pool.WithGoHeap())                  // want `its size is 0`
	pool.New[[64<<20 + 1]byte]()                            // want `it has 67108865 bytes, and a slot at most 67108864`
	pool.New[[8 << 20]string](pool.WithGoHeap())            // want `it has 134217728 bytes`
	pool.New[order](pool.WithGoHeap(), pool.WithName("ok")) // fits
	pool.New[[64 << 20]byte]()                              // fits
}

// Options that are not in sight may be WithGoHeap.
func unseen(opts ...pool.Option) {
	pool.New[order](opts...)
	pool.New[order](pool.WithName(""), opts[0])
	pool.New[int](append(opts, pool.WithLimit(-1))...)
	pool.New[int](pool.WithLimit(-1), opts[0])
	pool.New[int](opts[0], pool.WithLimit(-1)) // want `pool.New panics: WithLimit\(-1\): the number is negative`
}

// What depends on a type parameter may fit.
func generic[T any](init func(*T)) {
	pool.New[T]()
	pool.New[[4]T]()
	pool.New[T](pool.WithMaxSlots(-1)) // want `WithMaxSlots\(-1\): the number is negative`
	pool.New[int](pool.WithInit(init))
}

const negative = -3

func numbers(n int) {
	pool.New[int](pool.WithLimit(negative))                 // want `WithLimit\(-3\): the number is negative`
	pool.New[int](pool.WithLimit(100))                      // want `WithLimit\(100\): a page takes at least 8192 bytes`
	pool.New[[1 << 20]byte](pool.WithLimit(1 << 19))        // want `WithLimit\(524288\): a page takes at least 1048576 bytes`
	pool.New[int](pool.WithWarmPages(-1))                   // want `WithWarmPages\(-1\)`
	pool.New[int](pool.WithWarmSlots(-1))                   // want `WithWarmSlots\(-1\)`
	pool.New[int](pool.WithProfile(-1))                     // want `WithProfile\(-1\)`
	pool.New[int](pool.WithGuardSampling(-1))               // want `WithGuardSampling\(-1\)`
	pool.New[int](pool.WithGuardSampling(1 << 31))          // want `WithGuardSampling\(2147483648\): give at most 2147483647`
	pool.New[int](pool.WithAlign(0))                        // want `WithAlign\(0\): give a power of two`
	pool.New[int](pool.WithAlign(24))                       // want `WithAlign\(24\)`
	pool.New[int](pool.WithAlign(8192))                     // want `WithAlign\(8192\)`
	pool.New[int](pool.WithLimit(-1), pool.WithLimit(0))    // the last one counts
	pool.New[int](pool.WithMaxSlots(n), pool.WithAlign(64)) // fits
}

func functions() {
	pool.New[int](pool.WithInit[int](nil))         // want `WithInit\(nil\): give a function, or leave it out`
	pool.New[int](pool.WithInit(func(*string) {})) // want `WithInit is given a function for \*string, and the pool is one of int`
	pool.New[int](pool.WithReset(func(*uint) {}))  // want `WithReset is given a function for \*uint, and the pool is one of int`
	pool.New[int](pool.WithReset(func(*int) {}))   // fits
	pool.New[int](pool.WithName("a"), nil)         // want `pool.New panics: the option is nil: leave it out`
	pool.New[int](pool.WithOffHeap())              // want `WithOffHeap is for NewBytes: leave it out`
}

func bytes() {
	pool.NewBytes(pool.WithOffHeap(), pool.WithName("b"), pool.WithMaxSlots(0))
	pool.NewBytes(pool.WithInit(func(*int) {}))          // want `pool.NewBytes panics: WithInit is for pools: leave it out`
	pool.NewBytes(pool.WithReset(func(*int) {}))         // want `WithReset is for pools`
	pool.NewBytes(pool.WithAlign(64))                    // want `WithAlign is for pools`
	pool.NewBytes(pool.WithMaxSlots(1))                  // want `WithMaxSlots is for pools: use WithLimit or WithWarmPages`
	pool.NewBytes(pool.WithWarmSlots(1))                 // want `WithWarmSlots is for pools`
	pool.NewBytes(pool.WithGoHeap(), pool.WithOffHeap()) // want `WithGoHeap and WithOffHeap exclude each other`
	pool.NewBytes(pool.WithLimit(-1))                    // want `pool.NewBytes panics: WithLimit\(-1\)`
}

// Tests of panics are no mistakes.
func tests() {
	panics(func() { pool.New[empty]() })
	func() {
		defer func() { _ = recover() }()
		pool.New[empty]()
	}()
}

func panics(func()) {}

type server struct {
	right  *pool.Pool[int]
	wrong  pool.Pool[int] // want `field wrong is a zero pool.Pool\[int\], which is not usable: keep the \*pool.Pool\[int\] that pool.New returns`
	texts  pool.Bytes     // want `field texts is a zero pool.Bytes, which is not usable: keep the \*pool.Bytes that pool.NewBytes returns`
	buffer pool.Buffer
}

var declared pool.Pool[int] // want `variable declared is a zero pool.Pool\[int\]`

func copies(p *pool.Pool[int], s *server, all []pool.Pool[int]) pool.Pool[int] {
	q := *p                      // want `assignment copies a pool.Pool\[int\], which must not be copied: use a pointer`
	var r = *p                   // want `assignment copies`
	t := *s                      // want `assignment copies a pool.Pool\[int\]`
	b := s.buffer                // want `assignment copies a pool.Buffer`
	take(*p)                     // want `a call copies a pool.Pool\[int\]`
	_ = server{buffer: s.buffer} // want `a literal copies a pool.Buffer`
	for _, p := range all {      // want `range copies a pool.Pool\[int\]`
		_ = p
	}
	all = append(all, *p) // want `a call copies`
	_, _, _, _ = &q, &r, &t, &b
	same, fresh := p, pool.Buffer{}
	same.Put(same.Get())
	fresh.Free()
	_ = unsafe.Sizeof(*p)
	_ = len(all)
	return *p // want `return copies a pool.Pool\[int\]`
}

func take(pool.Pool[int]) {} // want `an argument copies a pool.Pool\[int\]`

func (s server) method() {} // want `the receiver copies a pool.Pool\[int\]`

func (s *server) pointer(b *pool.Buffer) {}
