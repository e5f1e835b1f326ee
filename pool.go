package pool

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"unsafe"
)

// A Pool hands out slots for values of type T. [New] makes one. The zero Pool is not usable, and a
// Pool must not be copied: keep it as *Pool[T], in structs too. Methods are safe for concurrent
// use.
//
// Methods panic with errors that wrap those of this package, such as [ErrLimit].
type Pool[T any] struct {
	core core
}

// New makes a pool of T. It takes no memory for slots yet. It panics with a [*TypeError] if T does
// not fit: if T has size zero, is larger than [MaxSlotSize], or holds a Go pointer at any depth and
// [WithGoHeap] is not among the options. [CheckType] tells beforehand. It also panics, with another
// error, if an option's value makes no sense. New is safe for concurrent use.
//
// A pool with slots in use lives until Close, even when nothing refers to it any more, because the
// garbage collector knows nothing of slots. A pool with WithGoHeap does not: it is collected when
// nothing refers to it.
func New[T any](opts ...Option) *Pool[T] {
	t := reflect.TypeFor[T]()
	o, err := optionsOf(fmt.Sprintf("pool (%s)", t), opts)
	if err == nil {
		err = checkType(t, o.goHeap)
	}
	if err != nil {
		panic(err)
	}
	if o.offHeap {
		panic(fmt.Errorf("pool (%s): WithOffHeap is for NewBytes; a pool that New makes is off the Go heap unless WithGoHeap is given: leave the option out", t))
	}
	if err := cmp.Or(o.init.checkFor(t, "WithInit"), o.reset.checkFor(t, "WithReset")); err != nil {
		panic(err)
	}
	sp, err := newSpec(t, o)
	if err != nil {
		panic(err)
	}
	if o.profileRate != 0 {
		o.startProfile()
	}
	p := new(Pool[T])
	p.core.contents = contentsOf(sp, &o, clearSlot[T])
	p.core.init(sp)
	return p
}

// untyped returns the core of p, or nil if p is nil. Its methods say then that New makes pools.
func (p *Pool[T]) untyped() *core { return (*core)(unsafe.Pointer(p)) }

// CheckType returns nil if New[T] would make a pool without [WithGoHeap], and otherwise the
// [*TypeError] with which it would panic. With WithGoHeap, New accepts any T of 1 byte to
// [MaxSlotSize]. CheckType is safe for concurrent use.
func CheckType[T any]() error { return checkType(reflect.TypeFor[T](), false) }

// Get returns a slot that is the caller's until Put, zeroed like new(T). If the pool has a function
// for [WithInit], the slot holds what the function made of it, or what it held when it was Put. If
// Get cannot return a slot, it panics with an error that wraps [ErrLimit], [ErrOutOfMemory] or
// [ErrClosed]. [Pool.TryGet] returns the error instead.
func (p *Pool[T]) Get() *T {
	x := (*[1]T)((*core)(unsafe.Pointer(p)).get()) // p.untyped().get() would not be inlined
	if p.core.clearsOnGet {
		clear(x[:]) // an array of one, because the compiler clears that in line
	}
	return &x[0]
}

// GetNoZero is [Pool.Get] without the clearing, for callers that overwrite the whole slot. The slot
// may hold anything: most likely what it held when it was Put, or what another pool's slot at the
// same place held. It is the same as Get where Get clears nothing: with [WithInit], and where Put
// clears slots ([WithGoHeap]).
func (p *Pool[T]) GetNoZero() *T {
	return (*T)(p.untyped().get())
}

// TryGet is [Pool.Get] for programs that can do without a slot. Instead of a panic, it returns nil
// and an error that wraps [ErrLimit], [ErrOutOfMemory] or [ErrClosed]. It takes some nanoseconds
// longer.
func (p *Pool[T]) TryGet() (*T, error) {
	x, isFresh, err := p.untyped().tryGet()
	if err != nil {
		return nil, err
	}
	if p.core.clearsOnGet && !isFresh {
		zero((*T)(x))
	}
	return (*T)(x), nil
}

// GetContext is [Pool.TryGet] that waits at the pool's bound, which is that of [WithMaxSlots] or
// [WithLimit], until a slot is put or ctx has ended. Then its error wraps that of ctx, and [ErrLimit].
// If ctx has ended before, GetContext returns its error at once. It does not wait for memory that
// [SetProcessLimit] or the system refuses: then it returns an error that wraps ErrLimit or
// [ErrOutOfMemory], as TryGet does. If the pool is closed meanwhile, the error wraps [ErrClosed].
//
// Each Put gives its slot to the GetContext that has waited longest. A Put costs nothing for that
// while nobody waits, and some hundred nanoseconds and a wake-up if somebody does. Get and TryGet do
// not wait, and find nothing while somebody does.
//
// In a bubble of testing/synctest, a wait ends by a Put in the same bubble. One from outside does not
// end it: use TryGet for a pool whose slots are put elsewhere.
func (p *Pool[T]) GetContext(ctx context.Context) (*T, error) {
	x, isFresh, err := p.untyped().getContext(ctx)
	if err != nil {
		return nil, err
	}
	if p.core.clearsOnGet && !isFresh {
		zero((*T)(x))
	}
	return (*T)(x), nil
}

// Put gives back a slot that a Get of any kind has returned, on whatever goroutine. Nobody may use
// the slot any more. Put(nil) does nothing.
//
// Put panics with an error that wraps [ErrDoublePut] if the slot is not in use, [ErrForeignPut] if
// x is not a slot of this pool (both, if its page has been released since), and [ErrClosed] after
// Close. The pool is unchanged then and remains usable. A second Put of a slot that has been handed
// out again since goes unnoticed and frees the slot under its new user. [Pool.PutRef] does not do
// that. A function for [WithReset] that panics lets Put panic as well, and the slot is free then.
//
// Put(x) synchronizes before the Get that returns the same slot.
func (p *Pool[T]) Put(x *T) {
	if x != nil {
		p.untyped().put(unsafe.Pointer(x))
	}
}

// TryPut is [Pool.Put] with an error instead of a panic, for programs that can go on after a mistake.
// TryPut(nil) does nothing and returns nil. A function for [WithReset] that panics lets TryPut panic.
// It takes some nanoseconds longer than Put.
func (p *Pool[T]) TryPut(x *T) error {
	if x == nil {
		return nil
	}
	return p.untyped().putOne("TryPut", unsafe.Pointer(x))
}

// Owns reports whether x is a slot of the pool, in use or not. It is false for nil, for any other
// memory, for a place inside a slot, for a slot whose page has been released, and after Close. It
// reads nothing at x. If the slot may be put and its page released meanwhile, the answer may be out of
// date when it comes.
func (p *Pool[T]) Owns(x *T) bool { return p.untyped().owns(unsafe.Pointer(x)) }

// GetBatch fills dst with slots as [Pool.Get] would, for less than as many Gets cost. It gets all
// or none: it panics where Get would, and then dst holds only nil (except after [ErrCorrupt]).
func (p *Pool[T]) GetBatch(dst []*T) {
	for done := 0; ; {
		part := dst[done:min(done+batchSize, len(dst))]
		b, err := p.untyped().getBatch(pointers(part))
		if err == nil && b.fresh != 0 && p.core.construct != nil {
			err = p.core.makeObjects(pointers(dst), done, b)
		}
		done += b.n
		if err != nil {
			p.core.undoBatch(pointers(dst[:done]))
			clear(dst)
			panic(err)
		}
		if p.core.clearsOnGet {
			for k, x := range part {
				if b.fresh>>k&1 == 0 {
					zero(x)
				}
			}
		}
		if done == len(dst) {
			return
		}
	}
}

// PutBatch gives back all slots of xs as [Pool.Put] would, for less than as many Puts cost. They
// need not come from one GetBatch. It skips nil and does not change xs. If it panics, as Put would,
// the slots before the offending one have been put back, and those after it have not. In a pool
// that clears or resets in Put, it may save nothing.
func (p *Pool[T]) PutBatch(xs []*T) {
	for {
		n := min(len(xs), batchSize)
		p.untyped().putBatch(pointers(xs[:n]))
		if xs = xs[n:]; len(xs) == 0 {
			return
		}
	}
}

// Stats returns what the pool has done and holds. The numbers are exact if no other call is under
// way. Otherwise each of them is close. Stats takes time in proportion to the pages of the pool.
// Meanwhile Gets wait that want another page; where Gets and Puts take locks (see [Stats].Access),
// all of them wait. Stats works after Close.
func (p *Pool[T]) Stats() Stats { return p.untyped().stats() }

// Live returns how many slots are in use, as [Stats].Live does, for less: it takes a nanosecond or a
// few for each page and each P, and holds up nobody. It is exact if no other call is under way. After
// Close it returns 0.
func (p *Pool[T]) Live() int { return p.untyped().liveNow() }

// Trim brings every free slot home, releases all pages without a slot in use, warm ones too, and
// gives their memory back to the OS. It returns how many bytes went back. Pages of the Go heap
// ([WithGoHeap]) are left to the garbage collector, and do not count. Other calls wait while Trim
// collects. After Close it panics with an error that wraps [ErrClosed].
func (p *Pool[T]) Trim() (bytes int64) {
	bytes = p.untyped().trim("Trim")
	if p.core.depot.closed.Load() {
		panic(p.core.errClosed("Trim"))
	}
	return bytes
}

// Close ends the pool. Its memory goes to other pools, and if none wants it within a second, to the
// OS. While slots are out, Close changes nothing and returns an error that wraps [ErrInUse]. If the
// pool is closed already, it returns an error that wraps [ErrClosed].
//
// A pool with [WithGoHeap] leaves its memory to the garbage collector. Close ends it whatever is
// out, and adds the slots that are out to [Stats].Lost. What they hold stays as long as the program
// refers to it.
//
// After Close, TryGet returns an error that wraps ErrClosed, Deref returns nil, PutRef returns
// false, and Stats returns what was counted. Put(nil) and Ref(nil) still do nothing. All other
// calls panic with an error that wraps ErrClosed.
func (p *Pool[T]) Close() error { return p.untyped().close() }

// CloseWhenEmpty closes the pool when its last slot is put, or at once if none is in use. It is for
// programs that shut down while objects are on their way through queues. From now on, Gets of all
// kinds fail as after Close; those that wait in [Pool.GetContext] end with an error that wraps
// [ErrClosed]. All other calls work until the pool is closed. With [WithGoHeap], slots that the
// program forgets are waited for until the garbage collector has taken them.
//
// Close may be called meanwhile, and does what it does at any time. CloseWhenEmpty returns an error
// that wraps ErrClosed if it was called before, or if the pool is closed. Before it is called, Put
// costs nothing for it.
func (p *Pool[T]) CloseWhenEmpty() error { return p.untyped().closeWhenEmpty() }

// Clear takes back all slots at once, whoever has them, without a look at each. The program must not
// use any of them afterwards, and Refs of them refer to nothing. It is for objects that end together:
// those of a level of a game, a batch, or a test.
//
// Nobody else may use the pool meanwhile. Where Clear can see that somebody does, it panics with an
// error that wraps [ErrInUse], and has changed nothing; it does not see everything. After Close it
// panics with an error that wraps [ErrClosed].
//
// Pages go back as in Close: other pools can have them, and the next Gets of this one. So objects that
// [WithInit] has made are gone, and no [WithReset] function runs. Clear takes some hundred
// nanoseconds for each page, and reads 4 bytes for each slot of pages that had Refs.
func (p *Pool[T]) Clear() {
	if err := p.untyped().clearAll(); err != nil {
		panic(err)
	}
}
