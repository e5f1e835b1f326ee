package pool

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Slices of bytes, in size classes. A Bytes has a core for each class, which is that of a pool of
// arrays, and which the first Get of the class makes. Get is the arithmetic that leads from a length
// to a class (classOf), and then core.get.
//
// Put has a slice, which may be any part of what Get returned. So it looks for the slot around an
// address (page.slotAround), where a pool's Put wants the address of one. The page says by its spec
// which class it is of, and whose. The rest is core.put.
//
// What the classes share is their family. Each spec points to it. A page leads to its spec, and must
// not lead to the Bytes, or a Bytes on the Go heap that the program has forgotten would stay for its
// slots (heappages.go). So a family knows neither the Bytes nor a core.

// A Bytes hands out slices of bytes of any length. [NewBytes] makes one. The zero Bytes is not
// usable, and a Bytes must not be copied. Methods are safe for concurrent use.
//
// There are classes of 16, 32, and so on to 128 bytes, and from there on eight for each doubling, up
// to [MaxSlotSize]. The capacity of a slice is that of the smallest class that it fits in. Above 128
// bytes, no more than an eighth of the length is added to it.
//
// Slots come from the Go heap. A slice that the program forgets, because append has moved its
// contents or because a function returned early, is no leak there: the garbage collector takes it
// with its page ([WithGoHeap] says how). It is counted in [BytesStats].Lost. With [WithOffHeap], each
// slice has to be Put.
//
// Methods panic with errors that wrap those of this package, such as [ErrLimit].
type Bytes struct {
	self    *Bytes // the Bytes itself; set once
	family  *family
	classes [classCount]atomic.Pointer[core] // nil: nothing was got of the class yet
	options options                          // of all classes; set once

	mu     sync.Mutex  // held by whoever makes classes, or closes them; before all locks of a core
	closed atomic.Bool // changed under mu

	kin       searches // of Gets that want memory of other classes
	largeGets atomic.Uint64
}

// A family is what the classes of a Bytes share.
type family struct {
	name  string // WithName
	limit int64  // WithLimit, in bytes; 0: none

	// used is how many bytes the pages of all classes take, from the moment at which somebody decides
	// to make them. It is counted together with depot.making, depot.pages and depot.guarded. Any
	// goroutine.
	used atomic.Int64
}

const (
	smallClasses = 8 // of 16 to 128 bytes
	perDoubling  = 8 // classes from one power of two to the next

	// doublings is how often 128 is doubled up to MaxSlotSize: the number of the one bit that is set
	// in the quotient.
	doublings = min(quotient&0xaaaa_aaaa, 1) + min(quotient&0xcccc_cccc, 1)*2 + min(quotient&0xf0f0_f0f0, 1)*4 +
		min(quotient&0xff00_ff00, 1)*8 + min(quotient&0xffff_0000, 1)*16
	quotient = MaxSlotSize / 128

	classCount = smallClasses + doublings*perDoubling
)

// The largest class is that of MaxSlotSize.
const _ = -uint(128<<doublings ^ MaxSlotSize)

// classOf returns the number of the class for n bytes, and the size of its slots. Above MaxSlotSize,
// the number is classCount or more.
//
// n-1 is cut to its four upper bits, or up to 128 bytes, to what is above the lower four. What is cut
// off is the step from one class to the next.
func classOf(n uint) (class uint, size int) {
	n = max(n, 1) - 1
	shift := uint(bits.Len(n|128)-4) % bits.UintSize
	upper := n >> shift
	return upper + perDoubling*(shift-4), int((upper + 1) << shift)
}

// sizeOfClass returns the size of the slots of a class.
func sizeOfClass(class int) int {
	if class < smallClasses {
		return (class + 1) * 16
	}
	return (class%perDoubling + 9) << (class/perDoubling + 3)
}

// WithOffHeap takes the memory of a [Bytes] from the system, as pools do by default, and not from
// the Go heap: the garbage collector does not know of it, [SetProcessLimit] bounds it, and each slice
// has to be Put. It is for NewBytes only. [New] panics if it is given this option, and NewBytes if it
// is given WithGoHeap as well.
func WithOffHeap() Option {
	return func(o *options) { o.offHeap = true }
}

// NewBytes makes a Bytes. It takes no memory for slots yet; a class takes some KiB for each P from
// its first Get on. NewBytes panics if an option's value makes no sense. It is safe for concurrent
// use.
//
// [WithName], [WithProfile] and [WithOffHeap] may be given, and [WithGuardSampling], which does
// something off the Go heap only. [WithLimit] is for all classes together, in bytes, and exact. At
// the limit, a Get takes what its class has free, then the pages of other classes that have no
// slot in use, and then fails. (A class whose page is larger than the limit has no slot: pages
// have 4 MiB for slots above 64 KiB, and one slot each above 512 KiB, or on the Go heap above 64
// KiB.) With [WithWarmPages], each class keeps up to n pages. WithGoHeap is the default.
// [WithInit], [WithReset], [WithAlign], [WithMaxSlots] and [WithWarmSlots] are for pools, and
// NewBytes panics if it is given one.
//
// A Bytes off the Go heap that has slots in use lives until Close, as pools do. On the Go heap, it is
// collected when nothing refers to it.
func NewBytes(opts ...Option) *Bytes {
	o, err := optionsOf("bytes", opts)
	if err != nil {
		panic(err)
	}
	f := &family{name: o.name, limit: o.limit}
	if err := o.checkForBytes(f); err != nil {
		panic(err)
	}
	o.goHeap = !o.offHeap
	smallest := specOfClass(0, options{goHeap: o.goHeap, family: f})
	if err := o.check(f, int64(smallest.geo.pageSize)); err != nil {
		panic(err)
	}
	if o.profileRate != 0 {
		o.startProfile()
	}
	o.limit, o.family = 0, f
	b := &Bytes{family: f, options: o}
	b.self = b
	return b
}

// checkForBytes returns an error if an option is none for a Bytes.
func (o *options) checkForBytes(f *family) error {
	switch {
	case o.init.t != nil:
		return fmt.Errorf("%s: WithInit is for pools: what Get returns is not initialized; write it before you read it", f)
	case o.reset.t != nil:
		return fmt.Errorf("%s: WithReset is for pools: Put leaves contents as they are; clear what must not stay before Put", f)
	case o.maxSlots != 0:
		return fmt.Errorf("%s: WithMaxSlots is for pools: a Bytes has slots of many sizes; bound it by WithLimit, in bytes", f)
	case o.warmSlots != 0:
		return fmt.Errorf("%s: WithWarmSlots is for pools: a Bytes has slots of many sizes; give WithWarmPages", f)
	case o.hasAlign:
		return fmt.Errorf("%s: WithAlign is for pools: make a pool of arrays with it, as in New[[4096]byte](WithAlign(512))", f)
	case o.goHeap && o.offHeap:
		return fmt.Errorf("%s: WithGoHeap and WithOffHeap exclude each other; give WithOffHeap, or neither", f)
	}
	return nil
}

// specOfClass returns the spec of a class.
func specOfClass(class int, o options) *spec {
	o.class = uint8(class)
	sp, err := newSpec(reflect.ArrayOf(sizeOfClass(class), reflect.TypeFor[byte]()), o)
	if err != nil {
		panic(err) // NewBytes has not checked the options
	}
	return sp
}

// Get returns a slice of n bytes that is the caller's until Put. Its capacity is that of its class.
// It holds anything: most likely what another user left. For n = 0, the slice has no length, the
// capacity of the smallest class, and is Put like any other. For n above [MaxSlotSize], Get allocates
// the slice by make, without a slot.
//
// If Get cannot return a slice, it panics with an error that wraps [ErrLimit], [ErrOutOfMemory] or
// [ErrClosed]; [Bytes.TryGet] returns the error instead. Both panic if n is negative.
func (b *Bytes) Get(n int) []byte {
	if class, size := classOf(uint(n)); b != nil && class < classCount {
		if c := b.classes[class].Load(); c != nil {
			return bytesAt(c.get(), size)[:n]
		}
	}
	return b.mustGet(n)
}

// mustGet is Get for the first Get of a class, and for what no class has.
//
//go:noinline
func (b *Bytes) mustGet(n int) []byte {
	s, err := b.TryGet(n)
	if err != nil {
		panic(err)
	}
	return s
}

// TryGet is [Bytes.Get] for programs that can do without a slice. Instead of a panic, it returns nil
// and an error that wraps [ErrLimit], [ErrOutOfMemory] or [ErrClosed]. It takes some nanoseconds
// longer. Lengths above [MaxSlotSize] are for make, which panics, or ends the program, where Go has
// no memory for them: check a length that comes from outside.
func (b *Bytes) TryGet(n int) ([]byte, error) {
	b.requireNew()
	if n < 0 {
		panic(fmt.Errorf("%s: Get(%d): the length of a slice is not negative", b.family, n))
	}
	class, size := classOf(uint(n))
	if class >= classCount {
		if b.closed.Load() {
			return nil, b.errClosed("Get")
		}
		b.largeGets.Add(1)
		return make([]byte, n), nil
	}
	c := b.classes[class].Load()
	if c == nil {
		var err error
		if c, err = b.makeClass(int(class)); err != nil {
			return nil, err
		}
	}
	x, _, err := c.tryGet()
	if err != nil {
		return nil, err
	}
	return bytesAt(x, size)[:n], nil
}

// makeClass returns a class that seemed not to be there.
func (b *Bytes) makeClass(class int) (*core, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil, b.errClosed("Get")
	}
	if c := b.classes[class].Load(); c != nil {
		return c, nil
	}
	c := new(core)
	c.takeFromKin = b.takeFromKin
	c.putElsewhere = func(op string, x unsafe.Pointer) error {
		return b.putOther(op, bytesAt(x, sizeOfClass(class)))
	}
	c.init(specOfClass(class, b.options))
	b.classes[class].Store(c)
	return c, nil
}

// Put gives back a slice that Get or Grow has returned, or any part of it, on whatever goroutine.
// Nobody may use any part of it any more. Put does nothing if the capacity of s is 0, and if it is
// above [MaxSlotSize]: such a slice has no slot, and is the garbage collector's. (Put it whole, or not
// at all: nothing tells a part with less capacity from memory that came from elsewhere.)
//
// Put panics with an error that wraps [ErrDoublePut] if the slot is not in use, [ErrForeignPut] if s
// lies in no slot of b (both, if its page has been released since), and [ErrClosed] after Close. b is
// unchanged then and remains usable. A slice that append has moved is no slot of b. So use
// [Bytes.Grow] before append, or give back what append may have moved by [Bytes.TryPut]. A second Put
// of a slot that has been handed out again since goes unnoticed and frees the slot under its new
// user.
//
// Put(s) synchronizes before the Get that returns the same slot.
func (b *Bytes) Put(s []byte) {
	if class, size := classOf(uint(cap(s))); b != nil && class < classCount && size == cap(s) {
		if c := b.classes[class].Load(); c != nil {
			c.put(startOf(s)) // if it is no slot of this class, that ends in putOther
			return
		}
	}
	b.mustPut(s)
}

// mustPut is Put for a slice whose capacity is that of no class in use: most likely a part of a slot.
//
//go:noinline
func (b *Bytes) mustPut(s []byte) {
	if c, x := b.find(s); c != nil {
		c.put(x)
		return
	}
	if err := b.putOther("Put", s); err != nil {
		panic(err)
	}
}

// TryPut is [Bytes.Put] for slices that may be no memory of b: those that append may have moved, or
// that came from elsewhere. It leaves such a slice alone and returns false. Where Put does nothing,
// because of the slice's capacity, TryPut returns true. It panics like Put if the slot is not in use,
// and after Close.
func (b *Bytes) TryPut(s []byte) bool {
	if c, x := b.find(s); c != nil {
		c.put(x)
		return true
	}
	err := b.putOther("TryPut", s)
	if err == nil {
		return true
	}
	if errors.Is(err, ErrForeignPut) && !errors.Is(err, ErrDoublePut) {
		return false
	}
	panic(err)
}

// find returns the class that s is of, and the slot in which it lies. It returns nil if s lies in no
// slot of b, and also for a slot in a weak page of the Go heap.
func (b *Bytes) find(s []byte) (*core, unsafe.Pointer) {
	x := startOf(s)
	pg := entryOf(uintptr(x))
	if pg == nil || b == nil || cap(s) == 0 {
		return nil, nil
	}
	base := pg.first()
	slot, ok := pg.slotAround(uintptr(base), x, cap(s))
	if sp := pg.spec; ok && base != nil && sp.family == b.family {
		return b.classes[sp.class].Load(), slot
	}
	return nil, nil
}

// findAny is find that finds slots of weak pages as well. If there is none, it says why, for op.
func (b *Bytes) findAny(op string, s []byte) (*core, unsafe.Pointer, error) {
	x := startOf(s)
	addr := uintptr(x)
	pg := pageOf(addr)
	if pg.isDead() {
		pg = noPage
	}
	foreign := func(why string, args ...any) error {
		return fmt.Errorf("%s: %s(%#x): %w: %s", b.family, op, addr, ErrForeignPut, fmt.Sprintf(why, args...))
	}
	switch isOurs := pg != noPage && pg.spec.family == b.family; {
	case pg == noPage && wasPage(addr), isOurs && pg.isOver():
		return nil, nil, fmt.Errorf("%s: %s(%#x): %w, %w: a page of these bytes or of a pool was there, and has been released since; Put each slice once, when its last user is done, and before Close", b.family, op, addr, ErrDoublePut, ErrForeignPut)
	case pg == noPage:
		return nil, nil, foreign("no pool has had memory there: append moved it: use Grow, or TryPut; or it never came from Get")
	case !isOurs:
		return nil, nil, foreign("the memory belongs to %s now; Put each slice once, and where it came from", pg.spec)
	}
	slot, ok := pg.slotAround(pg.begin(), x, cap(s))
	if ok {
		return b.classes[pg.spec.class].Load(), slot, nil
	}
	if addr < pg.begin() || addr >= pg.end() {
		return nil, nil, foreign("it is beside the slots of a page; Put what Get returned, or a part of it")
	}
	return nil, nil, foreign("with a capacity of %d bytes, it reaches beyond its slot; Put what Get returned, or a part of it", cap(s))
}

// putOther is Put, for op, of what find has not found.
//
//go:noinline
func (b *Bytes) putOther(op string, s []byte) error {
	if c := cap(s); c == 0 || c > MaxSlotSize {
		return nil
	}
	b.requireNew()
	if b.closed.Load() {
		return b.errClosed(op)
	}
	c, x, err := b.findAny(op, s)
	if err == nil {
		err = c.putOne(op, x)
	}
	runtime.KeepAlive(s) // a weak page must not go before the slot is free
	return err
}

// Owns reports whether s lies in a slot of b, in use or not. A slice without capacity lies in none.
func (b *Bytes) Owns(s []byte) bool {
	b.requireNew()
	if cap(s) == 0 {
		return false
	}
	_, _, err := b.findAny("Owns", s)
	runtime.KeepAlive(s)
	return err == nil
}

// Grow returns a slice with the contents of s and room for n more bytes: append can append them
// without moving the slice. If s has the room, that is s. Otherwise Grow gets a slice with at least
// twice the capacity, as long as a class has that, copies the contents, and puts s as [Bytes.TryPut]
// does. Nobody may use s any more then. s may be nil, and may come from elsewhere.
//
// Grow panics if n is negative, and where [Bytes.Get] would. s is unchanged then, and remains the
// caller's.
func (b *Bytes) Grow(s []byte, n int) []byte {
	b.requireNew()
	if n < 0 {
		panic(fmt.Errorf("%s: Grow by %d bytes: the number is not negative", b.family, n))
	}
	if cap(s)-len(s) >= n {
		return s
	}
	larger := b.larger(s, n)
	b.letGo(s, larger)
	return larger
}

// larger returns a new slice with the contents of s and room for n bytes more, which s does not have.
func (b *Bytes) larger(s []byte, n int) []byte {
	need := len(s) + n
	if need < 0 {
		panic(fmt.Errorf("%s: Grow: a slice of %d bytes has no room for %d more", b.family, len(s), n))
	}
	if need > MaxSlotSize {
		if b.closed.Load() {
			panic(b.errClosed("Grow"))
		}
		b.largeGets.Add(1)
		return append(s[:len(s):len(s)], make([]byte, n)...)[:len(s)] // with room for more, as append has it
	}
	larger := b.Get(max(need, min(2*cap(s), MaxSlotSize)))[:len(s)]
	copy(larger, s)
	return larger
}

// letGo puts s, whose contents have moved. If that is misuse, it puts their new place too.
func (b *Bytes) letGo(s, moved []byte) {
	done := false
	defer func() {
		if !done {
			b.Put(moved)
		}
	}()
	b.TryPut(s)
	done = true
}

// requireNew panics if NewBytes did not make b.
func (b *Bytes) requireNew() {
	switch {
	case b == nil || b.self == nil:
		panic(errBytesNotNew)
	case b.self != b:
		panic(errBytesCopied)
	}
}

func (b *Bytes) errClosed(op string) error {
	return fmt.Errorf("%s: %s: %w: finish all use of it before Close", b.family, op, ErrClosed)
}

// cores returns the classes in use, the smallest first.
func (b *Bytes) cores() []*core {
	var cores []*core
	for i := range b.classes {
		if c := b.classes[i].Load(); c != nil {
			cores = append(cores, c)
		}
	}
	return cores
}

// takeFromKin has the classes release pages that have no slot in use, for a Get of c at the limit of
// all. It reports whether to try again. The caller has no lock and no shard.
//
// Callers that come while one is at it wait, and share what it finds, as in core.search.
func (b *Bytes) takeFromKin(c *core) bool {
	q := &b.kin
	before := q.begun.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.begun.Load() == before {
		q.run(b.releaseEmpty)
	}
	return !q.failed || c.depot.hasRoom()
}

// releaseEmpty has all classes release pages. It reports whether there were any. It waits for what is
// in transit. kin.mu is held.
func (b *Bytes) releaseEmpty() bool {
	cores := b.cores()
	for rounds := range 1000 {
		var before []surroundings
		for _, c := range cores {
			c.endQuarantine("Get")
			before = append(before, c.depot.lookAround())
		}
		if releaseSome(cores) {
			return true
		}
		isQuiet := true
		for i, c := range cores {
			isQuiet = isQuiet && c.watches.quarantined() == 0 && c.depot.transit.quietSince(before[i].transit)
		}
		if isQuiet {
			break
		}
		pause(rounds)
	}
	return false
}

// take counts bytes of pages that are about to be made, unless the limit forbids them.
func (f *family) take(bytes int64) bool {
	for {
		used := f.used.Load()
		if f.limit != 0 && used+bytes > f.limit {
			return false
		}
		if f.used.CompareAndSwap(used, used+bytes) {
			return true
		}
	}
}

// giveBack takes back what take has counted.
func (f *family) giveBack(bytes int64) { f.used.Add(-bytes) }

// hasRoom reports whether the limit allows more bytes of pages.
func (f *family) hasRoom(bytes int64) bool { return f.limit == 0 || f.used.Load()+bytes <= f.limit }

// errLimit is what a Get of a class returns at the limit.
func (f *family) errLimit(sp *spec) error {
	return fmt.Errorf("%s: %w: no slot is free, and WithLimit allows no more than %d KiB for all classes, in pages of %d KiB for this one; Put slices, or raise the limit", sp, ErrLimit, f.limit>>10, sp.geo.pageSize>>10)
}

// String names the Bytes in messages: bytes "bodies".
func (f *family) String() string {
	if f.name == "" {
		return "bytes"
	}
	return fmt.Sprintf("bytes %q", f.name)
}

// BytesStats is what a [Bytes] has done and holds. Its fields add up those of Classes: see [Stats].
type BytesStats struct {
	Name    string            // as given to WithName
	Classes []BytesClassStats // those that were used, the smallest first

	Live      int    // slots handed out and not yet Put, without those in Lost
	LiveBytes int64  // their capacity
	Lost      uint64 // slots that the program has forgotten, and that the garbage collector has taken

	Gets, FailedGets, SlowGets uint64 // see Stats
	LargeGets                  uint64 // slices above MaxSlotSize, which are in no other field

	MappedBytes    int64 // address space of all pages
	CommittedBytes int64 // the part of it that slots were carved from
	PurgedBytes    int64 // released bytes that went back to the OS
	LimitBytes     int64 // bound of MappedBytes by WithLimit; 0: no limit
}

// BytesClassStats is what a class of a [Bytes] has done and holds.
type BytesClassStats struct {
	Size  int // bytes of a slot
	Stats     // Name is that of the Bytes, and LimitBytes bounds all classes together
}

// Stats returns what b has done and holds. It costs what [Pool.Stats] costs for each class in use,
// and is as exact. Stats works after Close.
func (b *Bytes) Stats() BytesStats {
	b.requireNew()
	st := BytesStats{
		Name:       b.family.name,
		LargeGets:  b.largeGets.Load(),
		LimitBytes: b.family.limit,
	}
	for _, c := range b.cores() {
		of := BytesClassStats{int(c.size), c.stats()}
		st.Classes = append(st.Classes, of)
		st.Live += of.Live
		st.LiveBytes += int64(of.Live) * int64(of.Size)
		st.Lost += of.Lost
		st.Gets += of.Gets
		st.FailedGets += of.FailedGets
		st.SlowGets += of.SlowGets
		st.MappedBytes += of.MappedBytes
		st.CommittedBytes += of.CommittedBytes
		st.PurgedBytes += of.PurgedBytes
	}
	return st
}

// Trim does what [Pool.Trim] does, for all classes, and returns how many bytes went back to the OS.
// Pages of the Go heap are left to the garbage collector, and do not count. After Close it panics
// with an error that wraps [ErrClosed].
func (b *Bytes) Trim() (bytes int64) {
	b.requireNew()
	for _, c := range b.cores() {
		bytes += c.trim("Trim")
	}
	if b.closed.Load() {
		panic(b.errClosed("Trim"))
	}
	return bytes
}

// Close ends b. On the Go heap, it ends it whatever is out, as [Pool.Close] does with WithGoHeap, and
// adds the slots that are out to Lost. Off the Go heap, Close changes nothing while slots are out,
// and returns an error that wraps [ErrInUse]. If b is closed already, it returns an error that wraps
// [ErrClosed].
//
// Finish all use of b before Close. A Get that runs at the same time may panic with ErrClosed. Or it
// may get a slot of a class that was not in use when Close looked. Then Close returns an error that
// wraps ErrInUse, and may have closed other classes. Put the slot and call Close again.
//
// After Close, Stats returns what was counted, and TryGet returns an error that wraps ErrClosed. Get,
// Put, TryPut and Trim panic with one, and Owns returns false.
func (b *Bytes) Close() error {
	b.requireNew()
	b.mu.Lock()
	defer b.mu.Unlock()
	open := slices.DeleteFunc(b.cores(), func(c *core) bool { return c.depot.closed.Load() })
	if b.closed.Load() && len(open) == 0 {
		return b.errClosed("Close")
	}
	if b.options.offHeap {
		if err := b.checkUnused(open); err != nil {
			return err
		}
	}
	b.closed.Store(true)
	var err error
	for _, c := range open {
		err = cmp.Or(err, c.close())
	}
	return err
}

// checkUnused reports whether a slot of some classes is out.
func (b *Bytes) checkUnused(cores []*core) error {
	out, where := 0, ""
	for _, c := range cores {
		if n := c.countOut("Close"); n != 0 {
			out += n
			where += fmt.Sprintf("\n%d of %d bytes%s", n, c.size, c.watches.someLeaks())
		}
	}
	if out == 0 {
		return nil
	}
	return fmt.Errorf("%s: Close: %w: %d of its slots have not been Put:%s", b.family, ErrInUse, out, where)
}
