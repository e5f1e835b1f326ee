package pool_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// What the tests of sharded-slab try (src/tests and tests of hawkw/sharded-slab), tried with Refs in
// the place of keys: insert is GetRef, get is Deref, and take, remove and clear are PutRef. They
// run under loom, which tries all schedules. TestStepsInAnyOrder/slab... (step_slab_test.go) does
// that with those that have a race. Here, they run on real processors and in all builds.
//
//	take_local, take_remote              the same
//	racy_take, racy_take_local           racy_take
//	racy_clear                           the same
//	concurrent_insert_take               the same
//	take_remote_and_reuse                the same
//	concurrent_remove_remote_and_reuse   the same, at WithMaxSlots(2)
//	remove_local, remove_remote,
//	remove_remote_during_insert          remove_remote_during_insert
//	unique_iter                          the same
//	custom_page_sz                       the same
//	free_list_reuse::...                 free_list_reuse
//	dont_drop, clear_local_and_reuse     clear_local_and_reuse
//	custom_config.rs                     insert_remove, double_get
//	properties.rs                        properties
//	reserved_bits_leak.rs                reserved_bits_doesnt_leak
//	idx_roundtrips                       TestRefWrap; tid_roundtrips: a Ref has no thread
//	max_refs                             none: Refs are not counted
//	owned_entry..., ownedref...,
//	concurrent_create_with_clear         none: Deref keeps no slot from its Put (docs/patterns.md has objects
//	                                     with several holders)
//	vacant_entry..., create_mut_guard... none: a slot has its Ref from GetRef on, and no guard
func TestLikeShardedSlab(t *testing.T) {
	t.Run("take_local", likeTakeLocal)
	t.Run("take_remote", likeTakeRemote)
	t.Run("racy_take", func(t *testing.T) { likeRacyTake(t) })
	t.Run("racy_take/Go heap", func(t *testing.T) { likeRacyTake(t, pool.WithGoHeap()) })
	t.Run("racy_clear", likeRacyClear)
	t.Run("concurrent_insert_take", likeInsertTake)
	t.Run("take_remote_and_reuse", likeTakeAndReuse)
	t.Run("concurrent_remove_remote_and_reuse", likeRemoveAtBound)
	t.Run("remove_remote_during_insert", likeRemoveDuringInsert)
	t.Run("unique_iter", likeUniqueIter)
	t.Run("custom_page_sz", likeCustomPageSize)
	t.Run("free_list_reuse", likeFreeListReuse)
	t.Run("clear_local_and_reuse", likeClearAndReuse)
	for name, opts := range map[string][]pool.Option{
		"default": nil, "Go heap": {pool.WithGoHeap()}, "limit": {pool.WithLimit(1 << 20)}, "bound": {pool.WithMaxSlots(300)}, "aligned": {pool.WithAlign(256)},
	} {
		t.Run("insert_remove/"+name, func(t *testing.T) { likeInsertRemove(t, 0, opts...) })
		t.Run("double_get/"+name, func(t *testing.T) { likeInsertRemove(t, 2, opts...) })
		t.Run("properties/"+name, func(t *testing.T) { likeProperties(t, opts...) })
		t.Run("reserved_bits_doesnt_leak/"+name, func(t *testing.T) { likeReservedBits(t, opts...) })
	}
}

type entryRef = pool.Ref[int]

// A slab is a pool of numbers, each of which has a Ref.
type slab struct {
	t *testing.T
	*pool.Pool[int]
}

// newSlab makes a pool that ends with the test, and wants all its slots back then.
func newSlab(t *testing.T, opts ...pool.Option) slab {
	p := pool.New[int](opts...)
	t.Cleanup(func() {
		assert.Zero(t, p.Live())
		assert.NoError(t, p.Close())
	})
	return slab{t, p}
}

// insert gets a slot for value.
func (s slab) insert(value int) entryRef {
	r, x := s.GetRef()
	*x = value
	return r
}

// has wants a Ref to refer to value. Nobody puts the slot meanwhile.
func (s slab) has(r entryRef, value int) {
	if x := s.Deref(r); x == nil || *x != value {
		s.t.Errorf("%v does not refer to %d", r, value)
	}
}

// take puts the slot of a Ref. Nobody else does.
func (s slab) take(r entryRef, value int) {
	s.has(r, value)
	if !s.PutRef(r) {
		s.t.Errorf("%v of %d was put by somebody else", r, value)
	}
	s.isGone(r)
}

// isGone wants a Ref to refer to nothing.
func (s slab) isGone(r entryRef) {
	if s.Deref(r) != nil || s.PutRef(r) {
		s.t.Errorf("%v refers to something after the Put of its slot", r)
	}
}

// together runs functions at the same time, many times over. before prepares each time, and after looks at
// what has become of it.
func together(rounds int, before, after func(), fs ...func()) {
	if testing.Short() {
		rounds = max(rounds/10, 1)
	}
	for range rounds {
		before()
		var start, end sync.WaitGroup
		start.Add(1)
		for _, f := range fs {
			end.Add(1)
			go func() {
				defer end.Done()
				start.Wait()
				f()
			}()
		}
		start.Done()
		end.Wait()
		after()
	}
}

func likeTakeLocal(t *testing.T) {
	s := newSlab(t)
	oneByOne := func(first int) func() {
		return func() {
			s.take(s.insert(first), first)
			s.take(s.insert(first+1), first+1)
		}
	}
	both := func() {
		r5, r6 := s.insert(5), s.insert(6)
		s.take(r5, 5)
		s.has(r6, 6)
		s.take(r6, 6)
	}
	together(500, func() {}, func() {}, oneByOne(1), oneByOne(3), both)
}

func likeTakeRemote(t *testing.T) {
	s := newSlab(t)
	var r [3]entryRef
	before := func() {
		for k := range r {
			r[k] = s.insert(k)
		}
	}
	after := func() {
		s.take(r[0], 0)
		s.isGone(r[1])
		s.isGone(r[2])
	}
	together(500, before, after, func() { s.take(r[1], 1) }, func() { s.take(r[2], 2) })
}

// likeRacyTake: of several goroutines that put one Ref, one does it.
func likeRacyTake(t *testing.T, opts ...pool.Option) {
	s := newSlab(t, opts...)
	var r entryRef
	var won atomic.Int32
	put := func() {
		if s.PutRef(r) {
			won.Add(1)
		}
	}
	before := func() { r = s.insert(1); won.Store(0) }
	after := func() { require.EqualValues(t, 1, won.Load()); s.isGone(r) }
	together(500, before, after, put, put)
	together(500, before, after, put, put, put, put)
}

// likeRacyClear: it is reset once, too.
func likeRacyClear(t *testing.T) {
	var resets atomic.Int32
	s := newSlab(t, pool.WithReset(func(*int) { resets.Add(1) }))
	var r entryRef
	before := func() { r = s.insert(1); resets.Store(0) }
	after := func() { require.EqualValues(t, 1, resets.Load()); s.isGone(r) }
	put := func() { s.PutRef(r) }
	together(500, before, after, put, put)
}

// likeInsertTake: one goroutine gets and another one puts, in turn.
func likeInsertTake(t *testing.T) {
	s := newSlab(t)
	n := 2000
	if testing.Short() {
		n = 200
	}
	next, taken := make(chan entryRef), make(chan bool)
	go func() {
		for i := range n {
			s.take(<-next, i)
			taken <- true
		}
	}()
	for i := range n {
		r := s.insert(i)
		next <- r
		<-taken
		s.isGone(r)
	}
}

// likeTakeAndReuse: while another goroutine puts one of four slots, a fifth entry takes the place of
// none of the others.
func likeTakeAndReuse(t *testing.T) {
	s := newSlab(t)
	var r [5]entryRef
	before := func() {
		for k := range 4 {
			r[k] = s.insert(k)
		}
	}
	after := func() {
		s.isGone(r[0])
		for k := 1; k < 5; k++ {
			s.take(r[k], k)
		}
	}
	together(500, before, after, func() { s.take(r[0], 0) }, func() { r[4] = s.insert(4) })
}

// likeRemoveAtBound: in a full pool, one goroutine waits for a slot while two others put theirs.
func likeRemoveAtBound(t *testing.T) {
	s := newSlab(t, pool.WithMaxSlots(2))
	var r [3]entryRef
	wait := func() {
		x, err := s.GetContext(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		*x = 2
		r[2] = s.Ref(x)
	}
	before := func() { r[0], r[1] = s.insert(0), s.insert(1) }
	after := func() {
		s.isGone(r[0])
		s.isGone(r[1])
		s.take(r[2], 2)
	}
	together(100, before, after, func() { s.take(r[0], 0) }, func() { s.take(r[1], 1) }, wait)
}

// likeRemoveDuringInsert: a Ref refers to its own slot or to nothing, whoever has the slot next.
func likeRemoveDuringInsert(t *testing.T) {
	s := newSlab(t)
	var x *int
	var r, next entryRef
	var isPut atomic.Bool
	before := func() {
		r, x = s.GetRef()
		isPut.Store(false)
	}
	after := func() {
		s.isGone(r)
		s.take(next, 2)
	}
	replace := func() {
		s.PutRef(r)
		isPut.Store(true)
		next = s.insert(2)
	}
	look := func() {
		wasPut := isPut.Load()
		if y := s.Deref(r); y != nil && (y != x || wasPut) {
			t.Errorf("%v refers to another slot, or to one that was put", r)
		}
	}
	together(500, before, after, replace, look)
}

func likeUniqueIter(t *testing.T) {
	s := newSlab(t)
	insert := func(first int) func() {
		return func() { s.insert(first); s.insert(first + 1) }
	}
	after := func() {
		var values []int
		for r, x := range s.All() {
			values = append(values, *x)
			s.take(r, *x)
		}
		require.ElementsMatch(t, []int{1, 2, 3, 4}, values)
	}
	together(100, func() {}, after, insert(1), insert(3))
}

// likeCustomPageSize: Refs resolve, however many pages there are by then.
func likeCustomPageSize(t *testing.T) {
	p := pool.New[[1000]byte]() // 65 slots a page
	var refs []pool.Ref[[1000]byte]
	for i := range 1024 {
		r, x := p.GetRef()
		x[999] = byte(i)
		refs = append(refs, r)
	}
	require.Greater(t, p.Stats().Pages, 10)
	for i, r := range refs {
		require.Equal(t, byte(i), p.Deref(r)[999])
	}
	require.Equal(t, 1024, p.PutRefs(refs))
	require.NoError(t, p.Close())
}

// likeFreeListReuse: what was put is handed out before the pool takes more memory.
func likeFreeListReuse(t *testing.T) {
	p := pool.New[[1 << 20]byte]() // a page each
	r1, x1 := p.GetRef()
	r2, _ := p.GetRef()
	require.Equal(t, 2, p.Stats().Pages)
	require.True(t, p.PutRef(r2))
	r4, x4 := p.GetRef()
	require.Equal(t, 2, p.Stats().Pages)
	require.True(t, p.Deref(r2) == nil && p.Deref(r4) == x4 && p.Deref(r1) == x1)
	p.Put(x1)
	_, x5 := p.GetRef()
	require.Equal(t, 2, p.Stats().Pages)
	require.True(t, p.Deref(r1) == nil)
	p.Put(x4)
	p.Put(x5)
	require.NoError(t, p.Close())
}

// likeClearAndReuse: an object that is put and got again is the same one, and keeps its memory.
func likeClearAndReuse(t *testing.T) {
	type text struct{ b []byte }
	made := 0
	p := pool.New[text](
		pool.WithGoHeap(),
		pool.WithMaxSlots(1), // so that there is one object
		pool.WithInit(func(*text) { made++ }),
		pool.WithReset(func(x *text) { x.b = x.b[:0] }),
	)
	r, x := p.GetRef()
	x.b = append(x.b, "hello world"...)
	require.True(t, p.PutRef(r))
	again, x := p.GetRef()
	require.True(t, p.Deref(r) == nil && again != r)
	require.Empty(t, x.b)
	require.GreaterOrEqual(t, cap(x.b), len("hello world"))
	require.Equal(t, 1, made)
	p.Put(x)
	require.NoError(t, p.Close())
}

// likeInsertRemove: options of a pool change nothing in what Refs refer to.
func likeInsertRemove(t *testing.T, looks int, opts ...pool.Option) {
	s := newSlab(t, opts...)
	seen := make(map[entryRef]bool)
	for i := range 50 {
		r := s.insert(i)
		require.False(t, seen[r], "%v was given before", r)
		seen[r] = true
		for range looks {
			s.has(r, i)
		}
		s.take(r, i)
	}
	for r := range seen {
		s.isGone(r)
	}
}

// likeProperties compares a pool with a map, in random calls: a Ref refers to its own entry until
// that is removed, no two entries have the same one, and All finds what there is.
func likeProperties(t *testing.T, opts ...pool.Option) {
	s := newSlab(t, opts...)
	rng := rand.New(rand.NewPCG(1, 2))
	active := make(map[entryRef]int)
	var all []entryRef
	for value := range 1000 {
		switch op := rng.IntN(10); {
		case op < 3 && len(active) < 300:
			r := s.insert(value)
			_, isThere := active[r]
			require.False(t, isThere || r.IsZero())
			active[r] = value
			all = append(all, r)
		case len(all) == 0:
		default:
			r := all[rng.IntN(len(all))] // of an entry that is there, or that was
			value, isThere := active[r]
			x := s.Deref(r)
			require.Equal(t, isThere, x != nil)
			if isThere {
				require.Equal(t, value, *x)
				require.Equal(t, r, s.Ref(x))
				require.True(t, s.Owns(x))
			}
			if op < 5 {
				require.Equal(t, isThere, s.PutRef(r))
				delete(active, r)
			}
		}
	}
	require.NotEmpty(t, active)
	found := make(map[entryRef]int)
	for r, x := range s.All() {
		found[r] = *x
	}
	require.Equal(t, active, found)
	require.Equal(t, len(active), s.PutRefs(all))
}

// likeReservedBits: to get and put a slot over and over takes no more memory.
func likeReservedBits(t *testing.T, opts ...pool.Option) {
	p := pool.New[[4096]byte](opts...)
	for range 1000 {
		r, _ := p.GetRef()
		require.True(t, p.PutRef(r))
	}
	assert.LessOrEqual(t, p.Stats().MappedBytes, int64(1<<20), "for one slot at a time, and quarantine in the debug build")
	require.NoError(t, p.Close())
}
