package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadTrace(t *testing.T) {
	long := strings.Repeat("k", keySize)
	tr, err := readTrace(t.Context(), strings.NewReader("b\na\r\n\nb\n"+long+"\na b "))
	require.NoError(t, err)
	assert.Equal(t, []uint32{0, 1, 0, 2, 3}, tr.ids)
	require.Len(t, tr.names, 4)
	assert.Equal(t, key{'b'}, tr.key(0))
	assert.Equal(t, key{'a'}, tr.key(1))
	assert.Equal(t, key([]byte(long)), tr.key(2))
	assert.Equal(t, key{'a', ' ', 'b', ' '}, tr.key(3))
}

func TestReadTraceErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a\n" + strings.Repeat("k", 65) + "\n":      "line 2: the key is 65 bytes long, and the limit is 64",
		"a\n\n" + strings.Repeat("k", 1<<20) + "\n": "line 3: the key is longer than 64 bytes",
		"a\nb\nc\x00\n": "line 3: the key contains a zero byte",
		"":              "the file contains no keys",
		"\n\n":          "the file contains no keys",
	} {
		_, err := readTrace(t.Context(), strings.NewReader(text))
		assert.ErrorContains(t, err, want)
	}
	broken := errors.New("broken disk")
	_, err := readTrace(t.Context(), iotest.ErrReader(broken))
	assert.ErrorIs(t, err, broken)
}

func TestTraceOps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("a\nb\nc\n"), 0o666))
	for ops, want := range map[int][]uint32{
		0: {0, 1, 2}, 2: {0, 1}, 3: {0, 1, 2}, 8: {0, 1, 2, 0, 1, 2, 0, 1},
	} {
		tr, err := loadTrace(t.Context(), plan{Trace: path, Ops: ops})
		require.NoError(t, err)
		assert.Equal(t, want, tr.ids, ops)
	}
}

func TestKey(t *testing.T) {
	for id, want := range map[uint32]string{
		0:          "https://shop.example/item/0000000000/stock?warehouse=7&unit=each",
		1234:       "https://shop.example/item/0000001234/stock?warehouse=7&unit=each",
		4294967295: "https://shop.example/item/4294967295/stock?warehouse=7&unit=each",
	} {
		k := (&trace{}).key(id)
		assert.Equal(t, want, string(k[:]))
		assert.NotEqual(t, value(k), valueOf(k))
	}
}

func TestGenerate(t *testing.T) {
	p := plan{Entries: 100, Ops: 10_000, Seed: 7, Skew: 1.1}
	a, err := loadTrace(t.Context(), p)
	require.NoError(t, err)
	b, err := loadTrace(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, a, b, "the same seed gives the same trace")

	counts := make([]int, p.Entries*keysPerEntry)
	for _, id := range a.ids {
		counts[id]++
	}
	assert.Greater(t, counts[0], 2*counts[5])
	assert.Greater(t, counts[5], 2*counts[500])

	p.Seed = 8
	b, err = loadTrace(t.Context(), p)
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}

// Each shard sees its keys in the order of the trace, with any number of workers.
func TestSplit(t *testing.T) {
	const shards = 8
	byShard := func(parts [][]uint32, tr *trace) [][]uint32 {
		seen := make([][]uint32, shards)
		for w, part := range parts {
			for _, id := range part {
				k := tr.key(id)
				s := shardOf(k.hash(), shards)
				require.Equal(t, w, tr.owner(id, shards, len(parts)))
				seen[s] = append(seen[s], id)
			}
		}
		return seen
	}
	var want [][]uint32
	for _, workers := range []int{1, 2, 3, shards} {
		tr, err := generate(t.Context(), plan{Entries: 50, Ops: 2000, Seed: 1, Skew: 1.1})
		require.NoError(t, err)
		parts, err := tr.split(t.Context(), shards, workers)
		require.NoError(t, err)
		seen := byShard(parts, tr)
		if want == nil {
			want = seen
		}
		assert.Equal(t, want, seen, workers)
	}
}

func TestLoadingIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := generate(ctx, plan{Entries: 1, Ops: 1, Skew: 1.1})
	assert.ErrorIs(t, err, context.Canceled)
	_, err = (&trace{ids: []uint32{1}}).split(ctx, 1, 1)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = readTrace(ctx, strings.NewReader(strings.Repeat("a\n", look+1)))
	assert.ErrorIs(t, err, context.Canceled)
}
