package pool

import (
	"bytes"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A bytesTenant is a Bytes, the slices that it should have in use, and a Buffer with memory of it.
type bytesTenant struct {
	f       *faults
	b       *Bytes
	live    [][]byte
	buf     *Buffer
	written []byte
}

func openBytes(f *faults, opts ...Option) *bytesTenant {
	b := NewBytes(opts...)
	u := &bytesTenant{f: f, b: b, buf: NewBuffer(b)}
	f.tenants = append(f.tenants, u)
	return u
}

// hold notes a slice that was handed out, and fills its ends.
func (u *bytesTenant) hold(s []byte) {
	lastID++
	s[0], s[len(s)-1] = byte(lastID), byte(lastID)
	u.live = append(u.live, s)
}

func (u *bytesTenant) check() {
	requireSound(u.f.t, u.b)
	inUse := len(u.live) + count(u.buf.Cap() != 0)
	require.Equal(u.f.t, inUse, u.b.Stats().Live)
	for _, s := range u.live {
		require.Equal(u.f.t, s[0], s[len(s)-1], "a slice in use has been overwritten")
	}
	require.True(u.f.t, bytes.Equal(u.written, u.buf.Bytes()), "a Buffer has lost what was written")
}

// want gets slices of these lengths, and has each moved to a larger slot.
func (u *bytesTenant) want(lengths ...int) {
	for _, n := range lengths {
		got := u.f.do(true, func() error {
			s, err := u.b.TryGet(n)
			if err == nil {
				u.hold(s)
			}
			return err
		})
		_ = u.f.do(true, func() error { u.hold(u.b.Get(n)); return nil })
		if got != nil {
			continue
		}
		last := len(u.live) - 1
		_ = u.f.do(true, func() error {
			u.live[last] = u.b.Grow(u.live[last], 2*n)
			return nil
		})
	}
}

// write writes to the Buffer, all or nothing.
func (u *bytesTenant) write(n int) {
	_ = u.f.do(true, func() error {
		p := bytes.Repeat([]byte{byte(n)}, n)
		_, err := u.buf.Write(p)
		u.written = append(u.written, p...)
		return err
	})
}

// put puts all slices except keep of them.
func (u *bytesTenant) put(keep int) {
	_ = u.f.do(false, func() error {
		for len(u.live) > keep {
			s := u.live[len(u.live)-1]
			u.live = u.live[:len(u.live)-1]
			u.b.Put(s)
		}
		return nil
	})
}

func (u *bytesTenant) trim() {
	_ = u.f.do(false, func() error { u.b.Trim(); return nil })
}

func (u *bytesTenant) end() {}

// finish requires the Bytes to work as if nothing had happened.
func (u *bytesTenant) finish() int64 {
	u.write(5000)
	u.put(0)
	u.want(10, 2000, 70_000)
	assert.Len(u.f.t, u.live, 6)
	u.check()
	u.put(0)
	u.buf.Free()
	u.written = nil
	u.trim()
	u.check()
	require.NoError(u.f.t, u.b.Close())
	return 0
}

// slotsScenario does what calls the system in a Bytes of each kind, and in pools with slots that have
// pages of their own.
func (f *faults) slotsScenario() {
	off := openBytes(f, WithOffHeap(), WithGuardSampling(2), WithLimit(24<<20))
	heap := openBytes(f)
	million := open[[1 << 20]byte](f, WithLimit(3<<20))
	for _, u := range []*bytesTenant{off, heap} {
		u.want(1, 100, 3000, 20_000)
		u.write(100)
		u.put(3)
		u.write(60_000)
		u.trim()
		u.want(300, 600_000)
	}
	million.want(4)
	million.put(1)
	million.trim()
	million.want(2)
	_ = f.do(false, func() error {
		million.p.Clear()
		million.live = nil
		return nil
	})
	million.want(2)
	million.close()
	if debugging { // it writes to all of the largest slots
		return
	}
	largest := open[[MaxSlotSize]byte](f)
	for range 2 {
		for range 2 {
			_ = f.do(false, func() error {
				x := largest.p.GetNoZero()
				largest.hold(false, x)
				return nil
			})
		}
		largest.put(0)
		largest.trim()
	}
	largest.close()
	off.put(0)
	f.check()
}

// The Nth call of the system fails in programs with slots of bytes, and with the largest slots.
func TestFaultsOfBytesAndLargeSlots(t *testing.T) {
	t.Parallel()
	needsOSMemory(t)
	if strconv.IntSize == 32 {
		t.Skip("there is no room for so many arenas")
	}
	if !inChild(t) {
		return
	}
	oneP(t)
	t.Cleanup(stopClock())
	total, outOfMemory := make(map[string]int), 0
	for _, count := range []int{1, 20, math.MaxInt} {
		step := 1 + min(count-1, 6)
		if testing.Short() {
			step *= 5
		}
		for first, done := 1, false; !done; first += step {
			f := newFaults(t)
			f.first, f.count = first, count
			awaitEmptyTable(t)
			newProcess()
			install(math.MaxInt, f.strike, f.failed)
			f.slotsScenario()
			done = len(f.struck) == 0
			f.heal()
			for call, n := range f.struck {
				total[call] += n
			}
			outOfMemory += f.errors[ErrOutOfMemory]
			f.tenants = nil // for awaitEmptyTable
			armed.mu.Lock()
			armed.pools = nil // the clock stands still, and they are closed
			armed.mu.Unlock()
		}
		t.Logf("up to %d from each call on: %v; operations out of memory %d", count, total, outOfMemory)
	}
	for _, call := range []string{"reserve", "commit", "purge", "protect"} {
		assert.Positive(t, total[call], call)
	}
	assert.Positive(t, outOfMemory)
}
