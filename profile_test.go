package pool

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:noinline
func holdSmall(p *Pool[[64]byte], n int) (xs []*[64]byte) {
	for range n {
		xs = append(xs, p.Get())
	}
	return xs
}

//go:noinline
func holdBatch(p *Pool[[64]byte], n int) []*[64]byte {
	xs := make([]*[64]byte, n)
	p.GetBatch(xs)
	return xs
}

// pprofTop runs go tool pprof on the profile, and returns the value that it prints for each
// function.
func pprofTop(t *testing.T, index string) map[string]float64 {
	var b bytes.Buffer
	require.NoError(t, pprof.Lookup(profileName).WriteTo(&b, 0))
	file := filepath.Join(t.TempDir(), "profile")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	out, err := exec.Command("go", "tool", "pprof", "-top", "-unit=B", "-sample_index="+index, file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	flat := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^\s*(\d+)B?\s.*\s(\S+)$`).FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		flat[m[2]] = n
	}
	return flat
}

// If the rate is the slot's size or less, every Get is sampled, and the profile is exact. Puts
// remove samples.
func TestProfileExact(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to run pprof: ", err)
	}
	p := newStill[[64]byte](t, WithName("held"), WithProfile(1))
	xs := holdSmall(p, 1000)
	ys := holdBatch(p, 300)
	flat := pprofTop(t, "slots")
	assert.EqualValues(t, 1000, flat["github.com/warmpage/pool.holdSmall"])
	assert.EqualValues(t, 300, flat["github.com/warmpage/pool.holdBatch"])
	flat = pprofTop(t, "bytes")
	assert.EqualValues(t, 1000*p.Stats().SlotSize, flat["github.com/warmpage/pool.holdSmall"])

	var text strings.Builder
	require.NoError(t, pprof.Lookup(profileName).WriteTo(&text, 1))
	assert.Contains(t, text.String(), "1300 slots, "+strconv.Itoa(1300*p.Stats().SlotSize)+" bytes\n")
	assert.Contains(t, text.String(), " bytes of held\n")
	assert.Contains(t, text.String(), "profile_test.go:")

	for _, x := range xs {
		p.Put(x)
	}
	p.PutBatch(ys)
	assert.Zero(t, pprof.Lookup(profileName).Count())
	require.NoError(t, p.core.checkInvariants())
}

// The estimate depends neither on the kind of Get nor on the pattern of a program that gets many
// slots for a moment and keeps a few. Its error is that of a random sample.
func TestProfileUnbiased(t *testing.T) {
	oneP(t)
	const n, rate = 100_000, 98 * 64 // a multiple of the pattern below
	p := newStill[[64]byte](t, WithProfile(rate))
	var kept []*[64]byte
	for len(kept) < n { // one slot of seven is kept
		kept = append(kept, holdSmall(p, 1)...)
		var short [6]*[64]byte
		for i := range short {
			short[i] = p.GetNoZero()
		}
		for _, x := range short {
			p.Put(x)
		}
	}
	batch := holdBatch(p, n)
	var slots, byFunc = 0.0, map[string]float64{}
	for _, s := range liveSamples() {
		byFunc[s.frames[0].Function] += s.slots
		slots += s.slots
	}
	// About n/98 of n slots are sampled, with a standard error of the root of that, which is 3.1 %.
	// An error of six times that comes by chance once in 500 million runs.
	assert.InEpsilon(t, n, byFunc["github.com/warmpage/pool.holdSmall"], 0.19)
	assert.InEpsilon(t, n, byFunc["github.com/warmpage/pool.holdBatch"], 0.19)
	assert.InEpsilon(t, 2*n, slots, 0.14)
	t.Logf("of %d slots each: %v", n, byFunc)
	assert.EqualValues(t, 8*n, p.Stats().Gets)
	p.PutBatch(kept)
	p.PutBatch(batch)
	assert.Empty(t, liveSamples())
}

// Slots that the program got in one place are one entry, whatever way their Gets have taken inside
// the library.
func TestProfileJoinsStacks(t *testing.T) {
	p := New[[64]byte](WithProfile(1), WithGuardSampling(1))
	xs := make([]*[64]byte, 100)
	for i := range xs {
		xs[i] = p.Get() // the first 64 are guarded
	}
	assert.Len(t, p.core.watches.live(), 1)
	p.PutBatch(xs)
	require.NoError(t, p.Close())
}

// This Go release has what publishProfile needs.
func TestProfilePublished(t *testing.T) {
	New[[8]byte](WithProfile(DefaultProfileRate))
	require.NotNil(t, pprof.Lookup(profileName))
	assert.True(t, publishProfile(pprof.Lookup(profileName)))
}

// Misuse of sampled slots is caught like that of others.
func TestProfileMisuse(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t, WithProfile(1))
	x := p.Get()
	p.Put(x)
	requirePanic(t, ErrDoublePut, func() { p.Put(x) })
	x = p.Get()
	requirePanic(t, ErrForeignPut, func() { p.core.put(pointerAt(address(x) + 8)) })
	r := p.Ref(x)
	assert.Same(t, x, p.Deref(r))
	assert.True(t, p.PutRef(r))
	assert.Nil(t, p.Deref(r))
	assert.False(t, p.PutRef(r))
	assert.Empty(t, liveSamples())
	assert.ErrorIs(t, func() error { p.Get(); return p.Close() }(), ErrInUse)
	for _, y := range p.All() {
		p.Put(y)
	}
	assert.Zero(t, p.Stats().Live)
	runtime.Gosched()
}

func TestProfileOptions(t *testing.T) {
	assert.PanicsWithError(t, "pool ([8]uint8): WithProfile(-1): give the bytes for each sample, such as DefaultProfileRate, or 0 for no profile",
		func() { New[[8]byte](WithProfile(-1)) })
	assert.Panics(t, func() { New[[8]byte](WithGuardSampling(-1)) })
}

// Stats.Gets is right while other goroutines get slots and begin new intervals of samples (here
// every few hundred Gets). It neither goes down nor rises above the number of Gets.
func TestGetsWhileOthersGet(t *testing.T) {
	needsPreemption(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	const getters, round = 3, 10
	p := New[[64]byte](WithProfile(64 * 200))
	var stop atomic.Bool
	var wg group
	var done atomic.Uint64
	for range getters {
		wg.Go(func() {
			for !stop.Load() {
				for range round {
					p.Put(p.GetNoZero())
				}
				done.Add(round)
			}
		})
	}
	last := uint64(0)
	for n := 0; n < times(1<<17) || done.Load() < 100_000; n++ {
		least := done.Load()
		gets := p.Stats().Gets
		if !assert.GreaterOrEqual(t, gets, max(last, least)) || !assert.LessOrEqual(t, gets, done.Load()+getters*round) {
			break
		}
		last = gets
	}
	stop.Store(true)
	wg.Wait()
	assert.Equal(t, done.Load(), p.Stats().Gets)
	require.NoError(t, p.Close())
}

// Stats.Gets does not go down when a Get has counted itself, finds that it has to be slow, and
// takes its count back.
func TestGetsDoesNotGoDown(t *testing.T) {
	oneP(t)
	p := newStill[[64]byte](t)
	p.Put(p.Get())
	s := p.core.shards.Load().present()[0]
	s.sampleIn--
	assert.EqualValues(t, 2, p.Stats().Gets)
	s.sampleIn++
	assert.EqualValues(t, 2, p.Stats().Gets)
	p.Put(p.Get())
	assert.EqualValues(t, 2, p.Stats().Gets)
}

// The sample of a batch is the slot that it fell on, whichever page that is in.
func TestProfileOfBatchFromTwoPages(t *testing.T) {
	oneP(t)
	p := newStill[[1024]byte](t, WithProfile(1<<30))
	first := simBatch(p, p.Stats().SlotsPerPage-10)
	s := p.core.shards.Load().present()[0]
	clear(p.core.watches.samples)
	s.sampleIn = 20
	xs := simBatch(p, 40)
	require.NotEqual(t, pageOf(address(xs[0])), pageOf(address(xs[19])))
	assert.Len(t, p.core.watches.samples, 1)
	assert.Contains(t, p.core.watches.samples, address(xs[19]))
	p.PutBatch(append(first, xs...))
}

// The numbers in pprof's format are rounded.
func TestProfileRounds(t *testing.T) {
	var written bytes.Buffer
	require.NoError(t, writeProto(&written, []liveSample{{pool: "p", slots: 1.6, bytes: 2.6}}))
	zr, err := gzip.NewReader(&written)
	require.NoError(t, err)
	text, err := io.ReadAll(zr)
	require.NoError(t, err)
	assert.Contains(t, string(text), string([]byte{sampleValue<<3 | 2, 2, 2, 3}), "the values of the sample")
}
