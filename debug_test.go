//go:build pooldebug

package pool

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	noQuarantine = func(t testing.TB) { quarantineFor(t, 0) }
	forgetPast = func(c *core, x uintptr) {
		c.watches.mu.Lock()
		defer c.watches.mu.Unlock()
		delete(c.watches.history.slots, x)
	}
}

// quarantineFor sets quarantineBytes until the test ends.
func quarantineFor(t testing.TB, bytes int) {
	before := quarantineBytes
	quarantineBytes = bytes
	t.Cleanup(func() { quarantineBytes = before })
}

// Between a guarded slot and the inaccessible memory behind it lies its red zone.
func TestRedZoneOfGuardedSlot(t *testing.T) {
	needsOSMemory(t)
	p := newStill[[4096]byte](t, WithGuardSampling(1))
	x := guarded(t, p)
	*(*byte)(unsafe.Add(unsafe.Pointer(x), 4096+100)) = 1
	requirePanic(t, ErrCorrupt, func() { p.Put(x) })
	assert.Zero(t, p.Stats().Live, "it was put")
	p.Put(guarded(t, p))
}

// A Get that finds no memory does not miss a slot that is leaving quarantine. Here the slot has left
// the queue before the Get searches, and becomes free after the Get has looked everywhere.
func TestQuarantineWhileGetSearches(t *testing.T) {
	oneP(t)
	quarantineFor(t, 1<<30)
	newArena(t)
	p := newStill[[400_000]byte](t)
	xs := simBatch(p, p.Stats().SlotsPerPage)
	p.Put(xs[0])
	before := system.Load()
	defer system.Store(before)
	refuse := *before
	commits := 0
	var leaving []quarantinedSlot
	refuse.commit = func([]byte) error {
		switch commits++; commits {
		case 1: // the Get wants a page
			leaving = p.core.watches.takeQuarantined()
		case 2: // it has searched, and tries once more
			assert.NoError(t, p.core.putQuarantined("Put", leaving))
		}
		return errors.New("injected fault")
	}
	system.Store(&refuse)
	x, err := p.TryGet()
	require.NoError(t, err)
	require.True(t, x == xs[0], "the slot that was put")
	assert.Len(t, leaving, 1)
	assert.Equal(t, 2, commits)
	p.PutBatch(xs)
}
