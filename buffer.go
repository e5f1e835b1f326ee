package pool

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// A Buffer is a [bytes.Buffer] for writing whose memory comes from a [Bytes]. It grows from class to
// class, by [Bytes.Grow], and leaves no slot behind. [Buffer.Free] puts its slot. Methods that
// bytes.Buffer has do what they do there, except that those that need memory panic with the errors of
// [Bytes.Get]; the Buffer is unchanged then.
//
// The zero Buffer is empty and ready to use. Its memory comes from a Bytes on the Go heap that all
// zero Buffers of the process share. A Buffer that is forgotten without Free is no leak there.
//
// A pointer to a Buffer that goes into an interface, as with fmt.Fprintf, makes Go allocate the Buffer
// itself. A pool of Buffers, whose Put frees their memory, saves that:
//
//	texts := pool.New[pool.Buffer](pool.WithGoHeap(), pool.WithReset((*pool.Buffer).Free))
//
// A Buffer must not be copied, and only one goroutine may use it at a time.
type Buffer struct {
	from *Bytes // nil: defaultBytes
	buf  []byte // a part of a slot, or nil; contents are buf[off:]
	off  int    // what WriteTo has written already
}

// defaultBytes returns the Bytes of zero Buffers.
var defaultBytes = sync.OnceValue(func() *Bytes { return NewBytes(WithName("pool.Buffer")) })

// NewBuffer returns an empty Buffer whose memory comes from b. If b is nil, it is like the zero
// Buffer. It takes no memory from b yet.
func NewBuffer(b *Bytes) *Buffer { return &Buffer{from: b} }

// bytes returns where the memory of b comes from.
func (b *Buffer) bytes() *Bytes {
	if b.from == nil {
		b.from = defaultBytes()
	}
	return b.from
}

// Bytes returns the contents. The slice is valid until the Buffer is next changed or freed.
func (b *Buffer) Bytes() []byte { return b.buf[b.off:] }

// String returns a copy of the contents. For a nil *Buffer, it returns "<nil>".
func (b *Buffer) String() string {
	if b == nil {
		return "<nil>"
	}
	return string(b.buf[b.off:])
}

// Len returns how many bytes the Buffer holds.
func (b *Buffer) Len() int { return len(b.buf) - b.off }

// Cap returns how many bytes the Buffer's memory has, 0 if it has none.
func (b *Buffer) Cap() int { return cap(b.buf) }

// Reset empties the Buffer. It keeps its memory for what is written next; [Buffer.Free] does not.
func (b *Buffer) Reset() {
	b.buf = b.buf[:0]
	b.off = 0
}

// Free empties the Buffer and puts its memory. The Buffer may be used again. If it has no memory, as
// after another Free, Free does nothing. What [Buffer.Bytes] has returned must not be used any more.
//
// Free panics where [Bytes.Put] would, and the Buffer has no memory then.
func (b *Buffer) Free() {
	s := b.buf
	b.buf, b.off = nil, 0
	if cap(s) != 0 {
		b.from.Put(s)
	}
}

// Truncate leaves the first n bytes of the contents. It panics if n is negative or above
// [Buffer.Len].
func (b *Buffer) Truncate(n int) {
	if n < 0 || n > b.Len() {
		panic(fmt.Errorf("pool.Buffer: Truncate(%d): the Buffer holds %d bytes", n, b.Len()))
	}
	if n == 0 {
		b.Reset()
		return
	}
	b.buf = b.buf[:b.off+n]
}

// Grow makes room for n more bytes, so that they can be written without more memory. It panics if n
// is negative.
func (b *Buffer) Grow(n int) {
	if n < 0 {
		panic(fmt.Errorf("pool.Buffer: Grow(%d): the number is not negative", n))
	}
	old := b.makeRoom(n)
	b.release(old)
}

// makeRoom makes room for n more bytes behind buf. If it has to move the contents to another slot, it
// returns the old one, which the caller has to release.
func (b *Buffer) makeRoom(n int) (old []byte) {
	if b.off != 0 && b.Len() == 0 {
		b.Reset()
	}
	if cap(b.buf)-len(b.buf) >= n {
		return nil
	}
	if b.off != 0 && n <= cap(b.buf)/2-b.Len() {
		b.buf = b.buf[:copy(b.buf, b.buf[b.off:])]
		b.off = 0
		return nil
	}
	old = b.buf
	b.buf = b.bytes().larger(old[b.off:], n)
	b.off = 0
	return old
}

// release puts a slot that the contents have left.
func (b *Buffer) release(old []byte) {
	if cap(old) != 0 {
		b.from.Put(old)
	}
}

// Write appends p to the contents. It returns len(p) and nil. p may be a part of the contents.
func (b *Buffer) Write(p []byte) (n int, err error) {
	old := b.makeRoom(len(p))
	b.buf = append(b.buf, p...)
	b.release(old) // not before: p may be a part of it
	return len(p), nil
}

// WriteString appends s to the contents. It returns len(s) and nil.
func (b *Buffer) WriteString(s string) (n int, err error) {
	old := b.makeRoom(len(s))
	b.buf = append(b.buf, s...)
	b.release(old)
	return len(s), nil
}

// WriteByte appends c to the contents. It returns nil.
func (b *Buffer) WriteByte(c byte) error {
	old := b.makeRoom(1)
	b.buf = append(b.buf, c)
	b.release(old)
	return nil
}

// ReadFrom appends what r has, up to io.EOF. It returns how many bytes it has read, and the error of
// r that was not io.EOF. It makes room for [bytes.MinRead] bytes before each Read. It panics if r
// returns a count that is negative or above the room that it was given.
func (b *Buffer) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		b.Grow(bytes.MinRead)
		room := b.buf[len(b.buf):cap(b.buf)]
		m, err := r.Read(room)
		if m < 0 || m > len(room) {
			panic(fmt.Errorf("pool.Buffer: ReadFrom: the Reader returned the count %d for %d bytes", m, len(room)))
		}
		b.buf = b.buf[:len(b.buf)+m]
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// WriteTo writes the contents to w, and leaves what w did not take. It returns how many bytes w has
// taken, and its error, or [io.ErrShortWrite] if there was none although w took less. It panics if w
// returns a count that is negative or above what it was given.
func (b *Buffer) WriteTo(w io.Writer) (n int64, err error) {
	if size := b.Len(); size > 0 {
		m, err := w.Write(b.buf[b.off:])
		if m < 0 || m > size {
			panic(fmt.Errorf("pool.Buffer: WriteTo: the Writer returned the count %d for %d bytes", m, size))
		}
		b.off += m
		if err != nil {
			return int64(m), err
		}
		if m != size {
			return int64(m), io.ErrShortWrite
		}
		n = int64(m)
	}
	b.Reset()
	return n, nil
}
