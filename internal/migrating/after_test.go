package migrating_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool"
)

var scratch = pool.New[[4096]byte](pool.WithName("scratch"))

func copyAll(dst io.Writer, src io.Reader) error {
	buf := scratch.GetNoZero() // all of it is written before it is read
	defer scratch.Put(buf)
	_, err := io.CopyBuffer(dst, src, buf[:])
	return err
}

const chunkSize = 32 << 10

var chunkPool = pool.New[[chunkSize]byte](pool.WithName("chunks"))

// chunks is an httputil.BufferPool.
type chunks struct{}

func (chunks) Get() []byte  { return chunkPool.GetNoZero()[:] }
func (chunks) Put(b []byte) { chunkPool.Put((*[chunkSize]byte)(b[:chunkSize])) }

type job struct {
	name string
	done func()
}

var jobs = pool.New[job](pool.WithName("jobs"), pool.WithGoHeap())

func newJob(name string, done func()) *job {
	j := jobs.Get()
	j.name, j.done = name, done
	return j
}

func (j *job) finish() {
	j.done()
	jobs.Put(j) // clears it
}

type picker struct {
	rng *rand.Rand
}

var pickers = pool.New[picker](
	pool.WithName("pickers"),
	pool.WithGoHeap(),
	pool.WithInit(func(p *picker) {
		p.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}),
)

func pick(n int) int {
	p := pickers.Get()
	defer pickers.Put(p)
	return p.rng.IntN(n)
}

type message struct {
	topic  string
	header map[string]string
	body   []byte
}

var messages = pool.New[message](
	pool.WithName("messages"),
	pool.WithGoHeap(),
	pool.WithInit(func(m *message) { m.header = make(map[string]string) }),
	pool.WithReset(func(m *message) {
		m.topic = ""
		clear(m.header)
		m.body = m.body[:0]
	}),
)

func newMessage(topic string) *message {
	m := messages.Get()
	m.topic = topic
	return m
}

func (m *message) free() { messages.Put(m) }

const maxKept = 64 << 10

var buffers = pool.New[bytes.Buffer](
	pool.WithName("buffers"),
	pool.WithGoHeap(),
	pool.WithInit(func(*bytes.Buffer) {}), // the zero Buffer is ready; this says that contents stay
	pool.WithReset(func(b *bytes.Buffer) {
		if b.Cap() > maxKept {
			*b = bytes.Buffer{} // the collector takes what it held
		}
		b.Reset()
	}),
)

func freeBuffer(b *bytes.Buffer) { buffers.Put(b) }

var lines = pool.NewBytes(pool.WithName("lines"))

func writeLines(w io.Writer, records []string) error {
	b := lines.Get(512)[:0]
	for _, r := range records {
		b = lines.Grow(b, len(r)+1) // puts b if it has to move
		b = append(b, r...)
		b = append(b, '\n')
	}
	_, err := w.Write(b)
	lines.Put(b)
	return err
}

var texts = pool.New[pool.Buffer](pool.WithGoHeap(), pool.WithReset((*pool.Buffer).Free))

func greet(w io.Writer, name string) error {
	buf := texts.Get()
	defer texts.Put(buf) // which frees its memory
	fmt.Fprintf(buf, "Hello, %s!", name)
	_, err := buf.WriteTo(w)
	return err
}

type packet struct {
	owners atomic.Int32
	n      int
	data   [1500]byte
}

var packets = pool.New[packet](pool.WithName("packets"))

func newPacket(data []byte, owners int32) *packet {
	p := packets.GetNoZero() // nobody reads data beyond n
	p.n = copy(p.data[:], data)
	p.owners.Store(owners)
	return p
}

func (p *packet) release() {
	if p.owners.Add(-1) == 0 {
		packets.Put(p)
	}
}

type encoder struct{ *gzip.Writer }

var encoders = pool.New[encoder](
	pool.WithName("encoders"),
	pool.WithGoHeap(),
	pool.WithInit(func(e *encoder) { e.Writer = gzip.NewWriter(io.Discard) }),
	pool.WithReset(func(e *encoder) { e.Reset(io.Discard) }), // a free one does not keep dst
)

func compress(dst io.Writer, text []byte) error {
	e := encoders.Get()
	defer encoders.Put(e)
	e.Reset(dst)
	if _, err := e.Write(text); err != nil {
		return err
	}
	return e.Close()
}

type hasher struct{ hash.Hash }

var hashers = pool.New[hasher](
	pool.WithName("hashers"),
	pool.WithGoHeap(),
	pool.WithInit(func(h *hasher) { h.Hash = sha256.New() }),
	pool.WithReset(func(h *hasher) { h.Reset() }),
)

func sumOf(text []byte) (sum [sha256.Size]byte) {
	h := hashers.Get()
	defer hashers.Put(h)
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

type task struct{ name string }

var tasks = pool.New[task](pool.WithName("tasks"), pool.WithGoHeap(), pool.WithProfile(1))

var errNoName = errors.New("no name")

func run(name string) error {
	t := tasks.Get()
	t.name = name
	if t.name == "" {
		return errNoName // without a Put
	}
	tasks.Put(t)
	return nil
}

// reportUnput writes what was not put. It is for the end of TestMain.
func reportUnput(w io.Writer) (found bool) {
	for _, st := range pool.ReadStats() {
		if n := st.Live + int(st.Lost); n != 0 {
			fmt.Fprintf(w, "pool %s: %d not put (%d live, %d lost)\n", st.Name, n, st.Live, st.Lost)
			found = true
		}
	}
	if found {
		_ = pool.WriteProfile(w, 1)
	}
	return found
}

type visit struct {
	id    uint64
	at    time.Time
	paths []string
}

func whatFits() {
	fmt.Println(pool.CheckType[visit]())
	fmt.Println(pool.CheckType[[1 << 27]byte]())
}

// A request holds what every request has.
type request struct {
	received int64    // time.Time.UnixNano
	peer     [16]byte // netip.Addr.As16
	port     uint16
	route    uint16 // index into routes
	bodyLen  uint16
	body     [1024]byte
}

var (
	requests = pool.New[request](pool.WithName("requests"))
	routes   = []string{"/", "/orders", "/orders/{id}"} // known from the start, or interned
)

func begin(route uint16, peer netip.AddrPort) *request {
	r := requests.Get() // zeroed
	r.route, r.received = route, time.Now().UnixNano()
	r.peer, r.port = peer.Addr().As16(), peer.Port()
	return r
}

func (r *request) setBody(b []byte) (fits bool) {
	r.bodyLen = uint16(copy(r.body[:], b))
	return len(b) <= len(r.body)
}

func (r *request) from() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(r.peer).Unmap(), r.port)
}

type node struct {
	key         int64
	left, right pool.Ref[node] // 8 bytes each; the zero Ref is nothing
}

var nodes = pool.New[node](pool.WithName("nodes"))

func insert(r pool.Ref[node], key int64) pool.Ref[node] {
	if r.IsZero() {
		n := nodes.Get()
		n.key = key
		return nodes.Ref(n)
	}
	n := nodes.Deref(r)
	if key < n.key {
		n.left = insert(n.left, key)
	} else {
		n.right = insert(n.right, key)
	}
	return r
}

func drop(r pool.Ref[node]) {
	if n := nodes.Deref(r); n != nil { // nil for the zero Ref
		drop(n.left)
		drop(n.right)
		nodes.Put(n)
	}
}

func setLimits() {
	pool.SetProcessLimit(2 << 30) // in a container of 4 GiB
	debug.SetMemoryLimit(3 << 29) // 1.5 GiB for the heap and heap pools; 0.5 GiB to spare
}
