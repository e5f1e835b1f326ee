package pool

import (
	"reflect"
	"unsafe"
)

// A Pool hands out slots for values of type T. Use New to make one. All methods
// may be called from any goroutine.
type Pool[T any] struct {
	core core
}

// An Option changes how New makes a pool.
type Option func(*options)

type options struct {
	name        string
	localChecks bool
	limit       int64 // bytes; 0: none
	warmPages   int

	profileRate  int // bytes a sample; 0: no profile
	startProfile func()
	guardEvery   int // 0: never
}

// WithName gives the pool a name for messages and Stats.
func WithName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithLocalChecks makes programs faster in which slots keep crossing between Ps,
// at the price of a check: a second Put of a slot that is made on another P than
// the first is no longer certain to panic, and the slot may then be handed out
// twice. One on the same P still panics, unless another P has got hold of the
// slot's page in between. All other checks stay.
//
// What it is worth is measured in docs/performance.md: swapping objects in a
// table that two Ps share takes as long as with sync.Pool rather than 1.2 times
// as long; nothing else gains much.
func WithLocalChecks() Option {
	return func(o *options) { o.localChecks = true }
}

// WithLimit bounds the memory of the pool, in bytes, rounded down to whole pages
// of 64 KiB (512 KiB for slots above 8 KiB, 4 MiB above 64 KiB). A Get that would
// go beyond it first takes what the pool has free on any P; if there is nothing,
// it panics with an error that wraps ErrLimit, and TryGet returns one. Each Put
// then makes room for a Get. 0 means no limit; New panics if the limit is
// negative, or leaves no room for a page.
//
// A pool near its limit is slower: each such search holds up all Ps for some
// microseconds.
func WithLimit(bytes int64) Option {
	return func(o *options) { o.limit = bytes }
}

// WithWarmPages makes the pool keep up to n empty pages for good, instead of
// releasing them after some time: for bursts that are further apart than that.
// Trim and Close release these as well. New panics if n is negative.
func WithWarmPages(n int) Option {
	return func(o *options) { o.warmPages = n }
}

// DefaultProfileRate is a rate for WithProfile at which the profile costs a program
// that does nothing but Get and Put one or two per cent: a sample for 4 MiB handed out.
const DefaultProfileRate = 4 << 20

// WithProfile makes the pool part of the profile pool_live, which tells how many
// slots and bytes are in use, by the stacks that got them: what the heap profile
// cannot tell, because this memory is not Go's. On average one Get is sampled for
// each rate bytes that the pool hands out, and stands for the others; a Get of a
// slot of rate bytes or more always is. 0 means no profile, and is the default.
// New panics if rate is negative.
//
// The profile is read by pprof.Lookup("pool_live"), at /debug/pprof/pool_live of
// programs that import net/http/pprof, and with WriteProfile. With it, Gets of the
// same pool are checked as without WithLocalChecks.
func WithProfile(rate int) Option {
	return func(o *options) {
		o.profileRate = rate
		o.startProfile = startProfile // so that programs without profile do not link it
	}
}

// WithGuardSampling has one in n slow Gets (those that Stats.SlowGets counts, and
// each TryGet) served from a slot with memory of its own, which ends where an
// inaccessible page of the OS begins, and which becomes inaccessible when it is
// Put. A use after Put then faults at the very instruction that makes it, and so
// does an access beyond the slot's end. The program ends with "unexpected fault
// address", or, in a goroutine that has called debug.SetPanicOnFault, panics with
// an error that has the address, for which DescribeFault tells the rest.
//
// At most 64 slots are guarded at a time (fewer of those above 8 KiB), the one put
// first is used again first, and each takes an OS page of memory, or as many as the
// slot needs, while it is in use. They count as pages of the pool for WithLimit, which
// leaves them an eighth of the pages at most.
// GetBatch has no guarded slots. 0 means none, and is the default; the cost of 1000
// has not been told from noise. New panics if n is negative.
//
// Where the memory of slots comes from the Go heap, no slot is guarded: with the
// race detector, which finds the same mistakes, and on systems without mmap.
func WithGuardSampling(n int) Option {
	return func(o *options) { o.guardEvery = n }
}

// New makes a pool of T. It takes no memory for slots yet. It panics with a
// *TypeError if T cannot live off-heap: if it holds a Go pointer at any depth,
// has size zero, or is larger than MaxSlotSize. CheckType asks beforehand. It
// also panics if an option's value makes no sense.
//
// The pool keeps its memory until Close, even when nothing refers to it any
// more: slots are not the garbage collector's business.
func New[T any](opts ...Option) *Pool[T] {
	t := reflect.TypeFor[T]()
	if err := checkType(t); err != nil {
		panic(err)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	p := new(Pool[T])
	p.core.init(t.Size(), t.String(), o)
	return p
}

// CheckType returns nil if New[T] would make a pool, or the *TypeError with
// which it would panic.
func CheckType[T any]() error { return checkType(reflect.TypeFor[T]()) }

// Get returns a slot that is the caller's until Put, zeroed like new(T). It
// panics with an error that wraps ErrLimit, ErrOutOfMemory or ErrClosed when it
// cannot.
func (p *Pool[T]) Get() *T {
	x := (*T)(p.core.get())
	zero(x)
	return x
}

// GetNoZero is Get without the clearing: the slot holds anything, most likely
// what it held when it was Put. For callers that overwrite all of it.
func (p *Pool[T]) GetNoZero() *T {
	return (*T)(p.core.get())
}

// TryGet is Get with an error instead of a panic: one that wraps ErrLimit,
// ErrOutOfMemory or ErrClosed.
func (p *Pool[T]) TryGet() (*T, error) {
	x, isZero, err := p.core.tryGet()
	if err != nil {
		return nil, err
	}
	if !isZero {
		zero((*T)(x))
	}
	return (*T)(x), nil
}

// Put gives back a slot that Get returned. The caller must not use it any more,
// nor anybody it gave the pointer to. Put(nil) does nothing.
//
// Put panics with an error that wraps ErrDoublePut if the slot is not in use,
// ErrForeignPut if x is not a slot of this pool (both, if its page has been
// released since), and ErrClosed after Close. The pool is as before then, and can
// be used on.
//
// Put(x) synchronizes before the Get that returns the same slot.
func (p *Pool[T]) Put(x *T) {
	if x != nil {
		p.core.put(uintptr(unsafe.Pointer(x)))
	}
}

// GetBatch fills dst with slots as Get would, all or none, for less than as
// many Gets cost. If it panics, dst holds only nil.
func (p *Pool[T]) GetBatch(dst []*T) {
	for done := 0; ; {
		part := dst[done:min(done+batchSize, len(dst))]
		n, isZero, err := p.core.getBatch(pointers(part))
		for k, x := range part[:n] {
			if isZero>>k&1 == 0 {
				zero(x)
			}
		}
		done += n
		if err != nil {
			if done > 0 {
				p.PutBatch(dst[:done])
			}
			clear(dst)
			panic(err)
		}
		if done == len(dst) {
			return
		}
	}
}

// PutBatch gives back all slots of xs as Put would, for less than as many Puts
// cost. It skips nil, and does not change xs. If it panics, the slots before
// the offending one have been put back, and those after it have not.
func (p *Pool[T]) PutBatch(xs []*T) {
	for {
		n := min(len(xs), batchSize)
		p.core.putBatch(pointers(xs[:n]))
		if xs = xs[n:]; len(xs) == 0 {
			return
		}
	}
}

// Stats returns what the pool has done and holds. The numbers are exact when
// no other call is under way, and each by itself is close otherwise. It takes
// time in proportion to the pages of the pool and does not hold up Get and Put.
// It works after Close.
func (p *Pool[T]) Stats() Stats { return p.core.stats() }

// Trim brings home every free slot, releases all pages without a slot in use,
// warm ones included, and gives their memory back to the OS. It returns how many
// bytes that were. Other calls wait while it works. It panics with an error
// that wraps ErrClosed after Close.
func (p *Pool[T]) Trim() int64 { return p.core.trim() }

// Close ends the pool and makes its memory available to other pools, and after a
// second of disuse to the OS. It returns an error that wraps ErrInUse, and
// changes nothing, while slots are out; and one that wraps ErrClosed when the
// pool is closed already. Any other use of the pool after Close, but for Stats
// and Put(nil), panics with an error that wraps ErrClosed; TryGet returns it.
func (p *Pool[T]) Close() error { return p.core.close() }
