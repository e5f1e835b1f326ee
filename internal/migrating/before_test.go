package migrating

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

var scratch = sync.Pool{New: func() any {
	b := make([]byte, 4096)
	return &b
}}

func copyAll(dst io.Writer, src io.Reader) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	_, err := io.CopyBuffer(dst, src, *buf)
	return err
}

const chunkSize = 32 << 10

// chunks is an httputil.BufferPool.
type chunks struct{ pool sync.Pool }

func (c *chunks) Get() []byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, chunkSize)
}

func (c *chunks) Put(b []byte) { c.pool.Put(&b) } // allocates a slice header each time

type job struct {
	name string
	done func()
}

var jobs = sync.Pool{New: func() any { return new(job) }}

func newJob(name string, done func()) *job {
	j := jobs.Get().(*job)
	j.name, j.done = name, done
	return j
}

func (j *job) finish() {
	j.done()
	*j = job{} // keeps nothing alive
	jobs.Put(j)
}

type picker struct {
	rng *rand.Rand
}

var pickers = sync.Pool{New: func() any {
	return &picker{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}}

func pick(n int) int {
	p := pickers.Get().(*picker)
	defer pickers.Put(p)
	return p.rng.IntN(n)
}

type message struct {
	topic  string
	header map[string]string
	body   []byte
}

var messages = sync.Pool{New: func() any {
	return &message{header: make(map[string]string)}
}}

func newMessage(topic string) *message {
	m := messages.Get().(*message)
	m.topic = topic
	return m
}

func (m *message) free() {
	m.topic = ""
	clear(m.header)
	m.body = m.body[:0]
	messages.Put(m)
}

const maxKept = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func freeBuffer(b *bytes.Buffer) {
	if b.Cap() > maxKept {
		return // the collector takes it
	}
	b.Reset()
	buffers.Put(b)
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

func writeLines(w io.Writer, records []string) error {
	p := lines.Get().(*[]byte)
	b := (*p)[:0]
	for _, r := range records {
		b = append(b, r...)
		b = append(b, '\n')
	}
	_, err := w.Write(b)
	*p = b // append may have moved it
	lines.Put(p)
	return err
}

var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func greet(w io.Writer, name string) error {
	buf := texts.Get().(*bytes.Buffer)
	defer texts.Put(buf)
	buf.Reset()
	fmt.Fprintf(buf, "Hello, %s!", name)
	_, err := buf.WriteTo(w)
	return err
}

type packet struct {
	owners atomic.Int32
	n      int
	data   [1500]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

func newPacket(data []byte, owners int32) *packet {
	p := packets.Get().(*packet)
	p.n = copy(p.data[:], data)
	p.owners.Store(owners)
	return p
}

func (p *packet) release() {
	if p.owners.Add(-1) == 0 {
		packets.Put(p)
	}
}

var encoders = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

func compress(dst io.Writer, text []byte) error {
	e := encoders.Get().(*gzip.Writer)
	defer encoders.Put(e)
	e.Reset(dst)
	if _, err := e.Write(text); err != nil {
		return err
	}
	return e.Close()
}

var hashers = sync.Pool{New: func() any { return sha256.New() }}

func sumOf(text []byte) (sum [sha256.Size]byte) {
	h := hashers.Get().(hash.Hash)
	defer hashers.Put(h)
	h.Reset()
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

type request struct {
	received time.Time
	peer     netip.AddrPort
	route    string
	body     []byte
}

var requests = sync.Pool{New: func() any { return new(request) }}

func begin(route string, peer netip.AddrPort) *request {
	r := requests.Get().(*request)
	*r = request{received: time.Now(), peer: peer, route: route, body: r.body[:0]}
	return r
}

type node struct {
	key         int64
	left, right *node
}

var nodes = sync.Pool{New: func() any { return new(node) }}

func insert(n *node, key int64) *node {
	if n == nil {
		n = nodes.Get().(*node)
		*n = node{key: key}
		return n
	}
	if key < n.key {
		n.left = insert(n.left, key)
	} else {
		n.right = insert(n.right, key)
	}
	return n
}

func drop(n *node) {
	if n != nil {
		drop(n.left)
		drop(n.right)
		nodes.Put(n)
	}
}
