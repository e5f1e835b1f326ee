// Package pool is an allocator for fixed-size objects that the garbage collector does not see. A
// pool hands out typed slots on off-heap pages, and takes them back on any goroutine. For types
// with pointers, pages are on the Go heap ([WithGoHeap]).
//
//	orders := pool.New[Order](pool.WithName("orders"))
//	o := orders.Get() // zeroed, like new(Order)
//	...
//	orders.Put(o) // o must not be used any more
//
// It replaces [sync.Pool]. Unlike sync.Pool, a pool is typed, keeps its objects across garbage
// collections, panics when a slot is put twice or never came from the pool, knows how many slots
// are out, and gives memory back by a policy of its own.
//
// # Which types fit
//
// T may be any type of 1 byte to 64 MiB ([MaxSlotSize]) that holds no Go pointer at any depth:
// numbers, bools, and arrays and structs of them. New refuses pointers, strings, slices, maps,
// interfaces, functions and channels, because the garbage collector would not see what they refer
// to. [CheckType] tells beforehand. A field can be a fixed-size array instead of a string, and an
// index or a [Ref] instead of a pointer.
//
// With [WithGoHeap], T may be any type of 1 byte to 64 MiB, because pages are on the Go heap. The
// garbage collector then looks into slots, and takes back those that the program has forgotten.
// With [WithInit], objects keep their maps and buffers from one user to the next, as in a
// sync.Pool.
//
// A slot is aligned to the largest power of two that divides the size of T, up to 4096 bytes, so a
// [4096]byte begins where an OS page may begin. (A T with pointers is aligned to 8 bytes.)
// [WithAlign] aligns slots more.
//
// A pool is not for code that cannot tell when an object's last user is done: a slot that is used
// after its Put may be somebody else's. One that is never Put is never reclaimed, except on the Go
// heap.
//
// # Slices of bytes
//
// For buffers of varying size there is [Bytes], which hands out a []byte of any length, from size
// classes. Each class is like a pool of arrays.
//
//	bodies := pool.NewBytes(pool.WithName("bodies"))
//	b := bodies.Get(4096)[:0]
//	b = bodies.Grow(b, len(chunk)) // before append: it moves to a larger class if need be
//	b = append(b, chunk...)
//	...
//	bodies.Put(b) // b, or any part of it
//
// Slots are on the Go heap, so a slice that is forgotten, or that append has moved, is no leak. With
// [WithOffHeap] they are off it. [Buffer] is a [bytes.Buffer] for writing on top of that.
//
// # Get and Put, or Ref
//
// Hold the *T from [Pool.Get] to [Pool.Put] where it is clear who puts it. Hold a Ref ([Pool.Ref])
// where another slot, a map or a large table refers to the slot, or where the slot may be gone by
// the time it is needed. A Ref has 8 bytes and no pointer, so the garbage collector does not look
// at it. Once the slot is Put, [Pool.Deref] returns nil. If several goroutines call [Pool.PutRef],
// one of them puts the slot.
//
// [Pool.GetBatch] and [Pool.PutBatch] move many slots for less than as many single calls cost.
// [Pool.Clear] takes all slots back at once.
//
// # Bounds
//
// [WithMaxSlots] bounds the slots in use, and [WithLimit] their memory. At the bound, Get panics,
// TryGet returns an error, and [Pool.GetContext] waits until a slot is put. So a pool can be the
// semaphore of a program whose work needs an object each. [Pool.Live] tells how many are in use.
// A program that ends while objects are on their way calls [Pool.CloseWhenEmpty].
//
// # Memory model
//
// Put(x) synchronizes before the Get that returns the same slot, and Ref(x) before a Deref of the
// Ref that it returned, as [Pool.Deref] says. The pool adds no other ordering; in particular,
// handing x to another goroutine needs the same synchronization as any other pointer. Close
// synchronizes after every Put.
//
// # Errors
//
// Calls panic with an error that wraps one of those below, names the pool, and says what to do. The
// pool remains usable. Calls that return an error return the same one.
//
//	call                       panics with                              or instead
//	New, NewBytes              *TypeError, or an error for an option    CheckType returns it
//	Get, GetNoZero, GetBatch   ErrLimit, ErrOutOfMemory, ErrClosed      TryGet returns it
//	GetContext                                                          returns it, or the context's
//	Put, PutBatch              ErrDoublePut, ErrForeignPut, ErrClosed   TryPut returns it
//	Ref                        as Put, and ErrLimit
//	GetRef                     as Get and Ref
//	Deref                                                               returns nil
//	PutRef, PutRefs            only beside a Put of the same slot       returns false, or goes on
//	All                        ErrClosed, ErrLimit
//	Trim                       ErrClosed
//	Clear                      ErrClosed, ErrInUse
//	Close                                                               returns ErrInUse, ErrClosed
//	CloseWhenEmpty                                                      returns ErrClosed
//	Owns, Live, Stats                                                   answer in any case
//
// An error says what is to be known about it:
//
//   - [ErrOutOfMemory]: the system refuses memory. A later call may get it.
//   - [ErrLimit]: one of the limits of the pool or of the process. Ref: too many pages have Refs.
//   - [ErrDoublePut]: the slot is not in use. A second Put goes unnoticed if the slot has been handed
//     out again since; a second PutRef does not.
//   - [ErrForeignPut]: it is not a slot of this pool. If the slot's page has been released since, the
//     error wraps ErrDoublePut as well, or ErrForeignPut alone if another pool has the memory.
//   - [ErrInUse]: slots are out, except with WithGoHeap; or Clear sees another call under way.
//   - [ErrClosed]: the pool is closed. From Close and CloseWhenEmpty: it was closed before.
//   - [ErrCorrupt], with -tags pooldebug, from any call that gets or puts slots, Trim and Close: a
//     slot was written to after its Put, or beyond its end.
//
// Gets and Puts also panic with what the functions of [WithInit] and [WithReset] panic with. A
// [Bytes] is like a pool, and has an error of its own for a negative length; Grow panics where Get
// does, and TryPut returns false instead of ErrForeignPut. [Buffer] panics where Bytes does. A Pool
// or a Bytes that New did not make, nil included, and a copy of one panic as well.
//
// # Options
//
//	WithName(name)            for messages, Stats and the profile
//	WithGoHeap()              pages of the Go heap: for a T with pointers, and for programs that do
//	                          not put all slots
//	WithInit(f)               f makes objects, which then keep what they hold
//	WithReset(f)              f runs in Put
//	WithMaxSlots(n)           at most n slots in use
//	WithLimit(bytes)          at most so much memory; SetProcessLimit bounds all pools off the heap
//	WithWarmPages(n),         how many empty pages to keep between bursts; others go within a second
//	WithWarmSlots(n)
//	WithAlign(bytes)          slots at multiples of up to 4096 bytes: cache lines, O_DIRECT
//	WithProfile(rate)         the pprof profile pool_live: who holds the slots in use
//	WithGuardSampling(n)      uses after Put found in production, for a sample of the slots
//	WithOffHeap()             for NewBytes: off the Go heap
//
// [NewBytes] says what options mean for a Bytes. [Pool.Stats], [Bytes.Stats], [ReadStats] and
// [ReadMemory] tell what pools have done and hold.
//
// # Testing
//
// Three builds look closer, and docs/debugging.md shows what they print:
//
//   - go test -race: Get and Put count as writes to the slot. A use of the slot that nothing orders
//     before its Put, or after its Get, is reported as a race.
//   - go test -tags pooldebug finds writes after Put, writes beyond the slot's end, and Puts that
//     race, and has the stacks of the Get and the Put. [Leaks] lists slots never put, and so does
//     Close off the Go heap.
//   - go test -asan: an access to a slot that is not in use ends the program at once.
//
// Package pooltest makes pools for tests, which fail the test if it leaves slots out, and looks at all
// pools at the end of a package's tests.
//
// Pools can be made and used in bubbles of testing/synctest, and inside and outside in turn.
// Inside, time stands still for them: what time would release stays until something is released
// outside, or the garbage is collected.
//
// # Builds
//
// [Stats].Access says how Get and Put get a part of the pool to themselves. A pair of them takes
// three to six times as long in the second and the third way as in the first.
//
//   - nosplit: they run where the scheduler does not preempt them. This is the way on Linux with
//     amd64 and arm64; -tags poolfast makes it the way on macOS, BSDs, Windows and other 64-bit
//     processors, where it has not been tested yet.
//   - pinned: they pin the goroutine to its P. This is the way on Linux with amd64 and arm64 if the
//     Go release is later than those that this version knows, and with POOL_FASTPATH=off in the
//     environment.
//   - locked: they take a lock. This is the way everywhere else: on other systems and processors,
//     with -race, -msan and -asan, and with -tags pooldebug and poolportable.
//
// docs/runtime.md has the exact conditions, and what the package relies on in the Go runtime.
//
// Without WithGoHeap, slots lie outside of the Go heap ([Stats].OffHeap) on Linux, macOS, the BSDs
// and Windows. On other systems, js and wasip1 among them, and with -race, pages come from the Go
// heap. The same calls work in the same way, and the same types fit. But the garbage collector
// counts the memory, sees it as a few large objects without pointers, and keeps all that pools ever
// used at once. No slot is guarded there. Pools with WithGoHeap are the same everywhere.
//
// # How it works
//
// docs/design.md explains it: the words, the paths of Get and Put, and the argument for each step.
// docs/patterns.md shows what programs build around a pool: expiry, objects with several holders, a
// semaphore, an orderly end.
package pool
