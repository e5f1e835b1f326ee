//go:build !nogoheap

package loops

import (
	"sync"

	"github.com/warmpage/pool"
)

// The pools of the goheap study.

// BufferCap is what MakeBuffer allocates.
const BufferCap = 64

// MakeBuffer is the function of WithInit.
func MakeBuffer(x *Obj96) { x.Buf = make([]byte, 0, BufferCap) }

// NewCleared returns a pool whose Put clears.
func NewCleared() *pool.Pool[Obj96] { return pool.New[Obj96](pool.WithGoHeap()) }

// NewKept returns a pool whose objects keep what they hold.
func NewKept() *pool.Pool[Obj96] {
	return pool.New[Obj96](pool.WithGoHeap(), pool.WithInit(MakeBuffer))
}

// NewReset returns a pool whose Put truncates the buffer.
func NewReset() *pool.Pool[Obj96] {
	reset := pool.WithReset(func(x *Obj96) { x.Buf = x.Buf[:0] })
	return pool.New[Obj96](pool.WithGoHeap(), pool.WithInit(MakeBuffer), reset)
}

// NewSyncKept returns a sync.Pool with objects like those of NewKept.
func NewSyncKept() *sync.Pool {
	return &sync.Pool{New: func() any {
		x := new(Obj96)
		MakeBuffer(x)
		return x
	}}
}
