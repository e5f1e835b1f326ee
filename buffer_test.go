package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newBuffer returns a Buffer of a Bytes of its own. At the end of the test, no slot may be out when
// the Buffer is freed.
func newBuffer(t testing.TB, opts ...Option) (*Buffer, *Bytes) {
	from := NewBytes(append(opts, WithOffHeap(), WithName("bodies"))...)
	buf := NewBuffer(from)
	t.Cleanup(func() {
		buf.Free()
		buf.Free()
		requireSound(t, from)
		require.NoError(t, from.Close())
	})
	return buf, from
}

// It does what bytes.Buffer does.
func TestBuffer(t *testing.T) {
	n := times(400)
	if testing.Short() {
		n = n/5 + 1
	}
	eachInput(t, n, func(input []byte) { runBuffer(t, input) })
}

// eachInput calls f with n inputs for a fuzz test.
func eachInput(t *testing.T, n int, f func(input []byte)) {
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 7))
		input := make([]byte, rng.IntN(200))
		for i := range input {
			input[i] = byte(rng.Uint32())
		}
		f(input)
		if t.Failed() {
			t.Fatalf("with seed %d: %v", seed, input)
		}
	}
}

// FuzzBuffer does what its input says to a Buffer and to a bytes.Buffer.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 100, 1, 200, 6, 50, 0, 100, 7, 0})
	f.Add([]byte{3, 255, 4, 100, 5, 30, 2, 1, 8, 5, 9, 0, 3, 30})
	f.Fuzz(func(t *testing.T, input []byte) { runBuffer(t, input) })
}

// runBuffer runs one input of FuzzBuffer: two bytes for each operation.
func runBuffer(t testing.TB, input []byte) {
	from := NewBytes()
	buf := NewBuffer(from)
	var like bytes.Buffer
	for k := 0; len(input) >= 2; input = input[2:] {
		k++
		n := int(input[1])
		text := make([]byte, n*n/16)
		fill(text, k, n)
		both := func(f func(b bothBuffers) (int64, error)) {
			t.Helper()
			n, err := f(buf)
			m, likeErr := f(&like)
			require.Equal(t, m, n)
			require.Equal(t, likeErr, err)
		}
		switch input[0] % 12 {
		case 0:
			both(func(b bothBuffers) (int64, error) { n, err := b.Write(text); return int64(n), err })
		case 1:
			both(func(b bothBuffers) (int64, error) { n, err := b.WriteString(string(text)); return int64(n), err })
		case 2:
			both(func(b bothBuffers) (int64, error) { return 0, b.WriteByte(byte(n)) })
		case 3:
			both(func(b bothBuffers) (int64, error) { return b.ReadFrom(bytes.NewReader(text)) })
		case 4:
			both(func(b bothBuffers) (int64, error) {
				return b.ReadFrom(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(text))))
			})
		case 5:
			both(func(b bothBuffers) (int64, error) {
				return b.ReadFrom(io.MultiReader(bytes.NewReader(text), iotest.ErrReader(errBroken)))
			})
		case 6:
			both(func(b bothBuffers) (int64, error) { return b.WriteTo(&shortWriter{n: n * 8}) })
		case 7:
			both(func(b bothBuffers) (int64, error) { return b.WriteTo(&shortWriter{n: n * 8, err: errBroken}) })
		case 8:
			both(func(b bothBuffers) (int64, error) { b.Truncate(min(n*4, b.Len())); return 0, nil })
		case 9:
			if n%4 == 0 {
				both(func(b bothBuffers) (int64, error) { b.Reset(); return 0, nil })
			} else {
				both(func(b bothBuffers) (int64, error) { b.Grow(n * n); return 0, nil })
				require.GreaterOrEqual(t, buf.Cap()-len(buf.buf), n*n)
			}
		case 10:
			both(func(b bothBuffers) (int64, error) { // a part of the contents
				n, err := b.Write(b.Bytes()[min(n, b.Len()):])
				return int64(n), err
			})
		case 11:
			buf.Free()
			like = bytes.Buffer{}
			require.Zero(t, buf.Cap())
		}
		require.Equal(t, like.Len(), buf.Len())
		require.True(t, bytes.Equal(like.Bytes(), buf.Bytes()))
		require.Equal(t, like.String(), buf.String())
		if live := from.Stats().Live; cap(buf.buf) == 0 || cap(buf.buf) > MaxSlotSize {
			require.Zero(t, live)
		} else {
			require.Equal(t, 1, live, "no slot is left behind")
		}
		if buf.Len() > 1<<20 {
			break
		}
	}
	buf.Free()
	require.Zero(t, from.Stats().Live)
	require.NoError(t, from.Close())
}

// bothBuffers is what Buffer and bytes.Buffer have in common.
type bothBuffers interface {
	io.Writer
	io.ReaderFrom
	io.WriterTo
	io.StringWriter
	io.ByteWriter
	fmt.Stringer
	Bytes() []byte
	Len() int
	Cap() int
	Reset()
	Grow(n int)
	Truncate(n int)
}

// A shortWriter takes n bytes, and returns err if that was not all.
type shortWriter struct {
	n   int
	err error
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if n := min(w.n, len(p)); n != len(p) {
		return n, w.err
	}
	return len(p), nil
}

func TestBufferZero(t *testing.T) {
	before := defaultBytes().Stats().Live
	var buf Buffer
	assert.Empty(t, buf.Bytes())
	assert.Empty(t, buf.String())
	buf.Reset()
	buf.Free()
	n, err := buf.WriteTo(io.Discard)
	assert.Zero(t, n)
	assert.NoError(t, err)
	fmt.Fprint(&buf, "hello")
	assert.Equal(t, "hello", buf.String())
	assert.Equal(t, before+1, defaultBytes().Stats().Live)
	other := NewBuffer(nil)
	other.WriteString("hello")
	assert.Equal(t, before+2, defaultBytes().Stats().Live)
	other.Free()
	buf.Free()
	assert.Equal(t, before, defaultBytes().Stats().Live)
	assert.Equal(t, "<nil>", (*Buffer)(nil).String())
	assert.Equal(t, "pool.Buffer", defaultBytes().Stats().Name)
}

// Free leaves a Buffer that is empty and ready.
func TestBufferFree(t *testing.T) {
	buf, from := newBuffer(t)
	for range 3 {
		buf.WriteString("hello")
		assert.Equal(t, "hello", buf.String())
		assert.Equal(t, 1, from.Stats().Live)
		buf.Free()
		assert.Zero(t, buf.Len())
		assert.Zero(t, buf.Cap())
		assert.Zero(t, from.Stats().Live)
		buf.Free()
	}
	buf.Write(make([]byte, MaxSlotSize+1))
	assert.Zero(t, from.Stats().Live)
	buf.Free()

	// The slot was put by somebody else. The Buffer does not try again.
	buf.WriteString("hello")
	from.Put(buf.Bytes())
	requirePanic(t, ErrDoublePut, buf.Free)
	assert.Zero(t, buf.Cap())
	buf.Free()
}

// It grows through the classes, by a few moves, and leaves none behind.
func TestBufferGrows(t *testing.T) {
	buf, from := newBuffer(t)
	caps := []int{0}
	var want []byte
	for i := range 200_000 {
		c := canary(0, 0, i)
		require.NoError(t, buf.WriteByte(c))
		want = append(want, c)
		if buf.Cap() != caps[len(caps)-1] {
			caps = append(caps, buf.Cap())
			require.Equal(t, 1, from.Stats().Live)
		}
	}
	assert.Equal(t, []int{0, 16, 32, 64, 128, 256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10}, caps)
	assert.True(t, bytes.Equal(want, buf.Bytes()))
	buf.Reset()
	assert.Equal(t, 256<<10, buf.Cap())
}

// What WriteTo has written is dropped before memory is asked for.
func TestBufferMakesRoom(t *testing.T) {
	buf, from := newBuffer(t)
	buf.WriteString(strings.Repeat("0123456789", 10))
	require.Equal(t, 112, buf.Cap())
	for range 3 {
		n, err := buf.WriteTo(&shortWriter{n: 90})
		require.Equal(t, io.ErrShortWrite, err)
		require.EqualValues(t, 90, n)
		assert.Equal(t, "0123456789", buf.String())
		buf.WriteString(strings.Repeat("x", 40))
		assert.Equal(t, "0123456789"+strings.Repeat("x", 40), buf.String())
		buf.Truncate(10)
		buf.WriteString(strings.Repeat("0123456789", 9))
		assert.Equal(t, 112, buf.Cap())
	}
	assert.EqualValues(t, 1, from.Stats().Gets)
	buf.Grow(100)
	assert.Equal(t, strings.Repeat("0123456789", 10), buf.String())
	assert.EqualValues(t, 2, from.Stats().Gets)
}

// A part of the contents can be written to the Buffer itself, also if that moves them.
func TestBufferWritesItself(t *testing.T) {
	buf, _ := newBuffer(t)
	want := "a"
	buf.WriteString(want)
	for range 14 {
		buf.Write(buf.Bytes())
		want += want
		require.Equal(t, want, buf.String())
	}
}

// A misbehaving Reader or Writer leaves the Buffer as it was.
func TestBufferWithBadOthers(t *testing.T) {
	buf, from := newBuffer(t)
	buf.WriteString("hello")
	for name, bad := range map[string]badReadWriter{
		"negative": func(p []byte) (int, error) { clear(p[:min(len(p), 1)]); return -1, nil },
		"too many": func(p []byte) (int, error) { return len(p) + 1, nil },
		"minimum":  func(p []byte) (int, error) { return math.MinInt, nil },
		"maximum":  func(p []byte) (int, error) { return math.MaxInt, nil },
		"panics":   func(p []byte) (int, error) { panic(errBroken) },
	} {
		err := caught(func() error { _, err := buf.ReadFrom(bad); return err })
		require.Error(t, err, name)
		assert.Equal(t, "hello", buf.String(), name)
		if name != "panics" {
			assert.ErrorContains(t, err, "pool.Buffer: ReadFrom: the Reader returned the count ")
		}
		err = caught(func() error {
			_, err := buf.WriteTo(badReadWriter(func(p []byte) (int, error) { return bad(bytes.Clone(p)) }))
			return err
		})
		require.Error(t, err, name)
		assert.Equal(t, "hello", buf.String(), name)
		if name != "panics" {
			assert.ErrorContains(t, err, "pool.Buffer: WriteTo: the Writer returned the count ")
		}
		assert.Equal(t, 1, from.Stats().Live)
	}
	buf.WriteString(", world")
	assert.Equal(t, "hello, world", buf.String())

	for _, n := range []int{-1, 13, math.MinInt, math.MaxInt} {
		err := caught(func() error { buf.Truncate(n); return nil })
		assert.ErrorContains(t, err, fmt.Sprintf("pool.Buffer: Truncate(%d): the Buffer holds 12 bytes", n))
	}
	assert.ErrorContains(t, caught(func() error { buf.Grow(-1); return nil }), "pool.Buffer: Grow(-1): the number is not negative")
	assert.ErrorContains(t, caught(func() error { buf.Grow(math.MaxInt); return nil }), "a slice of 12 bytes has no room for")
	assert.Equal(t, "hello, world", buf.String())
}

// A badReadWriter reads and writes by a function.
type badReadWriter func(p []byte) (int, error)

func (f badReadWriter) Read(p []byte) (int, error)  { return f(p) }
func (f badReadWriter) Write(p []byte) (int, error) { return f(p) }

// Where there is no memory, nothing changes.
func TestBufferAtLimit(t *testing.T) {
	buf, from := newBuffer(t, WithLimit(64<<10))
	text := strings.Repeat("x", 4000)
	buf.WriteString(text)
	for name, write := range map[string]func(){
		"Write":       func() { buf.Write(make([]byte, 20_000)) },
		"WriteString": func() { buf.WriteString(strings.Repeat("y", 20_000)) },
		"ReadFrom":    func() { _, _ = buf.ReadFrom(bytes.NewReader(make([]byte, 100_000))) },
		"Grow":        func() { buf.Grow(10_000) },
	} {
		requirePanic(t, ErrLimit, write)
		if name != "ReadFrom" { // it has read some
			assert.Equal(t, text, buf.String(), name)
		}
		buf.Truncate(4000)
		assert.Equal(t, 1, from.Stats().Live)
	}
	assert.Equal(t, text, buf.String())
}

// A Buffer that is forgotten is no leak on the Go heap.
func TestBufferForgotten(t *testing.T) {
	from := NewBytes()
	func() {
		for range 1000 {
			NewBuffer(from).WriteString("hello")
		}
	}()
	if debugging {
		return // it keeps stacks by address
	}
	gcUntil(t, func() bool { return from.Stats().Lost > 400 })
}

func TestBufferAllocs(t *testing.T) {
	if watchAll {
		t.Skip("this build allocates for each slot in use")
	}
	from := NewBytes()
	buf := NewBuffer(from)
	text := make([]byte, 1000)
	r := bytes.NewReader(text)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		buf.Write(text)
		buf.WriteByte(1)
		r.Reset(text)
		_, _ = buf.ReadFrom(r)
		_, _ = buf.WriteTo(io.Discard)
		buf.Free()
	}))
	require.NoError(t, errors.Join(from.Close()))
}
