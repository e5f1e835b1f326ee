package main

import (
	"sync"

	"github.com/warmpage/pool"
	"google.golang.org/grpc/mem"
)

// A bufferPool is a mem.BufferPool of gRPC whose buffers come from a Bytes.
//
// It does not clear them, which gRPC's own pool does. What reads a buffer has written it before: the
// proto codec and the transport do, and a codec of your own has to.
type bufferPool struct {
	bytes   *pool.Bytes
	headers sync.Pool // of *[]byte, to whose pointers gRPC promises nothing
}

func newBufferPool(b *pool.Bytes) *bufferPool {
	return &bufferPool{bytes: b, headers: sync.Pool{New: func() any { return new([]byte) }}}
}

// Get returns a buffer. gRPC never puts one that is so small that it does not pool it (mem.NewBuffer),
// and so it must be no slot.
func (p *bufferPool) Get(n int) *[]byte {
	s := p.headers.Get().(*[]byte)
	if mem.IsBelowBufferPoolingThreshold(n) {
		*s = make([]byte, n)
	} else {
		*s = p.bytes.Get(n)
	}
	return s
}

// Put takes a buffer back. Codecs may put what they have from elsewhere, so it asks.
func (p *bufferPool) Put(s *[]byte) {
	p.bytes.TryPut(*s)
	*s = nil
	p.headers.Put(s)
}
