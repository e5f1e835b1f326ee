package main

import (
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/warmpage/pool"
)

// A variant is what scratch and sessions come from.
type variant string

const (
	usePool variant = "pool"
	useSync variant = "sync"
)

// String is the variant's name in tables.
func (v variant) String() string {
	if v == usePool {
		return "this pool"
	}
	return "sync.Pool"
}

// A source hands out values of T, to put back when their last user is done.
type source[T any] interface {
	get() (*T, error)
	put(*T)
	usage() usage
	close() error
}

// usage is what a source has handed out and holds.
type usage struct {
	Name        string
	SlotSize    int
	Live        int    // slots that are out
	Gets        uint64 // slots that were asked for
	SlowGets    uint64 // of these, not ready when they were; for sync.Pool: newly allocated
	FailedGets  uint64 // of these, refused
	LimitBytes  int64  // 0: none
	LiveBytes   int64
	FreeBytes   int64 // the rest of pages with a slot that is out
	WarmBytes   int64 // empty pages that the pool keeps
	PurgedBytes int64 // given back to the system since the start
}

// A pooled source is a pool of this library.
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
	// The numbers are from slightly different moments while others use the pool.
	u.FreeBytes = max(st.MappedBytes-u.WarmBytes-u.LiveBytes, 0)
	return u
}

// A recycled source is a sync.Pool, which counts nothing itself. It has no limit.
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

// get returns what was put, as it was: who uses it clears what has to be clear.
func (r *recycled[T]) get() (*T, error) {
	r.gets.Add(1)
	return r.pool.Get().(*T), nil
}

func (r *recycled[T]) put(x *T) {
	r.pool.Put(x)
	r.puts.Add(1)
}

func (r *recycled[T]) usage() usage {
	puts := r.puts.Load() // first, so that Live is not negative
	u := usage{Name: r.name, SlotSize: int(unsafe.Sizeof(*new(T))), Gets: r.gets.Load(), SlowGets: r.fresh.Load()}
	u.Live = int(u.Gets - puts)
	u.LiveBytes = int64(u.Live) * int64(u.SlotSize)
	return u
}

// close says what Close of a pool would.
func (r *recycled[T]) close() error {
	if n := r.usage().Live; n != 0 {
		return fmt.Errorf("%s: %w: %d", r.name, pool.ErrInUse, n)
	}
	return nil
}

// memory is what the process holds for its objects. Live + Free + Warm is all that
// the pools, or the Go heap, have from the system.
type memory struct {
	Live   int64 // scratch and sessions that are out
	Free   int64 // around these, in the same pages; of the Go heap: all else in spans that are in use, garbage included
	Warm   int64 // not used, and not given back yet
	Purged int64 // given back since the start; of the Go heap: what is not taken again
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
