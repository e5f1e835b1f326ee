package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callsOf is every call of a Pool, with something to put.
func callsOf(p *Pool[quote]) map[string]func() error {
	none := func(f func()) func() error { return func() error { f(); return nil } }
	return map[string]func() error{
		"All": none(func() {
			for range p.All() {
				return
			}
		}),
		"Clear":          none(p.Clear),
		"Close":          p.Close,
		"CloseWhenEmpty": p.CloseWhenEmpty,
		"Deref":          none(func() { p.Deref(Ref[quote]{1 << 32}) }),
		"Get":            none(func() { p.Get() }),
		"GetBatch":       none(func() { p.GetBatch(make([]*quote, 2)) }),
		"GetContext":     func() error { _, err := p.GetContext(context.Background()); return err },
		"GetNoZero":      none(func() { p.GetNoZero() }),
		"GetRef":         none(func() { p.GetRef() }),
		"Live":           none(func() { p.Live() }),
		"Owns":           none(func() { p.Owns(&global) }),
		"Put":            none(func() { p.Put(&global) }),
		"PutBatch":       none(func() { p.PutBatch([]*quote{&global}) }),
		"PutRef":         none(func() { p.PutRef(Ref[quote]{1 << 32}) }),
		"PutRefs":        none(func() { p.PutRefs([]Ref[quote]{{1 << 32}}) }),
		"Ref":            none(func() { p.Ref(&global) }),
		"Stats":          none(func() { p.Stats() }),
		"Trim":           none(func() { p.Trim() }),
		"TryGet":         func() error { _, err := p.TryGet(); return err },
		"TryPut":         func() error { return p.TryPut(&global) },
	}
}

// The calls of a Pool that New did not make, and of a nil one, say so.
func TestZeroPool(t *testing.T) {
	calls := callsOf(new(Pool[quote]))
	methods := reflect.TypeFor[*Pool[quote]]()
	for i := range methods.NumMethod() {
		assert.Contains(t, calls, methods.Method(i).Name)
	}
	for name, call := range callsOf(nil) {
		assert.Equal(t, errNotNew, caught(call), "%s of a nil Pool", name)
	}
	for name, call := range calls {
		want := errNotNew
		if name == "Deref" {
			want = nil // no Ref is of this pool
		}
		assert.Equal(t, want, caught(call), "%s of a zero Pool", name)
	}
	runtime.Gosched()
}

// After Close, the calls that may fail say so.
func TestClosedPool(t *testing.T) {
	answers := map[string]bool{"Deref": true, "Live": true, "Owns": true, "PutRef": true, "PutRefs": true, "Stats": true}
	for name, call := range callsOf(closed()) {
		if answers[name] {
			assert.NoError(t, caught(call), name)
		} else {
			assert.ErrorIs(t, caught(call), ErrClosed, name)
		}
	}
}

// TryPut returns what Put panics with.
func TestTryPut(t *testing.T) {
	for name, opts := range map[string][]Option{"plain": nil, "reset": {WithReset(func(*quote) {})}, "heap": {WithGoHeap()}, "profile": {WithProfile(1)}, "guards": {WithGuardSampling(1)}} {
		t.Run(name, func(t *testing.T) {
			p, other := newStill[quote](t, opts...), newStill[quote](t)
			require.NoError(t, p.TryPut(nil))
			x, err := p.TryGet()
			require.NoError(t, err)
			require.NoError(t, p.TryPut(x))
			err = p.TryPut(x)
			require.ErrorIs(t, err, ErrDoublePut)
			require.ErrorContains(t, err, "TryPut(")
			y := other.Get()
			require.ErrorIs(t, p.TryPut(y), ErrForeignPut)
			require.ErrorIs(t, p.TryPut(&global), ErrForeignPut)
			require.Zero(t, p.Live())
			other.Put(y)
		})
	}
}

// A nil Option is an error that says which one it is.
func TestNilOption(t *testing.T) {
	assert.PanicsWithError(t, "pool (pool.quote): option 2 of 3 is nil; leave it out: options come from functions such as WithName", func() {
		New[quote](WithName("quotes"), nil, WithGoHeap())
	})
	assert.PanicsWithError(t, "bytes: option 1 of 1 is nil; leave it out: options come from functions such as WithName", func() { NewBytes(nil) })
}

// Owns answers for any pointer.
func TestOwns(t *testing.T) {
	for name, opts := range map[string][]Option{"plain": nil, "heap": {WithGoHeap()}, "guards": {WithGuardSampling(1)}} {
		t.Run(name, func(t *testing.T) {
			p, other := newStill[quote](t, opts...), newStill[quote](t)
			x, err := p.TryGet()
			require.NoError(t, err)
			y := other.Get()
			assert.True(t, p.Owns(x))
			assert.False(t, other.Owns(x))
			assert.False(t, p.Owns(y))
			assert.False(t, p.Owns(nil))
			assert.False(t, p.Owns(&global))
			assert.False(t, p.Owns(behind(x, 8)))
			var local quote
			assert.False(t, p.Owns(&local))
			assert.False(t, p.Owns(heapQuote))
			p.Put(x)
			if name != "guards" {
				assert.True(t, p.Owns(x), "it is a slot, in use or not")
			}
			p.Trim()
			assert.False(t, p.Owns(x))
			other.Put(y)
		})
	}
	p := New[quote]()
	x := p.Get()
	p.Put(x)
	require.NoError(t, p.Close())
	assert.False(t, p.Owns(x))
}

// What Owns asks has an answer for numbers that are no addresses.
func TestFindAnyNumber(t *testing.T) {
	p := newStill[quote](t)
	x := p.Get()
	at := uintptr(unsafe.Pointer(x))
	for shift := range 64 {
		for _, n := range []uintptr{1 << shift, ^uintptr(0) >> shift, at ^ 1<<shift} {
			if (n^at)&lowerBits >= granuleSize { // elsewhere than in the page
				_, _, ok := p.core.find(n)
				assert.False(t, ok, "%#x", n)
			}
		}
	}
	p.Put(x)
}

// A slot of a weak page of the Go heap is one as long as the program has it.
func TestOwnsInWeakPage(t *testing.T) {
	p := newStill[quote](t, WithGoHeap())
	xs := simBatch(p, 2*int(p.core.geo.slots))
	for range 3 {
		p.core.tick()
	}
	runtime.GC()
	for _, x := range xs {
		require.True(t, p.Owns(x))
	}
	p.PutBatch(xs)
}

// String has what is there, in short lines.
func TestStatsString(t *testing.T) {
	p := newStill[quote](t, WithName("quotes"), WithMaxSlots(3), WithLimit(1<<20))
	xs := fillUp(t, p)
	text := p.Stats().String()
	assert.Equal(t, int(p.core.geo.pageSize), p.Stats().PageBytes)
	for _, want := range []string{`pool "quotes" (pool.quote)`, "3 in use, 3 at most", "at most 1024 KiB", "gets:   4, 1 failed"} {
		assert.Contains(t, text, want)
	}
	p.PutBatch(xs)
	st := Stats{Name: strings.Repeat("n", 20), Type: "main.Order", Live: 1e9, MaxSlots: 2e9, Waiting: 1e4, Lost: 1e6, SlotSize: 64, MappedBytes: 1 << 40, Pages: 1e6, WarmPages: 1e6, LimitBytes: 1 << 40, Gets: 1e15, FailedGets: 1e6, SlowGets: 1e9, Waits: 1e9}
	for _, line := range strings.Split(st.String(), "\n") {
		assert.LessOrEqual(t, len(line), 80, line)
	}
}

// GetRef has got no slot if it panics.
func TestGetRef(t *testing.T) {
	p := newStill[quote](t, WithMaxSlots(2))
	r, x := p.GetRef()
	require.Equal(t, x, p.Deref(r))
	require.Equal(t, r, p.Ref(x))
	require.Zero(t, *x)
	_, y := p.GetRef()
	requirePanic(t, ErrLimit, func() { p.GetRef() })
	require.Equal(t, 2, p.Live())
	p.Put(x)
	require.Nil(t, p.Deref(r))
	p.Put(y)
}

// PutRefs puts what PutRef would, whatever is among them.
func TestPutRefs(t *testing.T) {
	for name, opts := range map[string][]Option{"plain": nil, "reset": {WithReset(func(*quote) {})}, "heap": {WithGoHeap()}, "profile": {WithProfile(100)}, "guards": {WithGuardSampling(3)}} {
		t.Run(name, func(t *testing.T) {
			p, other := newStill[quote](t, opts...), newStill[quote](t)
			var all []Ref[quote]
			for range 300 {
				x, err := p.TryGet()
				require.NoError(t, err)
				all = append(all, p.Ref(x))
			}
			foreign, y := other.GetRef()
			put := append([]Ref[quote]{{}, foreign, all[7], all[7]}, all[:200]...)
			require.True(t, p.PutRef(all[3])) // stale
			before := fmt.Sprint(put)
			require.Equal(t, 199, p.PutRefs(put))
			require.Equal(t, before, fmt.Sprint(put))
			require.Equal(t, 100, p.Live())
			require.Equal(t, 1, other.Live())
			require.Equal(t, 100, p.PutRefs(all))
			require.Zero(t, p.PutRefs(all))
			require.Zero(t, p.PutRefs(nil))
			require.NoError(t, p.core.checkInvariants())
			other.Put(y)
		})
	}
}

// Of several goroutines that put the same Refs, each slot is put by one.
func TestPutRefsOnce(t *testing.T) {
	p := New[quote]()
	for range times(50) {
		var all []Ref[quote]
		for range 500 {
			r, _ := p.GetRef()
			all = append(all, r)
		}
		var g group
		put := make([]int, 4)
		for k := range put {
			g.Go(func() { put[k] = p.PutRefs(all) })
		}
		g.Wait()
		require.Equal(t, len(all), put[0]+put[1]+put[2]+put[3])
		require.Zero(t, p.Live())
	}
	require.NoError(t, p.Close())
}

// A Ref is no JSON, and logs show it as text.
func TestRefIsNoJSON(t *testing.T) {
	p := newStill[quote](t)
	r, x := p.GetRef()
	_, err := json.Marshal(struct{ Next Ref[quote] }{r})
	require.ErrorContains(t, err, "write a key of its object instead")
	require.ErrorContains(t, json.Unmarshal([]byte(`{"Next": {}}`), &struct{ Next Ref[quote] }{}), "write a key of its object instead")
	require.Equal(t, r.String(), fmt.Sprint(r))
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("put", "ref", r)
	require.Contains(t, b.String(), r.String())
	p.Put(x)
}
