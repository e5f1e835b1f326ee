package main

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
	"modernc.org/memory"
)

// The sides that are no library: what people write by hand. They are generic, and
// inlined all the same, because the loops that call them are not.

// channelCap is room for all objects that any workload has out.
const channelCap = 1 << 14

// A lockedAllocator is modernc's for more than one goroutine.
type lockedAllocator struct {
	mu sync.Mutex
	memory.Allocator
}

// A freeList keeps every object, in a slice under a lock.
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

func (l *freeList[T]) get() *T {
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

func (l *freeList[T]) put(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}

// A floor is as little as an allocator can do: free objects are linked through
// their first word, nothing is checked, and one goroutine may use it. What a side
// takes beyond it is the price of what that side offers. Addresses are stored as
// integers: a store of a pointer costs more while the collector runs.
type floor[T any] struct {
	head uintptr // free; each begins with the address of the next
	next uintptr
	end  uintptr
	mem  []byte
}

// floorBytes is more than any workload has out. The system provides what is used.
const floorBytes = 64 << 20

func newFloor[T any]() *floor[T] {
	mem, err := unix.Mmap(-1, 0, floorBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	check(err)
	start := uintptr(unsafe.Pointer(&mem[0]))
	return &floor[T]{next: start, end: start + floorBytes, mem: mem}
}

func (f *floor[T]) get() *T {
	if f.head == 0 {
		return f.carve()
	}
	x := *(**T)(unsafe.Pointer(&f.head))
	f.head = *(*uintptr)(unsafe.Pointer(x))
	return x
}

func (f *floor[T]) put(x *T) {
	*(*uintptr)(unsafe.Pointer(x)) = f.head
	f.head = uintptr(unsafe.Pointer(x))
}

//go:noinline
func (f *floor[T]) carve() *T {
	var zero T
	offset := f.next - (f.end - floorBytes)
	f.next += unsafe.Sizeof(zero)
	return (*T)(unsafe.Pointer(&f.mem[offset : offset+unsafe.Sizeof(zero)][0]))
}

func (f *floor[T]) close() { check(unix.Munmap(f.mem)) }

// check is for errors that leave nothing to measure.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
