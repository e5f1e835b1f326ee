package pool

import (
	"reflect"
	"unsafe"
)

// A Pool hands out slots for values of type T. [New] makes one; the zero Pool is of no use, and a
// Pool must not be copied: keep it as *Pool[T], also in structs. All methods may be called from any goroutine, also at the same time.
//
// What the methods panic with is an error that wraps one of this package's, such as [ErrLimit].
type Pool[T any] struct {
	core core
}

// An Option changes how [New] makes a pool. It may be given to any number of them. Of several of one
// kind the last holds.
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

// WithName gives the pool a name, for error messages, [Stats], the profile and [Leak]. It need not
// be unique. The default is none: messages then have the type only.
func WithName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithLocalChecks makes programs faster in which slots keep crossing between Ps, at the price of a
// check: a second Put of a slot that is made on another P than the first is no longer certain to
// panic, and the slot may then be handed out twice. One on the same P still panics, unless another
// P has got hold of the slot's page in between. [Pool.Ref] of a slot that is not in use is likewise
// certain to panic on the P of its Put only. All other checks stay.
//
// What it is worth is measured in docs/performance.md: swapping objects in a
// table that two Ps share takes as long as with sync.Pool rather than 1.2 times
// as long; nothing else gains much.
func WithLocalChecks() Option {
	return func(o *options) { o.localChecks = true }
}

// WithLimit bounds the memory of the pool, in bytes, rounded down to whole pages of 64 KiB (512 KiB
// for slots above 8 KiB, 4 MiB above 64 KiB): [Stats].MappedBytes will not rise above it. A Get that
// would go beyond it first takes what the pool has free on any P; if there is nothing, it panics
// with an error that wraps [ErrLimit], and [Pool.TryGet] returns one. Each Put then makes room for a
// Get. 0 means no limit, and is the default. New panics if the limit is negative, or leaves no room
// for a page.
//
// For n slots a limit has to have room for n / [Stats].SlotsPerPage pages, rounded up: none is lost,
// whatever P has them. A pool near its limit is slower: each such search holds up all Ps for some
// microseconds.
func WithLimit(bytes int64) Option {
	return func(o *options) { o.limit = bytes }
}

// WithWarmPages makes the pool keep up to n empty pages for good, instead of releasing them
// within a second: for bursts that are further apart than that. A page has
// [Stats].SlotsPerPage slots. [Pool.Trim] and [Pool.Close] release these as well. 0 is the default.
// New panics if n is negative.
func WithWarmPages(n int) Option {
	return func(o *options) { o.warmPages = n }
}

// DefaultProfileRate is a rate for [WithProfile], in bytes a sample (8 MiB), at which the profile
// costs a program that does nothing but Get and Put half a per cent with slots of 64 bytes and one
// per cent with 1 KiB; more where stacks are deep. It tells who holds 100 MiB and more; to find
// less, use a smaller rate. Without WithProfile there is no profile.
const DefaultProfileRate = 8 << 20

// WithProfile makes the pool part of the profile pool_live, which tells how many slots and bytes are
// in use, by the stacks that got them: what the heap profile cannot tell, because this memory is not
// Go's. On average one Get is sampled for each rate bytes that the pool hands out, and stands for
// the others; a Get of a slot of rate bytes or more always is. [DefaultProfileRate] is one to begin
// with. 0 means no profile, and is the default. New panics if rate is negative.
//
// The profile is read by pprof.Lookup("pool_live") of [runtime/pprof], at /debug/pprof/pool_live of
// programs that import [net/http/pprof], and with [WriteProfile]. In a pool with it, Puts are
// checked as without [WithLocalChecks].
func WithProfile(rate int) Option {
	return func(o *options) {
		o.profileRate = rate
		o.startProfile = startProfile // so that programs without profile do not link it
	}
}

// WithGuardSampling has one in n slow Gets (most of those that [Stats].SlowGets counts, and each
// TryGet) served from a slot with memory of its own, which ends where an inaccessible page of the OS
// begins, and which becomes inaccessible when it is Put. A use after Put then faults at the very
// instruction that makes it, and so does an access beyond the slot's end, rounded up to 8 bytes. The
// program ends with "unexpected fault address", or, in a goroutine that has called
// [runtime/debug.SetPanicOnFault], panics with an error that has the address, for which
// [DescribeFault] tells the rest.
//
// At most 64 slots of a pool are guarded at a time (fewer of those above 8 KiB), the one put first
// is used again first, and each takes an OS page of memory, or as many as the slot needs, while it
// is in use. They count as pages of the pool for [WithLimit], which leaves them an eighth of the
// pages at most. GetBatch has no guarded slots. 0 means none, and is the default; the cost of 1000
// has not been told from noise. New panics if n is negative, or does not fit into 31 bits.
//
// Where the memory of slots comes from the Go heap ([Stats].OffHeap), no slot is guarded: with the
// race detector, which finds uses after Put itself, and on some systems.
func WithGuardSampling(n int) Option {
	return func(o *options) { o.guardEvery = n }
}

// New makes a pool of T. It takes no memory for slots yet. It panics with a [*TypeError] if T cannot
// live off-heap: if it holds a Go pointer at any depth, has size zero, or is larger than
// [MaxSlotSize]. [CheckType] asks beforehand. It also panics, with another error, if an option's
// value makes no sense. Any goroutine may call it.
//
// The pool keeps its memory until Close, even when nothing refers to it any more: slots are not the
// garbage collector's business.
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

// CheckType returns nil if New[T] would make a pool, or the [*TypeError] with which it would panic.
// Any goroutine may call it.
func CheckType[T any]() error { return checkType(reflect.TypeFor[T]()) }

// Get returns a slot that is the caller's until Put, zeroed like new(T). It panics with an error
// that wraps [ErrLimit], [ErrOutOfMemory] or [ErrClosed] when it cannot. [Pool.TryGet] returns the
// error instead.
func (p *Pool[T]) Get() *T {
	x := (*T)(p.core.get())
	zero(x)
	return x
}

// GetNoZero is [Pool.Get] without the clearing: the slot holds anything, most likely what it, or
// another pool's slot at the same place, held when it was Put. For callers that overwrite all of it.
func (p *Pool[T]) GetNoZero() *T {
	return (*T)(p.core.get())
}

// TryGet is [Pool.Get] with an error instead of a panic, for programs that can do without a slot: one
// that wraps [ErrLimit], [ErrOutOfMemory] or [ErrClosed], and a nil slot. It takes some nanoseconds
// more.
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

// Put gives back a slot that Get, or a call like it, returned, on any goroutine. The caller must not
// use it any more, nor anybody it gave the pointer to. Put(nil) does nothing.
//
// Put panics with an error that wraps [ErrDoublePut] if the slot is not in use, [ErrForeignPut] if x
// is not a slot of this pool (both, if its page has been released since), and [ErrClosed] after
// Close. The pool is as before then, and can be used on. A second Put of a slot that has been handed
// out again since goes unnoticed, and frees it under its new user; [Pool.PutRef] does not do that.
//
// Put(x) synchronizes before the Get that returns the same slot.
func (p *Pool[T]) Put(x *T) {
	if x != nil {
		p.core.put(uintptr(unsafe.Pointer(x)))
	}
}

// GetBatch fills dst with slots as [Pool.Get] would, all or none, for less than as many Gets cost.
// It panics where Get would, and dst then holds only nil (but not after [ErrCorrupt]).
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

// PutBatch gives back all slots of xs as [Pool.Put] would, for less than as many Puts cost. They
// need not come from one GetBatch. It skips nil, and does not change xs. If it panics, as Put
// would, the slots before the offending one have been put back, and those after it have not.
func (p *Pool[T]) PutBatch(xs []*T) {
	for {
		n := min(len(xs), batchSize)
		p.core.putBatch(pointers(xs[:n]))
		if xs = xs[n:]; len(xs) == 0 {
			return
		}
	}
}

// Stats returns what the pool has done and holds. The numbers are exact when no other call is under
// way, and each by itself is close otherwise. It takes time in proportion to the pages of the pool,
// for which it holds up Gets that want another page; all Gets and Puts only where they take locks
// (see [Stats].Pinned). It works after Close.
func (p *Pool[T]) Stats() Stats { return p.core.stats() }

// Trim brings home every free slot, releases all pages without a slot in use, warm ones included,
// and gives their memory back to the OS. It returns how many bytes went back. Other calls wait while
// it collects. It panics with an error that wraps [ErrClosed] after Close.
func (p *Pool[T]) Trim() int64 { return p.core.trim() }

// Close ends the pool and makes its memory available to other pools, and after a second of disuse to
// the OS. It returns an error that wraps [ErrInUse], and changes nothing, while slots are out; and
// one that wraps [ErrClosed] when the pool is closed already.
//
// After Close, TryGet returns an error that wraps ErrClosed, Deref returns nil, PutRef false, and
// Stats what was counted; Put(nil) and Ref(nil) are as before. All else panics with an error that
// wraps ErrClosed.
func (p *Pool[T]) Close() error { return p.core.close() }
