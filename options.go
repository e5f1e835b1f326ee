package pool

import (
	"fmt"
	"math"
)

// An Option changes how [New] makes a pool. One Option may be given to any number of calls. If
// several of one kind are given, the last one counts.
type Option func(*options)

type options struct {
	name      string
	limit     int64 // bytes; 0: none
	maxSlots  int   // 0: no bound
	warmPages int
	warmSlots int
	align     int  // bytes
	hasAlign  bool // WithAlign was given
	goHeap    bool // WithGoHeap
	offHeap   bool // WithOffHeap

	init, reset slotFunc

	profileRate  int // bytes a sample; 0: no profile
	startProfile func()
	guardEvery   int // 0: never

	family *family // for a class of a Bytes
	class  uint8
}

// optionsOf returns what opts say together, for what they are given to.
func optionsOf(what string, opts []Option) (o options, err error) {
	for k, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("%s: option %d of %d is nil; leave it out: options come from functions such as WithName", what, k+1, len(opts))
		}
		opt(&o)
	}
	return o, nil
}

// WithName gives the pool a name, for error messages, [Stats], the profile and [Leak]. The name
// need not be unique. By default a pool has none, and messages have the type only.
func WithName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithLimit bounds the memory of the pool, in bytes, rounded down to whole pages of 64 KiB (512
// KiB for slots above 8 KiB, 4 MiB above 64 KiB, and one page for each slot above 512 KiB; see
// [WithGoHeap] for pages there): [Stats].MappedBytes never rises above it. A Get that would exceed
// the limit first takes what the pool has free on any P. If nothing is free, it panics with an
// error that wraps [ErrLimit], and [Pool.TryGet] returns one. Each Put then makes room for one
// Get. On the Go heap, slots that the program has forgotten count until the garbage collector has
// taken them, and no Get waits for that. 0 means no limit and is the default. New panics if the
// limit is negative, or too small for one page.
//
// For n slots, a limit needs room for n / [Stats].SlotsPerPage pages, rounded up. No free slot is
// missed, whichever P has it. A pool near its limit is slower: a search for free slots stops all Ps
// that use the pool for some microseconds. Gets that search at the same time share that, and as long
// as no slot is free, none of them searches again. If some are put all the time, and a search has
// found none left, the next one waits for up to a millisecond.
func WithLimit(bytes int64) Option {
	return func(o *options) { o.limit = bytes }
}

// WithMaxSlots bounds how many slots of the pool are in use at a time: there are never more than n. A
// Get beyond that takes what the pool has free on any P. If nothing is free, it panics with an error
// that wraps [ErrLimit], [Pool.TryGet] returns one, and [Pool.GetContext] waits. No free slot is
// missed, whichever P has it. [WithLimit] bounds memory; with both, the lower bound counts. 0 means
// no bound and is the default. New panics if n is negative.
//
// The bound costs nothing while it is not reached. A pool of few slots has smaller pages than
// others ([Stats].PageBytes), and [Stats].MaxSlots has the bound. What WithLimit says of a pool near
// its limit holds here, too. With [WithGoHeap], slots that the program has forgotten count until the
// garbage collector has taken their page.
func WithMaxSlots(n int) Option {
	return func(o *options) { o.maxSlots = n }
}

// WithWarmPages makes the pool keep up to n empty pages for good, instead of releasing them within
// a second. It is for bursts that are further apart than that. A page has [Stats].SlotsPerPage
// slots. [Pool.Trim] and [Pool.Close] release these pages too. 0 is the default. New panics if n is
// negative.
func WithWarmPages(n int) Option {
	return func(o *options) { o.warmPages = n }
}

// WithWarmSlots is [WithWarmPages] for as many pages as n slots take. If both are given, the one that
// keeps more counts. 0 is the default. New panics if n is negative.
func WithWarmSlots(n int) Option {
	return func(o *options) { o.warmSlots = n }
}

// WithAlign makes slots start at multiples of n bytes. n is a power of two from 1 to 4096;
// otherwise New panics. Every slot is aligned to the largest power of two that divides the size of
// T in any case, up to 4096: a [4096]byte to 4096 bytes, and an object of 24 bytes to 8. So a
// smaller n changes nothing, and WithAlign is for types whose size does not give what is needed: 64
// to keep slots off each other's cache lines, or 512 or 4096 for files that are opened with
// O_DIRECT. Both hold for all Gets, for guarded slots, and in every build. One thing differs for T
// with pointers ([WithGoHeap]): without WithAlign, slots are aligned to 8 bytes only, and with more
// than 8, pages have 40 KiB or more.
//
// [Stats].SlotSize is rounded up to a multiple of n, and what is added is lost: an object of 24
// bytes takes 64 with WithAlign(64), and 4096 with WithAlign(4096).
func WithAlign(n int) Option {
	return func(o *options) { o.align, o.hasAlign = n, true }
}

// WithGoHeap takes the memory of slots from the Go heap. Then T may be any type: it may hold
// pointers, strings, slices and maps. The garbage collector looks into slots, counts them in the
// heap and for GOMEMLIMIT, and takes those back that the program has forgotten. It takes a whole
// page at a time, when the program has none of its slots any more: [Stats].Lost counts them. One
// slot that the program has keeps its page. So pages are smaller than others: a page is the
// smallest of 8, 16, 32 and 64 KiB that has at least 64 slots. For slots that are too large for
// that, it is 64 KiB, or has eight slots, or one above 64 KiB. With [WithInit], it has 128 slots at
// most.
//
// [Pool.Ref] keeps a slot, and with it the page, until the slot is Put, even if the program has
// forgotten the Ref. Refs of [Pool.All] keep nothing.
//
// Get returns a zeroed object, and Put clears the slot if T has pointers, so that a free slot keeps
// nothing alive; [WithInit] changes both. [Pool.Close] takes slots that are out for lost. A pool
// that nothing refers to is collected, whatever is out; one of its own objects that refers to it can
// keep it. [SetProcessLimit] does not count these pages. Slots are not guarded
// ([WithGuardSampling]), because that takes memory of the system.
//
// Do not call [runtime.SetFinalizer] on a slot: it ends the program, unless the slot happens to be
// at the beginning of an allocated object, as the first one of a page is. A cleanup of
// [runtime.AddCleanup] runs when the page goes, and not at the Put.
func WithGoHeap() Option {
	return func(o *options) { o.goHeap = true }
}

// WithInit makes a pool keep what its objects hold, as sync.Pool does. The function is called with
// a zeroed object before a slot is handed out for the first time. After that, Get and Put leave the
// object alone: buffers and maps in it survive, and so does what the last user left. (Use
// [WithReset] for what must not.) When the memory of a slot was released in between, the object is
// made anew: see [WithWarmPages] to keep more. A Get also makes one if the free ones are with other
// Ps. Nothing is called for an object that goes, so objects must not own what has to be closed. In a
// guarded slot ([WithGuardSampling]), each Get makes an object.
//
// Buffers and maps are pointers, so T that has them needs [WithGoHeap]. Off the Go heap, WithInit
// is for tables and arrays in T itself.
//
// The function runs in Get, one object at a time, on the goroutine that wants it. It may be a
// closure and use the pool. If it panics, so does the Get, and a later Get tries again with the
// same slot. New panics if the function is nil, or is for another type than T.
func WithInit[T any](init func(*T)) Option {
	return func(o *options) { o.init = slotFuncOf(init) }
}

// WithReset has Put call a function with the object, before anybody else can get it and before Put
// clears it. Maps and buffers survive a Put only with [WithInit] as well. The function runs on the
// goroutine of the Put. A second Put of a slot, or one of a wrong pointer, panics before the function
// is called. If the function panics, the slot is free all the same, its object is made anew
// ([WithInit]) or cleared, and Put panics. New panics if the function is nil, or is for another type
// than T.
func WithReset[T any](reset func(*T)) Option {
	return func(o *options) { o.reset = slotFuncOf(reset) }
}

// DefaultProfileRate is a rate for [WithProfile]: one sample for each 8 MiB. A program that does
// nothing but Get and Put takes half a per cent longer with it if slots have 64 bytes, and one per
// cent if they have 1 KiB; more if stacks are deep. The profile then shows who holds 100 MiB and
// more. To find less, use a smaller rate.
const DefaultProfileRate = 8 << 20

// WithProfile makes the pool part of the profile pool_live. The profile shows how many slots and
// bytes are in use, by the stacks that got them. The heap profile cannot show that: it does not
// have memory off the Go heap, and of a pool with [WithGoHeap] it has whole pages, by the Gets that
// needed one. The pool samples one Get for each rate bytes that it hands out, on average, and the
// sample stands for the others. It samples every Get if slots have rate bytes or more.
// [DefaultProfileRate] is a good start. 0 means no profile and is the default. New panics if rate is
// negative.
//
// Bytes are those of the slots, without what pointers in them lead to. Slots that the garbage
// collector has taken ([Stats].Lost) are not in use any more, and leave the profile.
//
// To read the profile, use pprof.Lookup("pool_live") of [runtime/pprof], or /debug/pprof/pool_live
// in a program that imports [net/http/pprof], or [WriteProfile].
func WithProfile(rate int) Option {
	return func(o *options) {
		o.profileRate = rate
		o.startProfile = startProfile // so that programs without profile do not link it
	}
}

// WithGuardSampling guards one in n slots that slow Gets hand out. (Those are most of the Gets that
// [Stats].SlowGets counts, and each TryGet.) A guarded slot has memory of its own. It ends where an
// inaccessible page of the OS begins, and it becomes inaccessible itself when it is Put. A use
// after Put then faults at the instruction that makes it, and so does an access beyond the slot's
// end, rounded up to 8 bytes or as [WithAlign] says. The program ends with "unexpected fault
// address". A goroutine that has called [runtime/debug.SetPanicOnFault] panics instead, with an
// error that has the address, and [DescribeFault] tells what was there.
//
// At most 64 slots of a pool are guarded at a time (fewer above 8 KiB, and none from 16 MiB on), and 2048 of all
// pools together. The one that was put first is used again first. Each takes one OS page of memory
// while it is in use, or as many as the slot needs. Guarded slots count as pages of the pool for
// [WithLimit], as many as their address space has, and take at most an eighth of them. GetBatch
// hands out none. 0 means none and is the default. With n = 1000 the cost is below what can be
// measured. New panics if n is negative, or does not fit into 31 bits.
//
// No slot is guarded if the memory of slots comes from the Go heap (see [Stats].OffHeap): with
// [WithGoHeap], with the race detector, which finds uses after Put itself, and on some systems.
func WithGuardSampling(n int) Option {
	return func(o *options) { o.guardEvery = n }
}

// checkAlign returns an error if the alignment makes no sense. The shape of slots depends on it,
// and check on that.
func (o *options) checkAlign(sp *spec) error {
	if o.hasAlign && (o.align < 1 || o.align > maxAlign || o.align&(o.align-1) != 0) {
		return fmt.Errorf("%s: WithAlign(%d): give a power of two from 1 to %d, in bytes", sp, o.align, maxAlign)
	}
	return nil
}

// check returns an error if another option's value makes no sense for what, whose smallest page has
// pageSize bytes.
func (o *options) check(what fmt.Stringer, pageSize int64) error {
	switch {
	case o.limit < 0 || o.limit > 0 && o.limit < pageSize:
		return fmt.Errorf("%s: WithLimit(%d): a page takes %d bytes; allow at least that, or 0 for no limit", what, o.limit, pageSize)
	case o.maxSlots < 0:
		return fmt.Errorf("%s: WithMaxSlots(%d): give a number of slots, or 0 for no bound", what, o.maxSlots)
	case o.warmSlots < 0:
		return fmt.Errorf("%s: WithWarmSlots(%d): give a number of slots, or 0 for none", what, o.warmSlots)
	case o.warmPages < 0:
		return fmt.Errorf("%s: WithWarmPages(%d): give a number of pages, or 0 for none", what, o.warmPages)
	case o.profileRate < 0:
		return fmt.Errorf("%s: WithProfile(%d): give the bytes for each sample, such as DefaultProfileRate, or 0 for no profile", what, o.profileRate)
	case o.guardEvery < 0 || o.guardEvery > math.MaxInt32:
		return fmt.Errorf("%s: WithGuardSampling(%d): give the number of slow Gets for each one that is guarded, at most %d, or 0 for none", what, o.guardEvery, math.MaxInt32)
	}
	return nil
}
