// Package migrating has the code of docs/migrating.md, and runs it. What the document has with
// sync.Pool is in before_test.go, and the rest in after_test.go: two packages, because the same names
// are in both. The checks here are for both, so the two do the same.
package migrating

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httputil"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each check is called with the functions of one side.

func CheckCopyAll(t *testing.T, copyAll func(io.Writer, io.Reader) error) {
	text := strings.Repeat("0123456789", 1000)
	var out strings.Builder
	// Without ReadFrom and WriteTo, which would do without the buffer.
	require.NoError(t, copyAll(struct{ io.Writer }{&out}, struct{ io.Reader }{strings.NewReader(text)}))
	assert.Equal(t, text, out.String())
}

func CheckJobs[J any](t *testing.T, newJob func(string, func()) J, finish func(J)) {
	for range 3 {
		called := 0
		w := func() weak.Pointer[[64]byte] {
			big := new([64]byte)
			finish(newJob("a", func() { called += 1 + int(big[0]) }))
			return weak.Make(big)
		}()
		assert.Equal(t, 1, called)
		runtime.GC()
		assert.Nil(t, w.Value(), "a free job keeps something alive")
	}
}

func CheckPick(t *testing.T, pick func(int) int) {
	seen := make(map[int]bool)
	for range 1000 {
		seen[pick(3)] = true
	}
	assert.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen)
}

// A Message is what a message holds.
type Message struct {
	Topic  string
	Header map[string]string
	Body   *[]byte
}

func CheckMessages[M comparable](t *testing.T, newMessage func(string) M, free func(M), fields func(M) Message) {
	for range 3 {
		m := newMessage("news")
		f := fields(m)
		assert.Equal(t, "news", f.Topic)
		assert.Empty(t, f.Header)
		assert.NotNil(t, f.Header)
		assert.Empty(t, *f.Body)
		f.Header["id"] = "7"
		*f.Body = append(*f.Body, make([]byte, 3000)...)
		free(m)
		again := newMessage("")
		if again == m { // not always: sync.Pool drops some with the race detector
			assert.GreaterOrEqual(t, cap(*fields(again).Body), 3000)
		}
		free(again)
	}
}

func CheckBuffers(t *testing.T, get func() *bytes.Buffer, free func(*bytes.Buffer), maxKept int) {
	for _, size := range []int{10, maxKept / 2, 2 * maxKept, 20} {
		b := get()
		assert.Zero(t, b.Len())
		b.Write(make([]byte, size))
		free(b)
		again := get()
		assert.LessOrEqual(t, again.Cap(), maxKept)
		if again == b && size < maxKept {
			assert.GreaterOrEqual(t, again.Cap(), size)
		}
		free(again)
	}
}

func CheckChunks(t *testing.T, chunks httputil.BufferPool, size int) {
	for range 3 {
		a, b := chunks.Get(), chunks.Get()
		assert.Len(t, a, size)
		a[0], a[size-1], b[0], b[size-1] = 1, 2, 3, 4
		assert.Equal(t, []byte{1, 2, 3, 4}, []byte{a[0], a[size-1], b[0], b[size-1]})
		chunks.Put(a)
		chunks.Put(b)
	}
}

func CheckWriteLines(t *testing.T, writeLines func(io.Writer, []string) error) {
	var records []string
	for i := range 1000 {
		records = append(records, strings.Repeat("x", i%100))
		var out strings.Builder
		require.NoError(t, writeLines(&out, records))
		require.Equal(t, strings.Join(records, "\n")+"\n", out.String())
	}
	assert.ErrorIs(t, writeLines(fullDisk{}, records), io.ErrShortWrite)
}

func CheckGreet(t *testing.T, greet func(io.Writer, string) error) {
	for _, name := range []string{"you", strings.Repeat("you and ", 1000), "me"} {
		var out strings.Builder
		require.NoError(t, greet(&out, name))
		assert.Equal(t, "Hello, "+name+"!", out.String())
		assert.ErrorIs(t, greet(fullDisk{}, name), io.ErrShortWrite)
	}
}

func CheckPackets[P any](t *testing.T, newPacket func([]byte, int32) P, release func(P), dataOf func(P) []byte) {
	const owners = 4
	p := newPacket([]byte("first"), owners)
	for range owners - 1 {
		release(p)
	}
	release(newPacket([]byte("second"), 1))
	assert.Equal(t, "first", string(dataOf(p)), "put before the last owner released it")
	release(p)
	for i := range 100 {
		text := fmt.Sprint("packet ", i)
		p := newPacket([]byte(text), owners)
		var all sync.WaitGroup
		for range owners {
			all.Add(1)
			go func() {
				defer all.Done()
				assert.Equal(t, text, string(dataOf(p)))
				release(p)
			}()
		}
		all.Wait()
	}
}

// A fullDisk refuses what is written.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func CheckCompress(t *testing.T, compress func(io.Writer, []byte) error) {
	for range 3 {
		text := bytes.Repeat([]byte("warm "), 1000)
		assert.ErrorIs(t, compress(fullDisk{}, text), io.ErrShortWrite)
		var out bytes.Buffer
		require.NoError(t, compress(&out, text))
		r, err := gzip.NewReader(&out)
		require.NoError(t, err)
		back, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Equal(t, text, back)
	}
}

func CheckSum(t *testing.T, sumOf func([]byte) [sha256.Size]byte) {
	for range 3 {
		assert.Equal(t, sha256.Sum256([]byte("warm")), sumOf([]byte("warm")))
	}
}

func CheckTree[N any](t *testing.T, insert func(N, int64) N, drop func(N), keys func(N) []int64) {
	for range 2 {
		var root N
		var want []int64
		for _, k := range rand.Perm(100) {
			root = insert(root, int64(k))
			want = append(want, int64(k))
		}
		slices.Sort(want)
		assert.Equal(t, want, keys(root))
		drop(root)
	}
}
