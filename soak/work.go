package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// A work is what handlers do for requests. Each of its pools has other options, and all are in use
// at once.
type work struct {
	s        *soak
	sessions *sessions

	scratch *checked[scratch] // plain
	nodes   *checked[node]    // in batches
	guarded *checked[scratch] // WithGuardSampling
	bounded *checked[block]   // WithLimit, often at it
	large   *checked[large]   // slots above 64 KiB
	huge    *checked[huge]    // a page for each slot
	warm    *checked[block]   // WithWarmSlots, WithAlign
	tables  *checked[table]   // WithInit off the Go heap

	documents *checked[document] // on the Go heap: WithInit, WithReset
	records   *checked[record]   // on the Go heap: some are forgotten, others have Refs
	refs      chan refOf[record]

	bodies  *checkedBytes // on the Go heap; some are forgotten
	buffers *checkedBytes // off it
	small   *checkedBytes // WithLimit
	written *pool.Bytes   // for Buffers
}

type (
	scratch struct{ words [32]uint64 }
	node    struct{ words [6]uint64 }
	block   struct{ words [512]uint64 }
	large   struct{ words [15000]uint64 } // 117 KiB
	huge    struct{ words [90000]uint64 } // 703 KiB
)

// A table takes time to make, and keeps what it holds.
type table struct {
	words  [8]uint64
	powers [64]uint64
}

// A document has pointers, and keeps its map and its buffer.
type document struct {
	words  [4]uint64
	title  string
	fields map[string]*string
	body   []byte
}

type record struct {
	words [4]uint64
	self  *record
	label *[]byte
}

type refOf[T any] struct {
	ref pool.Ref[T]
	id  uint64
}

func newWork(s *soak) *work {
	return &work{
		s:        s,
		sessions: newSessions(s),

		scratch: newChecked(s, "scratch", 256, func(x *scratch) []uint64 { return x.words[:] }),
		nodes:   newChecked(s, "nodes", 4096, func(x *node) []uint64 { return x.words[:] }),
		guarded: newChecked(s, "guarded", 128, func(x *scratch) []uint64 { return x.words[:] }, pool.WithGuardSampling(4)),
		bounded: newChecked(s, "bounded", 1000, func(x *block) []uint64 { return x.words[:] }, pool.WithLimit(2*mib)),
		large:   newChecked(s, "large", 8, func(x *large) []uint64 { return x.words[:] }),
		huge:    newChecked(s, "huge", 4, func(x *huge) []uint64 { return x.words[:] }, pool.WithGuardSampling(2)),
		warm: newChecked(s, "warm", 64, func(x *block) []uint64 { return x.words[:] },
			pool.WithWarmSlots(100), pool.WithAlign(4096)),
		tables: newChecked(s, "tables", 64, func(x *table) []uint64 { return x.words[:] },
			pool.WithInit(fillTable), pool.WithReset(func(x *table) { x.words = [8]uint64{} })),

		documents: newCheckedOnHeap(s, "documents", 256, func(x *document) []uint64 { return x.words[:] },
			pool.WithInit(makeDocument), pool.WithReset(resetDocument), pool.WithProfile(64<<10)),
		records: newCheckedOnHeap(s, "records", 256, func(x *record) []uint64 { return x.words[:] }),
		refs:    make(chan refOf[record], 1000),

		bodies:  newCheckedBytes(s, "bodies", 64, pool.WithProfile(256<<10)),
		buffers: newCheckedBytes(s, "buffers", 64, pool.WithOffHeap(), pool.WithGuardSampling(16)),
		small:   newCheckedBounded(s, "small", 512, pool.WithOffHeap(), pool.WithLimit(4*mib)),
		written: pool.NewBytes(pool.WithName("written"), pool.WithOffHeap()),
	}
}

func fillTable(x *table) {
	for i := range x.powers {
		x.powers[i] = 1 << i
	}
}

func makeDocument(d *document) {
	d.fields = make(map[string]*string)
	d.body = make([]byte, 0, 256)
}

func resetDocument(d *document) {
	d.words = [4]uint64{}
	d.title = ""
	clear(d.fields)
	d.body = d.body[:0]
}

// do is what a handler does for a request.
func (w *work) do(o *owner, key uint64) {
	w.sessions.touch(o, key)
	w.timed(o)
	w.control()
	for range 2 {
		switch n := o.IntN(100); {
		case n < 15:
			w.batch(o)
		case n < 25:
			w.guarded.swap(w.guarded.tryGet(o))
		case n < 32:
			w.bounded.swap(w.bounded.tryGet(o))
		case n < 34:
			w.large.swap(w.large.get(o))
		case n < 35:
			w.huge.swap(w.huge.tryGet(o))
		case n < 42:
			w.warm.swap(w.warm.getNoZero(o))
		case n < 47:
			w.table(o)
		case n < 57:
			w.document(o)
		case n < 67:
			w.record(o)
		case n < 77:
			w.body(o)
		case n < 82:
			w.buffers.swap(w.buffers.get(o, randomSize(o, 256<<10)), o)
		case n < 87:
			w.small.swap(w.small.get(o, randomSize(o, 16<<10)), o)
		case n < 92:
			w.write(o)
		default:
			w.scratch.swap(w.scratch.get(o))
		}
	}
}

// timed measures a Get and a Put.
func (w *work) timed(o *owner) {
	defer w.scratch.surviveLimit()
	start := time.Now()
	x := w.scratch.Get()
	got := time.Since(start)
	h := w.scratch.takeZeroed(o, x)
	w.scratch.give(h)
	start = time.Now()
	w.scratch.Put(x)
	w.s.getPut.record(got + time.Since(start))
}

// control measures something that takes about as long and has no pool in it.
func (w *work) control() {
	var mu sync.Mutex
	start := time.Now()
	mu.Lock()
	half := time.Since(start)
	start = time.Now()
	mu.Unlock()
	w.s.control.record(half + time.Since(start))
}

func (w *work) batch(o *owner) {
	hs := w.nodes.getBatch(o, 1+o.IntN(100))
	half := len(hs) / 2
	for _, h := range hs[:half] {
		w.nodes.swap(h)
	}
	o.Shuffle(len(hs)-half, func(i, j int) { hs[half+i], hs[half+j] = hs[half+j], hs[half+i] })
	w.nodes.putBatch(hs[half:])
}

func (w *work) table(o *owner) {
	h := w.tables.get(o)
	if h.x != nil && h.x.powers[63] != 1<<63 {
		w.tables.fault(fmt.Errorf("WithInit has not made the slot of %s: %v", describe(h.id), h.x.powers))
	}
	w.tables.swap(h)
}

func (w *work) document(o *owner) {
	h := w.documents.get(o)
	d := h.x
	if d == nil {
		return
	}
	if d.title != "" || d.fields == nil || len(d.fields) > 0 || len(d.body) > 0 || cap(d.body) < 256 {
		w.documents.fault(fmt.Errorf("a new document has the title %q, %d fields and %d of %d bytes", d.title, len(d.fields), len(d.body), cap(d.body)))
	}
	d.title = strconv.FormatUint(h.id, 10)
	for range o.IntN(4) {
		value := "value of " + d.title
		d.fields["field "+strconv.Itoa(o.IntN(10))] = &value
	}
	d.body = append(d.body, d.title...)
	for _, value := range d.fields {
		if *value != "value of "+d.title {
			w.documents.fault(fmt.Errorf("a field of the document %q is the %q", d.title, *value))
		}
	}
	w.documents.swap(h)
}

// record forgets some slots, with all that hangs on them, and keeps others by their Refs alone.
func (w *work) record(o *owner) {
	switch o.IntN(8) {
	case 0:
		h := w.records.get(o)
		if h.x != nil {
			h.x.self = h.x // a cycle
		}
		w.records.forget(h)
	case 1, 2:
		r, h := w.records.getRef(o)
		if h.x == nil {
			return
		}
		label := strconv.AppendUint(nil, h.id, 10)
		h.x.label = &label
		select {
		case old := <-w.refs:
			w.putByRef(old)
		default:
		}
		select {
		case w.refs <- refOf[record]{r, h.id}:
		default:
			w.putByRef(refOf[record]{r, h.id})
		}
	default:
		w.records.swap(w.records.get(o))
	}
}

func (w *work) putByRef(r refOf[record]) {
	if x := w.records.Deref(r.ref); x != nil && string(*x.label) != strconv.FormatUint(r.id, 10) {
		w.records.fault(fmt.Errorf("what the slot of %s refers to has changed to %q", describe(r.id), *x.label))
	}
	w.records.putByRef(r.ref, r.id)
}

func (w *work) body(o *owner) {
	h := w.bodies.get(o, randomSize(o, 64<<10))
	for range o.IntN(3) {
		w.bodies.grow(&h, randomSize(o, 16<<10))
	}
	if o.IntN(20) == 0 {
		w.bodies.forget(h)
		return
	}
	w.bodies.swap(h, o)
}

// write writes to a Buffer, and reads it again.
func (w *work) write(o *owner) {
	buf := pool.NewBuffer(w.written)
	defer buf.Free()
	defer func() { w.s.survived(recover(), false) }()
	id, lines := o.id(), 1+o.IntN(200)
	for i := range lines {
		fmt.Fprintln(buf, pattern(id, i))
	}
	text := buf.Bytes()
	for i := range lines {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		if string(line) != strconv.FormatUint(pattern(id, i), 10) {
			w.s.fault(fmt.Errorf("written: line %d is %q, not %d", i, line, pattern(id, i)))
			return
		}
		text = rest
	}
	if _, err := buf.WriteTo(io.Discard); err != nil {
		w.s.fault(fmt.Errorf("written: %w", err))
	}
}

// close closes the pools. Nobody else uses them any more.
func (w *work) close() {
	o := newOwner(w.s.seed)
	for len(w.refs) > 0 {
		w.putByRef(<-w.refs)
	}
	w.sessions.close()
	w.scratch.closePool()
	w.nodes.closePool()
	w.guarded.closePool()
	w.bounded.closePool()
	w.large.closePool()
	w.huge.closePool()
	w.warm.closePool()
	w.tables.closePool()
	w.documents.closePool()
	w.records.closePool()
	w.bodies.closeBytes(o)
	w.buffers.closeBytes(o)
	w.small.closeBytes(o)
	if err := w.written.Close(); err != nil {
		w.s.fault(fmt.Errorf("written: %w", err))
	}
}
