package pool

import (
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var stressFlag = flag.Duration("stress", 0, "how long TestStress runs for each size; 0: 400ms, or 100ms with -short")

func stressTime() time.Duration {
	switch {
	case *stressFlag > 0:
		return *stressFlag
	case testing.Short():
		return 100 * time.Millisecond
	}
	return 400 * time.Millisecond
}

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
	s := &stress[T]{t: t, p: New[T](opts...), owners: new(ownerTable)}
	for i := range s.shared {
		s.shared[i] = make(chan held[T], 1)
	}
	keep := s.p.Get() // so that Close fails
	amid(stressTime(), s.work, func() {
		s.p.Trim()
		s.p.Stats()
		assert.ErrorIs(t, s.p.Close(), ErrInUse)
	})
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
	if runtime.GOARCH != "wasm" && stressTime() >= time.Second { // wasm has one P, and in less time it may not happen
		assert.Positive(t, st.RemotePuts, "no slot went from one P to another")
	}
	t.Logf("%d slots; %+v", s.ops.Load(), st)
	s.p.Trim()
	assert.Zero(t, s.p.Stats().Pages)
	assert.Positive(t, s.p.Stats().Releases)
	require.NoError(t, s.p.core.checkInvariants())
	require.NoError(t, s.p.Close())
}

// amid has 64 goroutines work for a time, each until a time and with a seed of its own. Meanwhile
// Ps come and go, garbage is collected, threads are interrupted, and disturb is called.
func amid(d time.Duration, work func(seed uint64, until time.Time), disturb func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	until := time.Now().Add(d)
	var workers, others group
	for i := range 64 {
		workers.Go(func() {
			for k := uint64(0); time.Now().Before(until); k++ { // with one new goroutine after the other
				done := make(chan struct{})
				go func() {
					defer close(done)
					work(uint64(i)<<32+k, time.Now().Add(min(300*time.Millisecond, time.Until(until))))
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
	every(7*time.Millisecond, func(int) { disturb() })
	workers.Wait()
	close(stop)
	others.Wait()
}

func TestStress(t *testing.T) {
	t.Run("8", func(t *testing.T) { stressPool[[8]byte](t) })
	t.Run("64", func(t *testing.T) { stressPool[[64]byte](t) })
	t.Run("64 sampled", func(t *testing.T) { stressPool[[64]byte](t, WithProfile(1000), WithGuardSampling(20)) })
	t.Run("9000", func(t *testing.T) { stressPool[[9000]byte](t) })
	t.Run("Go heap", func(t *testing.T) { stressHeap(t, WithProfile(2000)) })
	t.Run("Go heap, kept", func(t *testing.T) { stressHeap(t, WithInit(makeStressObject)) })
	t.Run("Go heap, reset", func(t *testing.T) { stressHeap(t, WithReset(resetStressObject)) })
	t.Run("Go heap, kept and reset, limit", func(t *testing.T) {
		stressHeap(t, WithInit(makeStressObject), WithReset(resetStressObject), WithLimit(2<<20))
	})
}

// A stressObject belongs to owner, which the pool knows nothing of.
type stressObject struct {
	owner atomic.Uint64 // 0: nobody
	tag   *stressTag    // of the owner
	made  *stressTag    // by WithInit
	next  *stressObject // itself
	text  string        // the owner
	_     [5]uint64
}

// A stressTag is what objects refer to. If the collector has taken it, something else is there.
type stressTag struct {
	self *stressTag
	id   uint64
}

func newStressTag(id uint64) *stressTag {
	tag := &stressTag{id: id}
	tag.self = tag
	return tag
}

const stressMade = 1 << 63 // id of the tags that WithInit makes

// makeStressObject makes an object. Now and then it panics.
func makeStressObject(x *stressObject) {
	if x.owner.Load() != 0 || x.tag != nil || x.made != nil || x.next != nil || x.text != "" {
		panic("an object is made of what is not zero")
	}
	x.made = newStressTag(stressMade)
	if rand.IntN(50) == 0 {
		panic(errBroken)
	}
}

// resetStressObject undoes what a user of an object has done. Now and then it panics.
func resetStressObject(x *stressObject) {
	if x.owner.Load() != 0 {
		panic("an object is reset that is in use")
	}
	x.tag, x.next, x.text = nil, nil, ""
	if rand.IntN(50) == 0 {
		panic(errBroken)
	}
}

// A heapStress is a stress of pools on the Go heap, of one kind. Slots are forgotten, and so are
// pools.
type heapStress struct {
	t    *testing.T
	opts []Option
	pool atomic.Pointer[Pool[stressObject]] // the present one

	shared                      [256]chan heldObject // for exchange; each has at most one object
	owners                      atomic.Uint64
	ops, lost, broken, poolLost atomic.Int64
}

// A heldObject is an object in use. If x is nil, its Ref keeps it.
type heldObject struct {
	p  *Pool[stressObject]
	x  *stressObject
	r  Ref[stressObject]
	id uint64
}

// try calls f, which may panic with the error of a function that is broken. It reports whether f has
// returned.
func (s *heapStress) try(f func()) bool {
	err := caught(func() error { f(); return nil })
	switch {
	case err == nil:
		return true
	case errors.Is(err, errBroken):
		s.broken.Add(1)
	case !errors.Is(err, ErrLimit):
		panic(err)
	}
	return false
}

// hold makes an object that was handed out the caller's.
func (s *heapStress) hold(p *Pool[stressObject], x *stressObject) heldObject {
	id := s.owners.Add(1)
	isKept, isReset := p.core.construct != nil, p.core.reset != nil
	switch {
	case !x.owner.CompareAndSwap(0, id):
		s.t.Errorf("object %p was handed out twice", x)
	case isKept && (x.made == nil || x.made.self != x.made || x.made.id != stressMade):
		s.t.Errorf("object %p is not made", x)
	case !isKept && x.made != nil, (isReset || !isKept) && (x.tag != nil || x.next != nil || x.text != ""):
		s.t.Errorf("object %p has something of its last user", x)
	}
	x.tag, x.next, x.text = newStressTag(id), x, strconv.FormatUint(id, 10)
	return heldObject{p: p, x: x, id: id}
}

// check verifies an object in use, which is at x.
func (s *heapStress) check(h heldObject, x *stressObject) {
	if x.owner.Load() != h.id || x.tag.self != x.tag || x.tag.id != h.id || x.next != x || x.text != strconv.FormatUint(h.id, 10) {
		s.t.Errorf("object %p is not what its user has made of it", x)
	}
}

// put puts an object.
func (s *heapStress) put(h heldObject, inBatch bool) {
	x := h.x
	if x == nil {
		if x = h.p.Deref(h.r); x == nil {
			s.t.Errorf("%v does not keep its object", h.r)
			return
		}
	}
	s.check(h, x)
	x.owner.Store(0)
	s.try(func() {
		switch {
		case h.x == nil:
			if !h.p.PutRef(h.r) {
				s.t.Errorf("%v is stale, and nobody has put its object", h.r)
			}
		case inBatch:
			h.p.PutBatch([]*stressObject{nil, x})
		default:
			h.p.Put(x)
		}
	})
}

// get gets up to 100 objects.
func (s *heapStress) get(p *Pool[stressObject], rng *rand.Rand) (hs []heldObject) {
	if xs := make([]*stressObject, 1+rng.IntN(100)); rng.IntN(10) == 0 {
		if p.core.reset == nil && s.try(func() { p.GetBatch(xs) }) {
			for _, x := range xs {
				hs = append(hs, s.hold(p, x))
			}
		}
		return hs
	}
	for range 1 + rng.IntN(20) {
		var x *stressObject
		if s.try(func() {
			switch rng.IntN(3) {
			case 0:
				x = p.Get()
			case 1:
				x = p.GetNoZero()
			default:
				x, _ = p.TryGet()
			}
		}) && x != nil {
			hs = append(hs, s.hold(p, x))
		}
	}
	return hs
}

// work is what one goroutine does.
func (s *heapStress) work(seed uint64, until time.Time) {
	rng := rand.New(rand.NewPCG(seed, 8))
	var hs []heldObject
	for time.Now().Before(until) && !s.t.Failed() {
		if len(hs) < 200 {
			hs = append(hs, s.get(s.pool.Load(), rng)...)
		}
		if rng.IntN(20) == 0 {
			for range 10 {
				s.lost.Add(int64(len(s.get(s.pool.Load(), rng)))) // whole pages of them
			}
		}
		rng.Shuffle(len(hs), func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
		var left []heldObject
		for _, h := range hs {
			s.ops.Add(1)
			switch way := rng.IntN(20); {
			case way < 7:
				s.put(h, way == 0)
			case way < 8:
				s.lost.Add(1) // unless a Ref keeps it
			case way < 10 && h.x != nil:
				s.check(h, h.x)
				if h.r = h.p.Ref(h.x); way == 9 {
					h.x = nil
				}
				left = append(left, h)
			case way < 13:
				c := s.shared[rng.IntN(len(s.shared))]
				select {
				case other := <-c:
					left = append(left, other)
				default:
				}
				select {
				case c <- h:
				default:
					left = append(left, h)
				}
			default:
				left = append(left, h)
			}
		}
		hs = left
		if p := s.pool.Load(); rng.IntN(3000) == 0 && s.pool.CompareAndSwap(p, New[stressObject](s.opts...)) {
			s.poolLost.Add(1)
		}
	}
	for _, h := range hs {
		s.put(h, false)
	}
}

// stressHeap is stressPool for pools on the Go heap.
func stressHeap(t *testing.T, opts ...Option) {
	s := &heapStress{t: t, opts: append(opts, WithGoHeap())}
	s.pool.Store(New[stressObject](s.opts...))
	for i := range s.shared {
		s.shared[i] = make(chan heldObject, 1)
	}
	var collected uint64
	amid(stressTime(), s.work, func() {
		p := s.pool.Load()
		p.Trim()
		collected = max(collected, p.Stats().Lost)
		for range p.All() {
			break
		}
	})
	for _, c := range s.shared {
		select {
		case h := <-c:
			s.put(h, false)
		default:
		}
	}
	p := s.pool.Load()
	require.NoError(t, p.core.checkInvariants())
	st := p.Stats()
	t.Logf("%d objects, %d forgotten, %d pools forgotten, %d calls broken; %d collected; %+v", s.ops.Load(), s.lost.Load(), s.poolLost.Load(), s.broken.Load(), collected, st)
	assert.Positive(t, s.ops.Load())
	assert.LessOrEqual(t, int64(st.Live)+int64(st.Lost), s.lost.Load(), "objects are lost that nobody has forgotten")
	if stressTime() >= time.Second && !watchAll { // what watches slots keeps them, or takes too long
		assert.Positive(t, collected, "nothing was lost")
	}
	if stressTime() >= time.Second && (p.core.construct != nil || p.core.reset != nil) {
		assert.Positive(t, s.broken.Load())
	}
	require.NoError(t, p.Close())
	assert.Zero(t, p.Stats().Live)
}

// stressBounded has 64 goroutines share n slots, by waiting and without, one slot at a time each. No
// more than n are in use, whoever waits without an end is served, and the last Put closes the pool.
func stressBounded[T any](t *testing.T, n int, opts ...Option) {
	p := New[T](append(opts, WithMaxSlots(n))...)
	var inUse, waited, gaveUp, failed atomic.Int64
	work := func(seed uint64, until time.Time) {
		rng := rand.New(rand.NewPCG(seed, 8))
		for time.Now().Before(until) {
			var x *T
			var err error
			switch rng.IntN(4) {
			case 0:
				x, err = p.TryGet()
			case 1:
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(300))*time.Microsecond)
				x, err = p.GetContext(ctx)
				cancel()
			default:
				x, err = p.GetContext(context.Background())
				assert.NoError(t, err)
				waited.Add(1)
			}
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				gaveUp.Add(1)
				continue
			case err != nil:
				assert.ErrorIs(t, err, ErrLimit)
				failed.Add(1)
				continue
			}
			if m := inUse.Add(1); m > int64(n) {
				t.Errorf("%d slots are in use, of %d", m, n)
			}
			if rng.IntN(3) == 0 {
				runtime.Gosched()
			}
			inUse.Add(-1)
			switch rng.IntN(4) {
			case 0:
				p.PutRef(p.Ref(x))
			case 1:
				p.PutBatch([]*T{x})
			default:
				p.Put(x)
			}
		}
	}
	amid(stressTime()/3, work, func() {
		p.Trim()
		p.Live()
		for range p.All() {
		}
	})
	require.Zero(t, p.Live())
	require.NoError(t, p.core.checkInvariants())
	require.LessOrEqual(t, p.core.depot.slots, n)
	xs := fillUp(t, p)
	require.Len(t, xs, n)
	require.NoError(t, p.CloseWhenEmpty())
	var g group
	for _, x := range xs {
		g.Go(func() { p.Put(x) })
	}
	g.Wait()
	require.ErrorIs(t, p.Close(), ErrClosed)
	t.Logf("%d waits without an end, %d gave up, %d found nothing", waited.Load(), gaveUp.Load(), failed.Load())
}

func TestStressOfBounds(t *testing.T) {
	t.Run("1", func(t *testing.T) { stressBounded[[64]byte](t, 1) })
	t.Run("20", func(t *testing.T) { stressBounded[[64]byte](t, 20) })
	t.Run("guards", func(t *testing.T) { stressBounded[[64]byte](t, 20, WithGuardSampling(3), WithProfile(1000)) })
	t.Run("reset", func(t *testing.T) { stressBounded[[64]byte](t, 20, WithReset(func(*[64]byte) {})) })
	t.Run("heap", func(t *testing.T) { stressBounded[slotOf](t, 20, WithGoHeap()) })
}
