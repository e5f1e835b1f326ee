package pooltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// A recorder is a testing.TB that keeps errors, and runs what was given to Cleanup when the test says.
type recorder struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (r *recorder) Error(args ...any)   { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *recorder) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Helper()             {}
func (r *recorder) Name() string        { return "TestOfOthers" }
func (r *recorder) end()                { r.cleanups[0]() }
func record(t *testing.T) *recorder     { return &recorder{TB: t} }
func getOne[T any](p *pool.Pool[T]) *T  { return p.Get() }
func getMore[T any](p *pool.Pool[T]) *T { return p.Get() }

// A test that puts all slots passes, and its pool is closed.
func TestNew(t *testing.T) {
	for name, opts := range map[string][]pool.Option{"off-heap": nil, "heap": {pool.WithGoHeap()}} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			p := New[[64]byte](r, opts...)
			p.Put(p.Get())
			assert.Equal(t, "TestOfOthers", p.Stats().Name)
			r.end()
			assert.Empty(t, r.errors)
			assert.ErrorIs(t, p.Close(), pool.ErrClosed)
		})
	}
}

// A test that leaves slots out fails, and says who got them, most slots first.
func TestNewFails(t *testing.T) {
	for name, opts := range map[string][]pool.Option{"off-heap": nil, "heap": {pool.WithGoHeap()}, "guards": {pool.WithGuardSampling(1)}} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			p := New[[64]byte](r, opts...)
			var held []*[64]byte
			held = append(held, getOne(p))
			for range 3 {
				held = append(held, getMore(p))
			}
			r.end()
			require.Len(t, r.errors, 1)
			text := r.errors[0]
			assert.Contains(t, text, `pool "TestOfOthers" ([64]uint8): 4 slots were not put`)
			more, one := strings.Index(text, "3 got at:\n\tgithub.com/warmpage/pool/pooltest.getMore"), strings.Index(text, "1 got at:\n\tgithub.com/warmpage/pool/pooltest.getOne")
			assert.Positive(t, more)
			assert.Greater(t, one, more)
			assert.NotContains(t, text, "not known")
			if name != "heap" {
				assert.Equal(t, 4, p.Live(), "the slots stay as they are")
				p.PutBatch(held)
				assert.NoError(t, p.Close())
			}
			runtime.KeepAlive(held)
		})
	}
}

// The test may close the pool itself, and give it another name.
func TestNewClosed(t *testing.T) {
	r := record(t)
	p := New[[64]byte](r, pool.WithName("mine"))
	assert.Equal(t, "mine", p.Stats().Name)
	require.NoError(t, p.Close())
	r.end()
	assert.Empty(t, r.errors)
}

// New waits for a goroutine that is about to put.
func TestNewWaits(t *testing.T) {
	r := record(t)
	p := New[[64]byte](r)
	x := p.Get()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for range 1000 {
			runtime.Gosched()
		}
		p.Put(x)
	}()
	r.end()
	assert.Empty(t, r.errors)
	<-ended
}

// Slots that the garbage collector has taken fail the test.
func TestNewLost(t *testing.T) {
	r := record(t)
	p := New[[64]byte](r, pool.WithGoHeap())
	n := 10 * p.Stats().SlotsPerPage
	for range n {
		p.Get()
	}
	for range 100 {
		if runtime.GC(); p.Stats().Lost != 0 {
			break
		}
	}
	require.NotZero(t, p.Stats().Lost)
	r.end()
	require.Len(t, r.errors, 1)
	assert.Contains(t, r.errors[0], "forgotten, which the garbage collector has taken")
}

func TestParallel(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			p := New[[64]byte](t)
			for range 100 {
				p.Put(p.Get())
			}
		})
	}
}

// VerifyNone lists what is out, and changes the code to 1 if that is 0.
func TestVerify(t *testing.T) {
	var b bytes.Buffer
	assert.Equal(t, 0, verify(func() int { return 0 }, &b, nil))
	assert.Empty(t, b.String())
	assert.Equal(t, 3, verify(func() int { return 3 }, &b, nil))
	assert.Empty(t, b.String())

	plain, known := pool.New[[64]byte](pool.WithName("plain")), pool.New[[16]byte](pool.WithProfile(1))
	x, y := plain.Get(), getOne(known)
	buffers := pool.NewBytes(pool.WithName("buffers"))
	z := buffers.Get(100)
	assert.Equal(t, 1, verify(func() int { return 0 }, &b, nil))
	text := b.String()
	assert.Contains(t, text, `pool "plain" ([64]uint8): 1 slot was not put`)
	assert.Contains(t, text, `pool [16]uint8: 1 slot was not put`+"\n1 got at:\n\tgithub.com/warmpage/pool/pooltest.getOne")
	assert.Contains(t, text, `pool "buffers" ([112]byte): 1 slot was not put`)
	b.Reset()
	assert.Equal(t, 2, verify(func() int { return 2 }, &b, []Option{Ignore("plain", "buffers")}))
	assert.NotContains(t, b.String(), "plain")
	assert.NotContains(t, b.String(), "buffers")
	assert.Contains(t, b.String(), "pool [16]uint8")
	plain.Put(x)
	known.Put(y)
	buffers.Put(z)
	b.Reset()
	assert.Equal(t, 0, verify(func() int { return 0 }, &b, nil))
	assert.Empty(t, b.String())
	require.NoError(t, plain.Close())
	require.NoError(t, known.Close())
	require.NoError(t, buffers.Close())
}

// What New has listed is not listed again.
func TestVerifyListsNothingTwice(t *testing.T) {
	r := record(t)
	p := New[[64]byte](r)
	x := p.Get()
	r.end()
	require.Len(t, r.errors, 1)
	var b bytes.Buffer
	assert.Equal(t, 0, verify(func() int { return 0 }, &b, nil))
	assert.Empty(t, b.String())
	p.Put(x)
	require.NoError(t, p.Close())
}

// leak is a variable of the environment that has the test process leave a slot out.
const leak = "POOLTEST_LEAK"

func TestMain(m *testing.M) {
	longestPause /= 8
	if os.Getenv(leak) != "" {
		pool.New[[64]byte](pool.WithName("left")).Get()
	}
	VerifyNone(m)
}

// A process whose tests pass fails if it leaves slots out.
func TestVerifyNoneEndsTheProcess(t *testing.T) {
	if os.Getenv(leak) != "" {
		return
	}
	if runtime.GOARCH == "wasm" {
		t.Skip("a process cannot start another one")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestVerifyNoneEndsTheProcess$")
	child.Env = append(os.Environ(), leak+"=1")
	text, err := child.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(text), "PASS")
	assert.Contains(t, string(text), `pool "left" ([64]uint8): 1 slot was not put`)
	child = exec.Command(os.Args[0], "-test.run=^TestParallel$")
	text, err = child.CombinedOutput()
	require.NoError(t, err, string(text))
}

// A pool is described by its own slots, and by those that the collector has taken.
func TestDescribe(t *testing.T) {
	assert.Contains(t, describe(pool.Stats{Type: "T", Lost: 1}), "1 slot was forgotten")
	p, q := New[[64]byte](t), New[[64]byte](t)
	x, y := getOne(p), getMore(q)
	assert.Contains(t, describe(p.Stats()), "getOne")
	assert.NotContains(t, describe(p.Stats()), "getMore")
	p.Put(x)
	q.Put(y)
}
