package loops

import (
	"runtime"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// BytesLoops are those of one side in the bytes study. They write the first byte of a slice and the
// last.
type BytesLoops interface {
	PingPong(times int)
	Fill() // makes what Churn replaces
	Churn(times int)
	Produce(batches int) // for Consume on another goroutine
	Consume(batches int)
	BatchLen() int                // slices of a batch
	Held() (length, capacity int) // of what Churn has live
	Close()
}

// NewBytes has how to make the loops of each side. Generated files fill it.
var NewBytes = make(map[catalog.Side]func(sizes []int32) BytesLoops)

// BytesCommon is in all BytesLoops. H is what a side hands out.
type BytesCommon[H any] struct {
	Sizes []int32 // a power of two of them, in turn
	Mask  int
	Next  int
	RNG   uint64
	Live  [wire.BytesLive]H // what Churn replaces

	Full, Empty chan []H
	Keep        []byte // what make made last: without it, a slice might be on the stack
}

const (
	queueLen   = 4       // batches on their way from one goroutine to another
	queueBytes = 8 << 20 // of a batch, at most
)

// NewBytesCommon returns one for slices of such sizes.
func NewBytesCommon[H any](sizes []int32) BytesCommon[H] {
	c := BytesCommon[H]{
		Sizes: sizes, Mask: len(sizes) - 1, RNG: 0x9e3779b97f4a7c15,
		Full: make(chan []H, queueLen), Empty: make(chan []H, queueLen),
	}
	n := catalog.BatchLen
	if len(sizes) == 1 {
		n = min(n, queueBytes/int(sizes[0]))
	}
	for range queueLen {
		c.Empty <- make([]H, n)
	}
	return c
}

// BatchLen is the method of BytesLoops.
func (c *BytesCommon[H]) BatchLen() int {
	xs := <-c.Empty
	c.Empty <- xs
	return len(xs)
}

// Receive waits without putting the thread to sleep. (No channel is ever full.)
func Receive[T any](from <-chan T) T {
	for {
		select {
		case x := <-from:
			return x
		default:
			runtime.Gosched()
		}
	}
}
