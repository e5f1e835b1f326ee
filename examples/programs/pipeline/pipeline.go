package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"
	"time"

	"github.com/warmpage/pool"
)

// lineSize is how many bytes a record's line has.
const lineSize = 1000

// A record is a line of a log on its way. Whoever has the pointer has the record: the reader, then the
// queue to the workers, then a worker, then the queue to the writer, who puts it.
type record struct {
	seq    int
	status int // parsed
	sum    uint32
	line   [lineSize]byte
}

// work says what to do.
type work struct {
	records, workers int
	inFlight         int // at most; 0: no bound
	slow             int // checksums by the writer
}

// result is what was done.
type result struct {
	written, failures int
	bytes             int64
	check             uint32 // of all lines, whatever their order
	inUse, mostInUse  int
	mapped            int64 // bytes, at most
	waits             uint64
	took              time.Duration
}

// do runs the pipeline until all records are written, or until ctx has ended and those that were read are.
// It calls progress now and then.
func (w work) do(ctx context.Context, progress func(result)) (r result) {
	begun := time.Now()
	opts := []pool.Option{pool.WithName("records")}
	room := w.records // of the queues: without a bound, nothing holds the reader up
	if w.inFlight != 0 {
		opts = append(opts, pool.WithMaxSlots(w.inFlight))
		room = w.inFlight
	}
	records := pool.New[record](opts...)
	read, parsed := make(chan *record, room), make(chan *record, room)

	go func() {
		defer close(read)
		for seq := range w.records {
			rec, err := records.GetContext(ctx) // waits for the writer
			if err != nil {
				return // ctx has ended
			}
			rec.fill(seq)
			read <- rec
		}
	}()
	var workers sync.WaitGroup
	workers.Add(w.workers)
	for range w.workers {
		go func() {
			defer workers.Done()
			for rec := range read {
				rec.parse()
				parsed <- rec
			}
		}()
	}
	go func() {
		workers.Wait()
		close(parsed)
	}()

	for rec := range parsed {
		r.inUse = records.Live()
		r.mostInUse = max(r.mostInUse, r.inUse)
		r.write(rec, w.slow)
		records.Put(rec)
		if r.written%max(w.records/4, 1) == 0 {
			r.mapped = max(r.mapped, records.Stats().MappedBytes)
			progress(r)
		}
	}
	st := records.Stats()
	r.waits, r.mapped, r.took = st.Waits, max(r.mapped, st.MappedBytes), time.Since(begun)
	if err := records.Close(); err != nil {
		panic(err) // a record was lost
	}
	return r
}

// fill makes the line of a record, as if it were read from a file.
func (rec *record) fill(seq int) {
	rec.seq = seq
	line := append(rec.line[:0], "GET /item/"...)
	line = strconv.AppendInt(line, int64(seq), 10)
	line = append(line, " status="...)
	line = strconv.AppendInt(line, int64(200+300*(seq%10/9)), 10)
	for k := len(line); k < lineSize; k++ {
		rec.line[k] = ' '
	}
}

// parse finds the status in the line.
func (rec *record) parse() {
	_, after, ok := bytes.Cut(rec.line[:], []byte("status="))
	status, err := strconv.Atoi(string(after[:3]))
	if !ok || err != nil {
		panic(fmt.Sprintf("record %d has no status: %q", rec.seq, rec.line[:40]))
	}
	rec.status = status
	rec.sum = crc32.ChecksumIEEE(rec.line[:])
}

// write is the slow end.
func (r *result) write(rec *record, slow int) {
	for range slow {
		if crc32.Checksum(rec.line[:], castagnoli) == 0 {
			panic("a line of blanks")
		}
	}
	r.written++
	r.bytes += lineSize
	r.check += rec.sum
	if rec.status >= 500 {
		r.failures++
	}
}

// castagnoli is a table that is not the processor's, so that the writer is slow.
var castagnoli = crc32.MakeTable(0xd5828281)
