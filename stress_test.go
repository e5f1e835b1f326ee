package pool

import (
	"flag"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var stressTime = flag.Duration("stress", 3*time.Second, "how long TestStress runs for each size")

// interrupt sends the process the signal by which Go preempts goroutines. stress_unix_test.go sets
// it.
var interrupt = func() {}

// An ownerTable knows which slots are in use, independently of the pool. It finds an entry by a
// hash of the slot's address. If another slot has the entry, the slot goes unnoticed. So the table
// misses few slots, and never reports one wrongly.
type ownerTable [1 << 20]atomic.Uintptr

func (o *ownerTable) entry(addr uintptr) *atomic.Uintptr {
	return &o[uint64(addr)*0x9e3779b97f4a7c15>>44]
}

// take notes that addr was handed out. noted says whether the table has an entry for it, and ok is
// false if addr is in use already.
func (o *ownerTable) take(addr uintptr) (noted, ok bool) {
	e := o.entry(addr)
	if e.CompareAndSwap(0, addr) {
		return true, true
	}
	return false, e.Load() != addr
}

// drop notes that addr, which has an entry, is about to be put.
func (o *ownerTable) drop(addr uintptr) { o.entry(addr).Store(0) }

// A held slot is in use. Its first word is its own address.
type held[T any] struct {
	x     *T
	noted bool
}

type stress[T any] struct {
	t      *testing.T
	p      *Pool[T]
	owners *ownerTable
	shared [1024]chan held[T] // for exchange; each has at most one slot
	failed atomic.Bool
	ops    atomic.Int64
}

func (s *stress[T]) fail(what string, x *T) {
	if s.failed.CompareAndSwap(false, true) {
		s.t.Errorf("%s: slot %p", what, x)
	}
}

func (s *stress[T]) hold(x *T) held[T] {
	noted, ok := s.owners.take(uintptr(unsafe.Pointer(x)))
	if !ok {
		s.fail("handed out twice", x)
	}
	*word(x) = uintptr(unsafe.Pointer(x))
	return held[T]{x, noted}
}

func (s *stress[T]) release(h held[T]) *T {
	if *word(h.x) != uintptr(unsafe.Pointer(h.x)) {
		s.fail("overwritten", h.x)
	}
	if h.noted {
		s.owners.drop(uintptr(unsafe.Pointer(h.x)))
	}
	return h.x
}

// work is what one goroutine does: it churns, exchanges slots with all others, and moves batches,
// in random order.
func (s *stress[T]) work(seed uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(seed, 7))
	xs := make([]*T, 100)
	hs := make([]held[T], 0, len(xs))
	for time.Now().Before(until) && !s.failed.Load() {
		n := 1 + rng.IntN(len(xs))
		s.ops.Add(int64(n))
		switch rng.IntN(5) {
		case 0: // churn
			hs = hs[:0]
			for range n {
				x := s.p.Get()
				if *word(x) != 0 {
					s.fail("not zeroed", x)
				}
				hs = append(hs, s.hold(x))
			}
			rng.Shuffle(n, func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
			for _, h := range hs {
				s.p.Put(s.release(h))
			}
		case 1: // batches
			hs = hs[:0]
			s.p.GetBatch(xs[:n])
			for _, x := range xs[:n] {
				hs = append(hs, s.hold(x))
			}
			for i, h := range hs {
				xs[i] = s.release(h)
			}
			s.p.PutBatch(xs[:n])
		case 2: // by Ref
			for range n / 10 {
				x := s.p.Get()
				h, r := s.hold(x), s.p.Ref(x)
				if s.p.Deref(r) != s.release(h) || !s.p.PutRef(r) || s.p.PutRef(r) || s.p.Deref(r) != nil {
					s.fail("Ref", x)
				}
			}
		default: // exchange
			for range n {
				h := s.hold(s.p.GetNoZero())
				c := s.shared[rng.IntN(len(s.shared))]
				select {
				case old := <-c:
					s.p.Put(s.release(old))
				default:
				}
				select {
				case c <- h:
				default:
					s.p.Put(s.release(h))
				}
			}
		}
	}
}

func stressPool[T any](t *testing.T, opts ...Option) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	s := &stress[T]{t: t, p: New[T](opts...), owners: new(ownerTable)}
	for i := range s.shared {
		s.shared[i] = make(chan held[T], 1)
	}
	until := time.Now().Add(*stressTime)
	var workers, others group
	for i := range 64 {
		workers.Go(func() {
			for k := uint64(0); time.Now().Before(until); k++ { // with one new goroutine after the other
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.work(uint64(i)<<32+k, time.Now().Add(min(300*time.Millisecond, time.Until(until))))
				}()
				<-done
			}
		})
	}
	stop := make(chan struct{})
	every := func(d time.Duration, f func(i int)) {
		others.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
					f(i)
				}
			}
		})
	}
	every(100*time.Millisecond, func(i int) { runtime.GOMAXPROCS([]int{1, 32, 2, 8}[i%4]) })
	every(10*time.Millisecond, func(int) { runtime.GC() })
	every(time.Millisecond, func(int) { interrupt() })
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	if pprof.StartCPUProfile(io.Discard) == nil { // sends each thread a signal every 10 ms
		defer pprof.StopCPUProfile()
	}
	every(7*time.Millisecond, func(int) { s.p.Trim() })
	every(5*time.Millisecond, func(int) { s.p.Stats() })
	every(300*time.Millisecond, func(int) { assert.ErrorIs(t, s.p.Close(), ErrInUse) })
	keep := s.p.Get() // so that Close fails
	workers.Wait()
	close(stop)
	others.Wait()
	s.p.Put(keep)

	require.NoError(t, s.p.core.checkInvariants())
	for _, c := range s.shared {
		select {
		case h := <-c:
			s.p.Put(s.release(h))
		default:
		}
	}
	st := s.p.Stats()
	assert.Zero(t, st.Live)
	assert.Positive(t, s.ops.Load())
	if runtime.GOARCH != "wasm" && *stressTime >= time.Second { // wasm has one P, and in less time it may not happen
		assert.Positive(t, st.RemotePuts, "no slot went from one P to another")
	}
	t.Logf("%d slots; %+v", s.ops.Load(), st)
	s.p.Trim()
	assert.Zero(t, s.p.Stats().Pages)
	assert.Positive(t, s.p.Stats().Releases)
	require.NoError(t, s.p.core.checkInvariants())
	require.NoError(t, s.p.Close())
}

func TestStress(t *testing.T) {
	t.Run("8", func(t *testing.T) { stressPool[[8]byte](t) })
	t.Run("64", func(t *testing.T) { stressPool[[64]byte](t) })
	t.Run("64 sampled", func(t *testing.T) { stressPool[[64]byte](t, WithProfile(1000), WithGuardSampling(20)) })
	t.Run("9000", func(t *testing.T) { stressPool[[9000]byte](t) })
}
