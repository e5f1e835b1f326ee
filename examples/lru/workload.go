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

// A trace is the keys that are asked for, one after the other, as numbers: tens of
// millions of keys would take more memory than the cache, and a slice of pointers
// to them would be work for the garbage collector that has nothing to do with it.
type trace struct {
	ids   []uint32
	names []key // by number; nil: a key is made from its number
}

// keyForm is a key with room for its number.
const (
	keyForm  = "https://shop.example/item/0000000000/stock?warehouse=7&unit=each"
	digitsAt = 26
	digits   = 10
)

var _ = [1]struct{}{}[len(keyForm)-keySize] // does not compile unless they are equal

// key returns the key with a number.
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

// valueOf is what each Put of k puts, so that each Get can be checked.
func valueOf(k key) value {
	v := value(k)
	v[0] ^= 0xff
	v[valueSize-1] ^= 0xff
	return v
}

// keysPerEntry is how many keys a generated trace has for each one that there is
// room for.
const keysPerEntry = 10

// look is how many steps of a loop, of well below a microsecond each, go by before
// it looks whether Ctrl-C was pressed.
const look = 1 << 14

// loadTrace reads the trace that the plan names, or generates it.
func loadTrace(ctx context.Context, p plan) (*trace, error) {
	if p.Trace == "" {
		return generate(ctx, p)
	}
	t, err := readTraceFile(ctx, p.Trace)
	if err != nil {
		return nil, err
	}
	// A trace shorter than Ops is repeated, a longer one cut.
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

// generate draws Ops keys, of which key i comes with a probability in proportion to
// 1/(1+i)^Skew.
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

// readTraceFile reads a file with one key a line.
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

// readTrace reads one key a line. Empty lines are skipped, as there often is one
// at the end.
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
		return nil, fmt.Errorf("line %d: the key has more than %d bytes", line, keySize)
	case err != nil:
		return nil, err
	case len(t.ids) == 0:
		return nil, errors.New("there is no key in it")
	}
	return t, nil
}

// parseKey refuses what would not come back as it was.
func parseKey(text []byte) (key, error) {
	var k key
	if len(text) > keySize {
		return k, fmt.Errorf("the key has %d bytes, more than %d", len(text), keySize)
	}
	for _, b := range text {
		if b == 0 {
			return k, errors.New("the key has a zero byte, which is what short keys are padded with")
		}
	}
	copy(k[:], text)
	return k, nil
}

// split deals the trace out to workers, by the shard of the key, in the order of
// the trace; t keeps only the names.
//
// Each worker owns its shards: no other one ever touches them. So each shard sees
// its keys in the order of the trace, whatever the scheduler does, which makes the
// hits the same in each run, on each side and with any number of workers. The
// locks are taken all the same, but nobody waits for them.
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

// owner returns which worker has the shard of a key.
func (t *trace) owner(id uint32, shards, workers int) int {
	k := t.key(id)
	return shardOf(k.hash(), shards) * workers / shards
}

// warmUp returns the keys that are put before anything is measured: of a generated
// trace the most frequent ones, the most frequent of all last, and some more, as
// the shards do not get exactly the same number of them. A trace from a file
// starts with the cache empty: its keys are all that there is.
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
