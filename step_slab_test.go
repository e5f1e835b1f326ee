//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug

package pool

import (
	"unsafe"

	"github.com/stretchr/testify/require"
)

// What the tests of sharded-slab try under loom (src/tests/loom_slab.rs and loom_pool.rs of
// hawkw/sharded-slab), tried with Refs in the place of keys. like_sharded_slab_test.go has the whole
// list, and tries the same on real processors.

// A tenancy is a slot in use and its Ref.
type tenancy struct {
	y  unsafe.Pointer
	id uint64
}

// refer makes the Ref of a slot, and derefs it.
func (r *stage) refer(y unsafe.Pointer) tenancy {
	id := r.ref(y)
	require.True(r.x.t, r.deref(id) == y)
	return tenancy{y, id}
}

// referAll gets n slots and makes their Refs.
func (r *stage) referAll(n int) (all []tenancy) {
	for _, y := range r.takeSome(n) {
		all = append(all, r.refer(y))
	}
	return all
}

// remove puts a slot by its Ref, which nobody else does.
func (r *stage) remove(at tenancy) {
	delete(r.out, at.y)
	require.True(r.x.t, r.core.putRef(at.id))
	require.Nil(r.x.t, r.deref(at.id))
	r.refs = append(r.refs, at.id)
}

// requireThere requires Refs to resolve.
func (r *stage) requireThere(all ...tenancy) {
	for _, at := range all {
		require.True(r.x.t, r.deref(at.id) == at.y)
	}
}

// race lets goroutines on two Ps put a slot by its Ref. One of them does it.
func (r *stage) race(p, q int) {
	at := r.referAll(1)[0]
	won := 0
	put := func() {
		if r.core.putRef(at.id) {
			won++
			delete(r.out, at.y)
		}
		r.refs = append(r.refs, at.id)
	}
	r.start(p, put)
	r.start(q, put)
	r.more = func() { require.Equal(r.x.t, 1, won) }
}

// await waits for another goroutine of the schedule.
func (x *explorer) await(ready func() bool) {
	for !ready() {
		x.wait(ready)
	}
}

// slabResets counts what racy_clear has reset.
var slabResets int

var slabPlots = []plot{
	{"slab take_local", 8192, options{}, 1, func(r *stage) {
		for p := range 2 {
			r.start(p, func() {
				r.remove(r.refer(r.take()))
				r.remove(r.refer(r.take()))
			})
		}
		r.start(2, func() {
			first, second := r.refer(r.take()), r.refer(r.take())
			r.remove(first)
			r.requireThere(second)
			r.remove(second)
		})
	}},
	{"slab take_remote", 8192, options{}, 2, func(r *stage) {
		all := r.referAll(3)
		r.start(1, func() { r.requireThere(all[1]); r.remove(all[1]) })
		r.start(2, func() { r.requireThere(all[2]); r.remove(all[2]) })
		r.more = func() { r.requireThere(all[0]) }
	}},
	{"slab racy_take", 8192, options{}, 3, func(r *stage) { r.race(1, 2) }},
	{"slab racy_take_local", 8192, options{}, 3, func(r *stage) { r.race(0, 1) }},
	{"slab racy_take, Go heap", 8192, options{goHeap: true}, 3, func(r *stage) { r.race(1, 2) }},
	{"slab racy_clear", 64, options{reset: slotFunc{f: func(unsafe.Pointer) { slabResets++; yieldPoint() }}}, 3, func(r *stage) {
		slabResets = 0
		r.race(0, 1)
		once := r.more
		r.more = func() {
			require.Equal(r.x.t, 1, slabResets)
			once()
		}
	}},
	{"slab concurrent_insert_take", 8192, options{}, 2, func(r *stage) {
		var next *tenancy
		r.start(0, func() {
			for range 2 {
				at := r.refer(r.take())
				next = &at
				r.x.await(func() bool { return next == nil })
				require.Nil(r.x.t, r.deref(at.id))
			}
		})
		r.start(1, func() {
			for range 2 {
				r.x.await(func() bool { return next != nil })
				r.remove(*next)
				next = nil
			}
		})
	}},
	{"slab take_remote_and_reuse", 8192, options{}, 2, func(r *stage) {
		all := r.referAll(int(geometryOf(8192).slots)) // the page is full
		var again tenancy
		r.start(0, func() { again = r.refer(r.take()) })
		r.start(1, func() { r.remove(all[0]) })
		r.more = func() { r.requireThere(append(all[1:], again)...) }
	}},
	{"slab concurrent_remove_remote_and_reuse", 64, options{maxSlots: 2}, 1, func(r *stage) {
		all := r.referAll(2)
		var again tenancy
		r.start(0, func() { again = r.refer(r.await()) })
		r.start(1, func() { r.remove(all[0]) })
		r.start(2, func() { r.remove(all[1]) })
		r.more = func() { r.requireThere(again) }
	}},
	{"slab remove_remote_during_insert", 64, options{maxSlots: 1}, 3, func(r *stage) {
		at := r.referAll(1)[0]
		var again tenancy
		isPut := false
		r.start(0, func() {
			r.remove(at)
			isPut = true
			again = r.refer(r.take()) // the same slot
		})
		r.start(1, func() {
			wasPut := isPut
			if y := r.deref(at.id); y != nil {
				require.False(r.x.t, wasPut, "a Ref resolves after the Put of its slot")
				require.True(r.x.t, y == at.y)
			}
		})
		r.more = func() {
			require.True(r.x.t, again.y == at.y)
			require.NotEqual(r.x.t, again.id, at.id)
			r.requireThere(again)
		}
	}},
	{"slab unique_iter", 8192, options{}, 2, func(r *stage) {
		var all []tenancy
		for p := range 2 {
			r.start(p, func() {
				for range 2 {
					all = append(all, r.refer(r.take()))
				}
			})
		}
		r.more = func() {
			var want, found []uint64
			for _, at := range all {
				want = append(want, at.id)
			}
			for _, pg := range r.allPages() {
				found = append(found, r.liveRefs(pg)...)
			}
			require.ElementsMatch(r.x.t, want, found)
		}
	}},
}
