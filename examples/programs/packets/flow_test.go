package main

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
	"github.com/warmpage/pool/examples/programs/internal/latency"
)

// Everything from senders to workers, in this process.
func TestMeasure(t *testing.T) {
	for _, s := range []side{thisPool, syncPool} {
		p := tiny
		p.Side = s
		r, err := measure(t.Context(), p)
		require.NoError(t, err, s)
		c := r.Counts
		assert.Positive(t, c.Parsed, s)
		assert.Equal(t, c.Read, c.Full+c.Parsed, s)
		assert.GreaterOrEqual(t, c.Sent, c.Read, s)
		assert.Zero(t, c.Bad, s)
		assert.Equal(t, c.Queued, c.Worked, s)
		assert.EqualValues(t, c.Parsed, c.Latency.Count(), s)
		assert.GreaterOrEqual(t, c.Bytes, c.Parsed*headerSize, s)
		assert.LessOrEqual(t, c.Bytes, c.Parsed*uint64(headerSize+p.Size), s)
		assert.Positive(t, r.Cycles, s)
		assert.Equal(t, s == thisPool, r.Mapped > 0, s)
	}
}

// When senders send as fast as they can and the queue runs over, every packet is still counted.
func TestDrops(t *testing.T) {
	p := tiny
	p.Side, p.Rate, p.Workers = thisPool, 0, 1
	s, err := newStore(thisPool)
	require.NoError(t, err)
	f, err := newFlow(p, s, func(err error) { t.Error(err) })
	require.NoError(t, err)
	f.workers[0].mu.Lock() // the worker hangs until the queue has run over
	full := func() (n uint64) {
		for _, l := range f.lines {
			l.mu.Lock()
			n += l.tally.full
			l.mu.Unlock()
		}
		return n
	}
	time.AfterFunc(time.Millisecond, func() {
		for full() == 0 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		f.workers[0].mu.Unlock()
	})
	c, err := f.phase(t.Context(), p, 1, time.Second/2)
	require.NoError(t, err)
	assert.Positive(t, c.Full)
	assert.Equal(t, c.Read, c.Full+c.Parsed)
	assert.GreaterOrEqual(t, c.Sent, c.Read)
	assert.Equal(t, c.Queued, c.Worked)
	require.NoError(t, f.close())
	assert.NoError(t, s.close(), "every slot must be back")
}

// Each phase counts only what it sent, and never what others write to the socket.
func TestPhases(t *testing.T) {
	p := tiny
	p.Side, p.Readers = thisPool, 1
	s, err := newStore(thisPool)
	require.NoError(t, err)
	f, err := newFlow(p, s, func(err error) { t.Error(err) })
	require.NoError(t, err)
	stranger, err := newLine(p.Host, 0)
	require.NoError(t, err)
	for number := byte(1); number < 4; number++ {
		_, err = stranger.in.WriteTo([]byte{number}, f.lines[0].in.LocalAddr())
		require.NoError(t, err)
		_, err = stranger.in.WriteTo([]byte("garbage"), f.lines[0].in.LocalAddr())
		require.NoError(t, err)
		before := f.lines[0].next
		c, err := f.phase(t.Context(), p, number, 20*time.Millisecond)
		require.NoError(t, err)
		assert.Equal(t, f.lines[0].next-before, c.Sent)
		assert.Zero(t, c.Bad)
	}
	require.NoError(t, stranger.out.Close())
	require.NoError(t, stranger.in.Close())
	require.NoError(t, f.close())
	assert.NoError(t, s.close())
}

// This is why the program counts allocations: a store that makes a new packet each time must not
// pass.
func TestAllocationsAreCounted(t *testing.T) {
	var made atomic.Uint64
	s := store{
		get: func() *packet {
			made.Add(1)
			return new(packet)
		},
		put:    func(*packet) {},
		mapped: func() int64 { return 1 },
	}
	p := tiny
	p.Side = thisPool
	f, err := newFlow(p, s, func(err error) { t.Error(err) })
	require.NoError(t, err)
	r, err := f.record(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, f.close())
	assert.GreaterOrEqual(t, r.Mallocs, r.Counts.Parsed)
	assert.GreaterOrEqual(t, made.Load(), r.Counts.Parsed)
	assert.ErrorContains(t, check([]result{r}), "allocations per packet, want less than 0.01")
}

// This is what the checksums are for: they detect a slot that has two users.
func TestSharedSlotIsDetected(t *testing.T) {
	shared := new(packet)
	s := store{get: func() *packet { return shared }, put: func(*packet) {}}
	w := new(worker)
	queue := make(chan *packet, 2)
	shared.n = len(encode(shared.data[:], header{sequence: 1}, []byte("first")))
	queue <- shared
	queue <- shared
	shared.data[headerSize]++
	close(queue)
	w.work(queue, s)
	assert.EqualValues(t, 2, w.tally.packets)
	assert.EqualValues(t, 2, w.tally.bad)
}

// made returns a result that passes the check.
func made(s side) result {
	r := result{
		Plan:    plan{Side: s},
		Counts:  counts{Sent: 1000, Read: 990, Full: 90, Parsed: 900, Bytes: 900_000, Queued: 5, Worked: 5},
		Elapsed: time.Second, Mallocs: 8, Mapped: 1,
	}
	for i := range 900 {
		r.Counts.Latency.Record(time.Duration(i+1) * time.Microsecond)
	}
	return r
}

// This is what the program is for: check must reject a library that mixes up packets or allocates,
// and counters that do not count.
func TestCheck(t *testing.T) {
	assert.NoError(t, check([]result{made(thisPool), made(syncPool)}))
	for _, test := range []struct {
		want  string
		spoil func(*result)
	}{
		{"no packet came through", func(r *result) { r.Counts = counts{} }},
		{"this does not add up", func(r *result) { r.Counts.Parsed-- }},
		{"this does not add up", func(r *result) { r.Counts.Sent = 0 }},
		{"1 packets were corrupted, want 0", func(r *result) { r.Counts.Bad = 1 }},
		{"not those that were queued", func(r *result) { r.Counts.Worked++ }},
		{"the pool has no memory", func(r *result) { r.Mapped = 0 }},
		{"0.010 allocations per packet, want less than 0.01", func(r *result) { r.Mallocs = 9 }},
	} {
		bad := made(thisPool)
		test.spoil(&bad)
		assert.ErrorContains(t, check([]result{bad, made(syncPool)}), test.want)
	}
	theirs := made(syncPool)
	theirs.Mallocs, theirs.Mapped = 900, 0
	assert.NoError(t, check([]result{made(thisPool), theirs}), "sync.Pool may allocate")
	theirs.Counts.Bad = 1
	assert.ErrorContains(t, check([]result{made(thisPool), theirs}), "sync.Pool: 1 packets")
}

func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 99: "99ns", 12_345: "12µs", 1_966_080: "2ms", 67_108_864: "67ms"} {
		assert.Equal(t, want, round(d).String())
	}
}

func TestChart(t *testing.T) {
	one := made(syncPool)
	one.Counts.Latency = latency.Histogram{}
	for range 3 { // all in one bar
		one.Counts.Latency.Record(time.Millisecond)
	}
	none := made(syncPool)
	none.Counts.Latency = latency.Histogram{}
	for _, theirs := range []result{made(syncPool), one, none} {
		svg := filepath.Join(t.TempDir(), "packets.svg")
		require.NoError(t, writeChart(svg, []result{made(thisPool), theirs}))
		text := charttest.Read(t, svg)
		for _, want := range []string{"this pool: 900 packets/s, 8 allocations", "100 %", "10 %", "1ms"} {
			assert.Contains(t, text, want)
		}
	}
}
