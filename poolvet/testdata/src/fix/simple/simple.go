// Package simple has the ways to use an object that the fix takes.
package simple

import (
	"io"
	"strings"
	"sync"
)

type state struct {
	mu    sync.Mutex
	sum   [8]uint64
	block [64]byte
	n     int
}

func (s *state) add(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range b {
		s.sum[x%8] += uint64(x)
	}
	s.n += len(b)
}

// states are used by Sum.
var states = sync.Pool{New: func() any { return new(state) }} // want `off-heap: pool.New\[state\]`

// Sum puts its state at the end.
func Sum(r io.Reader) (uint64, error) {
	s := states.Get().(*state)
	defer states.Put(s)
	*s = state{}
	for {
		n, err := r.Read(s.block[:])
		s.add(s.block[:n])
		if err == io.EOF {
			return s.sum[1] + uint64(s.n), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

var buffers = &sync.Pool{New: func() interface{} { return &[4096]byte{} }} // want `off-heap: pool.New\[\[4096\]byte\]`

// Copy puts its buffer on each path.
func Copy(dst io.Writer, texts ...string) (n int) {
	for _, t := range texts {
		var buf = buffers.Get().(*[4096]byte)
		k := copy(buf[:], t)
		if k == 0 {
			buffers.Put(buf)
			continue
		}
		if _, err := dst.Write(buf[:k]); err != nil {
			buffers.Put(buf)
			return n
		}
		n += k
		buffers.Put(buf)
	}
	return n
}

// Upper uses a result that points into the object, before the Put.
func Upper(text string) string {
	buf := buffers.Get().(*[4096]byte)
	s := strings.ToUpper(string(append(buf[:0], text...)))
	buffers.Put(buf)
	return s
}

// Count puts in a function that is deferred.
func Count(b []byte) (n int) {
	s := states.Get().(*state)
	defer func() {
		states.Put(s)
	}()
	s.n = 0
	s.add(b)
	return s.n
}
