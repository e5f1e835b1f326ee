package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
)

// A trace is the sequence of keys to ask for. It holds the keys as numbers, because tens of
// millions of keys would take more memory than the cache, and a slice of pointers to them would
// give the garbage collector work that has nothing to do with the cache.
type trace struct {
	ids   []uint32
	names []key // by number; nil if keys are made from their numbers
}

// keyForm is the key with number 0. The other keys have other digits.
const (
	keyForm  = "https://shop.example/item/0000000000/stock?warehouse=7&unit=each"
	digitsAt = 26
	digits   = 10
)

var _ = [1]struct{}{}[len(keyForm)-keySize] // does not compile unless the two are equal

// key returns the key with number id.
func (t *trace) key(id uint32) key {
	if t.names != nil {
		return t.names[id]
	}
	k := key([]byte(keyForm))
	for i := digitsAt + digits - 1; id > 0; i-- {
		k[i] = '0' + byte(id%10)
		id /= 10
	}
	return k
}

// valueOf returns the value that every Put of k stores, so that every Get can be checked.
func valueOf(k key) value {
	v := value(k)
	v[0] ^= 0xff
	v[valueSize-1] ^= 0xff
	return v
}

// keysPerEntry is the ratio of different keys in a generated trace to entries of the cache.
const keysPerEntry = 10

// look is how many steps a loop takes before it checks again for Ctrl-C. A step takes well below a
// microsecond.
const look = 1 << 14

// loadTrace reads the trace that the plan names, or generates one.
func loadTrace(ctx context.Context, p plan) (*trace, error) {
	if p.Trace == "" {
		return generate(ctx, p)
	}
	t, err := readTraceFile(ctx, p.Trace)
	if err != nil {
		return nil, err
	}
	// Repeat a trace that is shorter than Ops, and cut one that is longer.
	once := t.ids
	for len(t.ids) < p.Ops {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.ids = append(t.ids, once[:min(len(once), p.Ops-len(t.ids))]...)
	}
	if p.Ops > 0 {
		t.ids = t.ids[:p.Ops]
	}
	return t, nil
}

// generate draws Ops keys. The probability of key i is proportional to 1/(1+i)^Skew.
func generate(ctx context.Context, p plan) (*trace, error) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(p.Seed, 0)), p.Skew, 1, uint64(p.Entries)*keysPerEntry-1)
	t := &trace{ids: make([]uint32, p.Ops)}
	for i := range t.ids {
		if i%look == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		t.ids[i] = uint32(zipf.Uint64())
	}
	return t, nil
}

// readTraceFile reads a file with one key per line.
func readTraceFile(ctx context.Context, path string) (*trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := readTrace(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// readTrace reads one key per line. It skips empty lines, because there is often one at the end.
func readTrace(ctx context.Context, in io.Reader) (*trace, error) {
	t := &trace{names: []key{}}
	known := map[key]uint32{}
	lines := bufio.NewScanner(in)
	line := 1
	for ; lines.Scan(); line++ {
		if line%look == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(lines.Bytes()) == 0 {
			continue
		}
		k, err := parseKey(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		id, ok := known[k]
		if !ok {
			id = uint32(len(t.names))
			known[k] = id
			t.names = append(t.names, k)
		}
		t.ids = append(t.ids, id)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: the key is longer than %d bytes", line, keySize)
	case err != nil:
		return nil, err
	case len(t.ids) == 0:
		return nil, errors.New("the file contains no keys")
	}
	return t, nil
}

// parseKey pads text to a key. It refuses text that could not be recovered from the key.
func parseKey(text []byte) (key, error) {
	var k key
	if len(text) > keySize {
		return k, fmt.Errorf("the key is %d bytes long, and the limit is %d", len(text), keySize)
	}
	for _, b := range text {
		if b == 0 {
			return k, errors.New("the key contains a zero byte, and zero bytes are the padding of short keys")
		}
	}
	copy(k[:], text)
	return k, nil
}

// split divides the trace among the workers by the shards of the keys, and keeps the order of the
// trace. It returns each worker's part, and removes the sequence from t.
//
// Each worker owns its shards: no other worker ever touches them. So each shard sees its keys in
// the order of the trace, whatever the scheduler does. The hits are thus the same in every run, on
// both sides and with any number of workers. Workers still take the locks, but never wait for one.
func (t *trace) split(ctx context.Context, shards, workers int) ([][]uint32, error) {
	parts := make([][]uint32, workers)
	for i, id := range t.ids {
		if i%look == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		w := t.owner(id, shards, workers)
		parts[w] = append(parts[w], id)
	}
	t.ids = nil
	return parts, nil
}

// owner returns the worker that owns the shard of a key.
func (t *trace) owner(id uint32, shards, workers int) int {
	k := t.key(id)
	return shardOf(k.hash(), shards) * workers / shards
}

// warmUp returns the keys to put before anything is measured. For a generated trace these are the
// most frequent keys, in order of increasing frequency. There are more of them than entries,
// because the shards do not get exactly the same number. A trace from a file starts with an empty
// cache, so there are none.
func (t *trace) warmUp(p plan) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if t.names != nil {
			return
		}
		for id := p.Entries + p.Entries/20 - 1; id >= 0; id-- {
			if !yield(uint32(id)) {
				return
			}
		}
	}
}
