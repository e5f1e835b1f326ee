package loops

import (
	"runtime"
	"sync"
	"unsafe"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"golang.org/x/sys/unix"
	"modernc.org/memory"
)

// The sides that are no library: what people write by hand. They are generic, and inlined all the
// same where they are small enough, because the loops that call them are not generic. Too large are
// Get and Put of FreeList, which lock, and Get of Floor.

// ChannelCap is room for all objects that any workload has out.
const ChannelCap = 1 << 14

// A LockedAllocator is modernc's for more than one goroutine.
type LockedAllocator struct {
	Mu sync.Mutex
	memory.Allocator
}

// A FreeList keeps every object, in a slice under a lock.
type FreeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

// Get returns the object that was put last, or a new one.
func (l *FreeList[T]) Get() *T {
	l.mu.Lock()
	n := len(l.free)
	if n == 0 {
		l.mu.Unlock()
		return new(T)
	}
	x := l.free[n-1]
	l.free = l.free[:n-1]
	l.mu.Unlock()
	return x
}

// Put adds x.
func (l *FreeList[T]) Put(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}

// A Slab has its objects in one slice, and hands out their indexes. One goroutine may use it. It
// grows by append, which moves all objects: a pointer to one is good until the next Get.
type Slab[T any] struct {
	Slots []T
	free  []uint32
}

// Get returns the index that was put last, or a new one.
func (s *Slab[T]) Get() uint32 {
	n := len(s.free)
	if n == 0 {
		var zero T
		s.Slots = append(s.Slots, zero)
		return uint32(len(s.Slots) - 1)
	}
	i := s.free[n-1]
	s.free = s.free[:n-1]
	return i
}

// Put adds i.
func (s *Slab[T]) Put(i uint32) { s.free = append(s.free, i) }

// A LockedSlab is one for more than one goroutine. It cannot grow, because others use their objects
// without the lock, and append would move them.
type LockedSlab[T any] struct {
	Slots []T // all that there will be
	mu    sync.Mutex
	free  []uint32
}

// NewLockedSlab makes all objects that any workload has out.
func NewLockedSlab[T any]() *LockedSlab[T] {
	n := catalog.MostLive(runtime.GOMAXPROCS(0))
	s := &LockedSlab[T]{Slots: make([]T, n)}
	for i := range n {
		s.free = append(s.free, uint32(n-1-i))
	}
	return s
}

// Get returns the index that was put last, or one that never was.
func (s *LockedSlab[T]) Get() uint32 {
	s.mu.Lock()
	n := len(s.free)
	i := s.free[n-1]
	s.free = s.free[:n-1]
	s.mu.Unlock()
	return i
}

// Put adds i.
func (s *LockedSlab[T]) Put(i uint32) {
	s.mu.Lock()
	s.free = append(s.free, i)
	s.mu.Unlock()
}

// A Floor is about as little as an allocator of pointers can do: free objects are linked through
// their first word, nothing is checked, and one goroutine may use it. What a side
// takes beyond it is the price of what that side offers. Addresses are stored as
// integers: a store of a pointer costs more while the collector runs.
type Floor[T any] struct {
	head uintptr // free; each begins with the address of the next
	next uintptr
	end  uintptr
	mem  []byte
}

// floorBytes is more than any workload has out. The system provides what is used.
const floorBytes = 64 << 20

// NewFloor reserves memory for all objects.
func NewFloor[T any]() *Floor[T] {
	mem, err := unix.Mmap(-1, 0, floorBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	Check(err)
	start := uintptr(unsafe.Pointer(&mem[0]))
	return &Floor[T]{next: start, end: start + floorBytes, mem: mem}
}

// Get returns the object that was put last, or the next one that never was.
func (f *Floor[T]) Get() *T {
	if f.head == 0 {
		return f.carve()
	}
	x := *(**T)(unsafe.Pointer(&f.head))
	f.head = *(*uintptr)(unsafe.Pointer(x))
	return x
}

// Put links x in.
func (f *Floor[T]) Put(x *T) {
	*(*uintptr)(unsafe.Pointer(x)) = f.head
	f.head = uintptr(unsafe.Pointer(x))
}

//go:noinline
func (f *Floor[T]) carve() *T {
	var zero T
	offset := f.next - (f.end - floorBytes)
	f.next += unsafe.Sizeof(zero)
	return (*T)(unsafe.Pointer(&f.mem[offset : offset+unsafe.Sizeof(zero)][0]))
}

// Close returns the memory.
func (f *Floor[T]) Close() { Check(unix.Munmap(f.mem)) }

// Check is for errors that leave nothing to measure.
func Check(err error) {
	if err != nil {
		panic(err)
	}
}
