package pool_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// Programs that take their buffers from whoever offers them take them from a Bytes.

// copyLen is what io.Copy and httputil.ReverseProxy allocate for each copy.
const copyLen = 32 << 10

// ProxyBuffers is an httputil.BufferPool. Put is that of the Bytes.
type ProxyBuffers struct{ *pool.Bytes }

func (b ProxyBuffers) Get() []byte { return b.Bytes.Get(copyLen) }

// A reverse proxy copies each response through a buffer of 32 KiB. It takes buffers of a Bytes
// instead of making them.
func ExampleBytes_reverseProxy() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from ", r.URL.Path)
	}))
	defer origin.Close()
	target, err := url.Parse(origin.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	buffers := ProxyBuffers{pool.NewBytes(pool.WithName("proxy"))}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		BufferPool: buffers,
	})
	resp, err := http.Get(proxy.URL + "/greeting")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	proxy.Close() // waits until all requests are done
	st := buffers.Stats()
	fmt.Println(st.Gets, st.Live)
	// Output:
	// hello from /greeting <nil>
	// 1 0
}

// copyThrough is io.Copy with a buffer of a Bytes.
func copyThrough(b *pool.Bytes, dst io.Writer, src io.Reader) (int64, error) {
	buf := b.Get(copyLen)
	defer b.Put(buf)
	return io.CopyBuffer(dst, src, buf)
}

// io.CopyBuffer takes the buffer that io.Copy would make.
func ExampleBytes_copyBuffer() {
	b := pool.NewBytes()
	var dst strings.Builder
	n, err := copyThrough(b, &dst, io.LimitReader(strings.NewReader("hello, and some more"), 5))
	fmt.Println(dst.String(), n, err, b.Stats().Live)
	// Output:
	// hello 5 <nil> 0
}

// proxyLoad has clients get a body through a proxy, and returns how many bytes of the heap a request
// has taken, those of the clients and of the origin included.
func proxyLoad(t testing.TB, requests int, buffers httputil.BufferPool) (perRequest float64) {
	const clients = 8
	body := bytes.Repeat([]byte("0123456789abcdef"), 100<<10/16)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer origin.Close()
	target, err := url.Parse(origin.URL)
	require.NoError(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:  transport,
		BufferPool: buffers,
	})
	defer proxy.Close()
	fetch := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer fetch.CloseIdleConnections()

	load := func(each int) {
		var done sync.WaitGroup
		for range clients {
			done.Add(1)
			go func() {
				defer done.Done()
				got := bytes.NewBuffer(make([]byte, 0, len(body)+bytes.MinRead))
				for range each {
					got.Reset()
					resp, err := fetch.Get(proxy.URL)
					if !assert.NoError(t, err) {
						return
					}
					_, err = got.ReadFrom(resp.Body)
					assert.NoError(t, err)
					assert.NoError(t, resp.Body.Close())
					assert.True(t, bytes.Equal(body, got.Bytes()), "the body has arrived")
				}
			}()
		}
		done.Wait()
	}
	load(2) // connections
	before := allocatedBytes()
	each := max(1, requests/clients)
	load(each)
	return float64(allocatedBytes()-before) / float64(each*clients)
}

func allocatedBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// The proxy no longer allocates its buffer of 32 KiB for each response, and leaves no slot behind.
func TestReverseProxy(t *testing.T) {
	for _, opts := range [][]pool.Option{nil, {pool.WithOffHeap()}} {
		const requests = 160
		made := proxyLoad(t, requests, nil)
		buffers := ProxyBuffers{pool.NewBytes(opts...)}
		pooled := proxyLoad(t, requests, buffers)
		assert.Less(t, pooled, made-copyLen*3/4, "bytes of the heap for each request")
		st := buffers.Stats()
		assert.GreaterOrEqual(t, st.Gets, uint64(requests))
		assert.Zero(t, st.Live+int(st.Lost))
		assert.NoError(t, buffers.Close())
	}
}

// Neither side of the copy knows a faster way, or io.CopyBuffer would leave the buffer alone.
type (
	justReader struct{ io.Reader }
	justWriter struct{ io.Writer }
)

// io.CopyBuffer allocates nothing, where io.Copy allocates 32 KiB.
func TestCopyBuffer(t *testing.T) {
	b := pool.NewBytes(pool.WithOffHeap())
	text := strings.Repeat("0123456789", 10_000)
	src := strings.NewReader(text)
	dst := bytes.NewBuffer(make([]byte, 0, len(text)))
	const runs = 50
	allocated := func(copyAll func(dst io.Writer, src io.Reader) (int64, error)) float64 {
		from, to := justReader{src}, justWriter{dst}
		each := func() {
			src.Reset(text)
			dst.Reset()
			n, err := copyAll(to, from)
			if err != nil || n != int64(len(text)) {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		each()
		before := allocatedBytes()
		for range runs {
			each()
		}
		assert.True(t, dst.String() == text, "all of it has arrived")
		return float64(allocatedBytes()-before) / runs
	}
	made := allocated(io.Copy)
	pooled := allocated(func(dst io.Writer, src io.Reader) (int64, error) { return copyThrough(b, dst, src) })
	assert.GreaterOrEqual(t, made, float64(copyLen))
	assert.Less(t, pooled, copyLen/8.0, "a page now and then, where slots are in the Go heap")
	assert.Zero(t, b.Stats().Live)
	assert.NoError(t, b.Close())
}
