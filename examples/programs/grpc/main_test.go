package main

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

// The test binary is the program in child processes.
func TestMain(m *testing.M) {
	child.Main(child.One(measure))
	os.Exit(m.Run())
}

// Messages arrive whatever pool there is (measure checks them), and each buffer of a Bytes is put.
// What is left of allocations is mostly what protobuf makes of each message.
func TestSides(t *testing.T) {
	results := make(map[side]result)
	for _, s := range sides {
		r, err := child.Result[result](t.Context(), plan{Side: s, Streams: 4, Messages: 400, Idle: 50 * time.Millisecond})
		require.NoError(t, err)
		results[s] = r
		assert.Positive(t, r.CPU, s)
	}
	for _, s := range []side{onHeap, offHeap} {
		assert.Greater(t, results[s].Gets, uint64(2*400), "those of the client and of the server")
		assert.Zero(t, results[s].Unput, s)
		assert.Less(t, results[s].Allocations, results[noPool].Allocations, s)
		assert.Less(t, results[s].Bytes, results[noPool].Bytes, s)
	}
}

func TestBufferPool(t *testing.T) {
	b := pool.NewBytes(pool.WithOffHeap())
	p := newBufferPool(b)
	small, large := p.Get(100), p.Get(100_000)
	assert.Len(t, *small, 100)
	assert.Len(t, *large, 100_000)
	assert.Equal(t, 1, b.Stats().Live, "gRPC puts no small ones")
	p.Put(small)
	*large = (*large)[:10]
	p.Put(large)
	foreign := make([]byte, 5000)
	p.Put(&foreign)
	assert.NoError(t, b.Close())
}

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"-quick"}, &out, &errs), errs.String())
	assert.Regexp(t, `default +Bytes +Bytes, off heap +no pool\n`, out.String())
	assert.Regexp(t, `(?m)^ +us of processors( +\d+){4}$`, out.String())

	commandtest.Refuses(t, run, "-streams", [][]string{
		{"-streams", "0", "-messages must be at least ten times -streams"},
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, command.ExitInterrupted, run(ctx, []string{"-quick"}, &out, &errs))
	_, err := side("nobody").install()
	assert.ErrorContains(t, err, `no side "nobody"`)
}
