//go:build unix

package pool_test

import (
	"io"
	"net/http/httputil"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/warmpage/pool"
)

// BenchmarkPrograms does what the examples of programs do, with the buffers that the program makes by
// default and with those of a Bytes. Beside time and allocations, it reports the processor time of an
// operation, and what the Go heap and the Bytes hold two seconds and two collections later.
func BenchmarkPrograms(b *testing.B) {
	for _, side := range []struct {
		name string
		make func() *pool.Bytes
	}{
		{"default", func() *pool.Bytes { return nil }},
		{"Bytes", func() *pool.Bytes { return pool.NewBytes() }},
		{"off-heap", func() *pool.Bytes { return pool.NewBytes(pool.WithOffHeap()) }},
	} {
		b.Run("ReverseProxy/"+side.name, func(b *testing.B) {
			measureProgram(b, side.make(), func(buffers *pool.Bytes, n int) {
				var of httputil.BufferPool
				if buffers != nil {
					of = ProxyBuffers{buffers}
				}
				proxyLoad(b, n, of)
			})
		})
		b.Run("CopyBuffer/"+side.name, func(b *testing.B) {
			text := strings.Repeat("0123456789", 10_000)
			measureProgram(b, side.make(), func(buffers *pool.Bytes, n int) {
				var src strings.Reader
				var from io.Reader = justReader{&src}
				var to io.Writer = justWriter{io.Discard}
				for range n {
					src.Reset(text)
					var err error
					if buffers == nil {
						_, err = io.Copy(to, from)
					} else {
						_, err = copyThrough(buffers, to, from)
					}
					require.NoError(b, err)
				}
			})
		})
	}
}

// measureProgram runs n operations of a program. buffers is nil for what it does by default.
func measureProgram(b *testing.B, buffers *pool.Bytes, run func(buffers *pool.Bytes, n int)) {
	b.ReportAllocs()
	before := heapBytes()
	b.ResetTimer()
	cpu := usedCPU(b)
	run(buffers, b.N)
	b.ReportMetric(float64(usedCPU(b)-cpu)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
	b.StopTimer()
	time.Sleep(2 * time.Second)
	held := heapBytes() - before
	if buffers != nil {
		st := buffers.Stats()
		require.Zero(b, st.Live)
		if !strings.HasSuffix(b.Name(), "/Bytes") {
			held += st.CommittedBytes
		}
		require.NoError(b, buffers.Close())
	}
	b.ReportMetric(float64(held)/1024, "KiB-idle")
}

func usedCPU(b *testing.B) time.Duration {
	var r unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// heapBytes returns what objects of the Go heap have after collections. The first one leaves what a
// sync.Pool has.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
