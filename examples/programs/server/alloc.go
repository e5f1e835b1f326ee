package main

import (
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/warmpage/pool"
)

// A variant says where scratch slots and sessions come from.
type variant string

const (
	usePool variant = "pool"
	useSync variant = "sync"
)

// String returns the variant's name in tables.
func (v variant) String() string {
	if v == usePool {
		return "this pool"
	}
	return "sync.Pool"
}

// A source hands out values of T. The last user of a value puts it back. The methods are safe for
// concurrent use.
type source[T any] interface {
	get() (*T, error)
	put(*T)
	usage() usage
	close() error
}

// usage is what a source has handed out, and what it holds.
type usage struct {
	Name        string
	SlotSize    int    // in bytes
	Live        int    // slots in use
	Gets        uint64 // slots asked for
	SlowGets    uint64 // of these, how many were not ready; for sync.Pool: how many were allocated
	FailedGets  uint64 // of these, how many were refused
	LimitBytes  int64  // 0: none
	LiveBytes   int64  // of the slots in use
	FreeBytes   int64  // the rest of the pages that have a slot in use
	WarmBytes   int64  // empty pages that the pool keeps
	PurgedBytes int64  // given back to the system since the start
}

// A pooled source uses a pool of this library.
type pooled[T any] struct{ *pool.Pool[T] }

func newPooled[T any](name string, limit int64) pooled[T] {
	return pooled[T]{pool.New[T](pool.WithName(name), pool.WithLimit(limit), pool.WithProfile(pool.DefaultProfileRate))}
}

func (p pooled[T]) get() (*T, error) { return p.TryGet() }
func (p pooled[T]) put(x *T)         { p.Put(x) }
func (p pooled[T]) close() error     { return p.Close() }

func (p pooled[T]) usage() usage {
	st := p.Stats()
	u := usage{
		Name: st.Name, SlotSize: st.SlotSize, Live: st.Live,
		Gets: st.Gets, SlowGets: st.SlowGets, FailedGets: st.FailedGets, LimitBytes: st.LimitBytes,
		LiveBytes: int64(st.Live) * int64(st.SlotSize), PurgedBytes: st.PurgedBytes,
	}
	if st.Pages > 0 {
		u.WarmBytes = st.MappedBytes / int64(st.Pages) * int64(st.WarmPages)
	}
	// While the pool is in use, the numbers come from slightly different moments.
	u.FreeBytes = max(st.MappedBytes-u.WarmBytes-u.LiveBytes, 0)
	return u
}

// A recycled source uses a sync.Pool, and counts because a sync.Pool does not. It has no limit.
type recycled[T any] struct {
	name              string
	pool              sync.Pool
	gets, puts, fresh atomic.Uint64
}

func newRecycled[T any](name string) *recycled[T] {
	r := &recycled[T]{name: name}
	r.pool.New = func() any {
		r.fresh.Add(1)
		return new(T)
	}
	return r
}

// get does not clear the value: it may hold what it held when it was put. The caller clears what
// must be clear.
func (r *recycled[T]) get() (*T, error) {
	r.gets.Add(1)
	return r.pool.Get().(*T), nil
}

func (r *recycled[T]) put(x *T) {
	r.pool.Put(x)
	r.puts.Add(1)
}

func (r *recycled[T]) usage() usage {
	puts := r.puts.Load() // before gets, so that Live is not negative
	u := usage{Name: r.name, SlotSize: int(unsafe.Sizeof(*new(T))), Gets: r.gets.Load(), SlowGets: r.fresh.Load()}
	u.Live = int(u.Gets - puts)
	u.LiveBytes = int64(u.Live) * int64(u.SlotSize)
	return u
}

// close returns the error that Close of a pool would return.
func (r *recycled[T]) close() error {
	if n := r.usage().Live; n != 0 {
		return fmt.Errorf("%s: %w: %d", r.name, pool.ErrInUse, n)
	}
	return nil
}

// memory is what the process holds for its objects, in bytes. Live + Free + Warm is all memory that
// the pools, or the Go heap, have from the system.
type memory struct {
	Live   int64 // scratch slots and sessions in use
	Free   int64 // the rest of the same pages; for the Go heap, the rest of the spans in use, garbage included
	Warm   int64 // unused, but not given back yet
	Purged int64 // given back since the start; for the Go heap, without what it has taken again
}

func readMemory(v variant, sources []usage) (m memory) {
	for _, u := range sources {
		m.Live += u.LiveBytes
		m.Free += u.FreeBytes
		m.Warm += u.WarmBytes
	}
	if v == usePool {
		all := pool.ReadMemory()
		m.Warm += all.Warm
		m.Purged = all.Purged
		return m
	}
	heap := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(heap)
	m.Free = max(int64(heap[0].Value.Uint64()+heap[1].Value.Uint64())-m.Live, 0)
	m.Warm = int64(heap[2].Value.Uint64())
	m.Purged = int64(heap[3].Value.Uint64())
	return m
}
