package pool

import (
	"runtime"
	"slices"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// An operation of the model, and how many of the 256 opcodes mean it.
type operation struct {
	name   string
	weight int
	do     func(p *modelPool, s *shard, n int)
}

// operations is what an opcode can mean. The argument says on which pool, and on
// which shard, and how much or which: n, of 32.
var operations = []operation{
	{"get", 20, (*modelPool).opGet},
	{"getNoZero", 14, (*modelPool).opGetNoZero},
	{"tryGet", 14, (*modelPool).opTryGet},
	{"tryGetCore", 10, (*modelPool).opTryGetCore},
	{"getMany", 20, (*modelPool).opGetMany},
	{"getBatch", 12, (*modelPool).opGetBatch},
	{"getBatchCore", 6, (*modelPool).opGetBatchCore},
	{"put", 22, (*modelPool).opPut},
	{"putMany", 18, (*modelPool).opPutMany},
	{"putAllBut", 10, (*modelPool).opPutAllBut},
	{"putBatch", 10, (*modelPool).opPutBatch},

	{"ref", 8, (*modelPool).opRef},
	{"putRef", 8, (*modelPool).opPutRef},
	{"all", 4, (*modelPool).opAll},

	{"tick", 6, (*modelPool).opTick},
	{"tickAll", 8, (*modelPool).opTickAll},
	{"longIdle", 2, (*modelPool).opLongIdle},
	{"flush", 4, (*modelPool).opFlush},
	{"trim", 5, (*modelPool).opTrim},
	{"addShard", 2, (*modelPool).opAddShard},

	{"stallTick", 3, (*modelPool).opStallTick},
	{"stallPut", 4, (*modelPool).opStallPut},
	{"stallGet", 4, (*modelPool).opStallGet},
	{"settle", 3, (*modelPool).opSettle},

	{"doublePut", 5, (*modelPool).opDoublePut},
	{"putInside", 2, (*modelPool).opPutInside},
	{"putOther", 3, (*modelPool).opPutOther},
	{"putBadBatch", 4, (*modelPool).opPutBadBatch},
	{"refMisuse", 3, (*modelPool).opRefMisuse},

	{"close", 6, (*modelPool).opClose},
	{"processLimit", 6, (*modelPool).opProcessLimit},
	{"failCommit", 3, (*modelPool).opFailCommit},
	{"failPurge", 4, (*modelPool).opFailPurge},
	{"checkAll", 2, (*modelPool).opCheckAll},
	{"collectGarbage", 1, (*modelPool).opCollectGarbage},
}

// amount is how many slots n stands for.
func (p *modelPool) amount(n int) int {
	slots := p.slots()
	return []int{
		1, 2, 3, 4, 5, 7, 10, 13, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200,
		slots / 4, slots / 2, slots - 1, slots, slots + 1, slots + slots/2, 2 * slots, 2*slots + 1, 3 * slots, 4 * slots,
	}[n]
}

// which returns the place in live that n stands for: near the ends, or between.
func (p *modelPool) which(n int) int {
	if n < 8 {
		return n % len(p.live)
	}
	return (len(p.live) - 1) * (31 - n) / 23
}

func (p *modelPool) opGet(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n%3 + 1) {
			var x unsafe.Pointer
			if p.attempt(1, func() error { x = p.get(); return nil }) {
				p.gotZero(x)
			}
		}
	})
}

func (p *modelPool) opGetNoZero(s *shard, n int) { p.getMany(s, n%4+1) }

func (p *modelPool) opGetMany(s *shard, n int) { p.getMany(s, p.amount(n)) }

// getMany gets up to n slots, one by one.
func (p *modelPool) getMany(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n) {
			var x unsafe.Pointer
			if !p.attempt(1, func() error { x = p.getNoZero(); return nil }) {
				return
			}
			p.got(x)
		}
	})
}

func (p *modelPool) opTryGet(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(n%2 + 1) {
			var x unsafe.Pointer
			if p.attempt(1, func() (err error) { x, err = p.tryGet(); return err }) {
				p.gotZero(x)
			}
		}
	})
}

// opTryGetCore gets slots that, if known to be zero, have to be.
func (p *modelPool) opTryGetCore(s *shard, n int) {
	on(p.c, s, func() {
		for range p.room(p.amount(n % 9)) {
			var x unsafe.Pointer
			var isZero bool
			switch {
			case !p.attempt(1, func() (err error) { x, isZero, err = p.c.tryGet(); return err }):
			case isZero:
				p.gotZero(x)
			default:
				p.got(x)
			}
		}
	})
}

// opGetBatch gets a batch, or nothing.
func (p *modelPool) opGetBatch(s *shard, n int) {
	xs := make([]unsafe.Pointer, p.room(p.amount(n)))
	on(p.c, s, func() {
		if p.attempt(len(xs), func() error { p.getBatch(xs); return nil }) {
			for _, x := range xs {
				p.gotZero(x)
			}
			return
		}
		for _, x := range xs {
			require.Nil(p.t, x, "a batch is all or nothing")
		}
	})
}

func (p *modelPool) opGetBatchCore(s *shard, n int) {
	xs := make([]unsafe.Pointer, p.room(2*n+1))
	on(p.c, s, func() {
		var got int
		var zero uint64
		all := p.attempt(len(xs), func() (err error) { got, zero, err = p.c.getBatch(xs); return err })
		require.Equal(p.t, all, got == len(xs))
		for k, x := range xs[:got] {
			if zero>>k&1 != 0 {
				p.gotZero(x)
			} else {
				p.got(x)
			}
		}
	})
}

func (p *modelPool) opPut(s *shard, n int) {
	if len(p.live) > 0 {
		p.putMany(s, p.which(n), 1, 0)
	}
}

func (p *modelPool) opPutMany(s *shard, n int) {
	from := 0
	if n&1 != 0 {
		from = len(p.live)
	}
	n = p.budget(min(p.amount(n), len(p.live)))
	p.putMany(s, max(from-n, 0), n, n)
}

// opPutAllBut puts all slots but a few.
func (p *modelPool) opPutAllBut(s *shard, n int) {
	keep := min(len(p.live), []int{0, 0, 0, 0, 1, 2, 5, 20}[n%8])
	p.putMany(s, keep/2, len(p.live)-keep, n/8)
}

// putMany puts the n live slots from the one at k on, one by one, in an order.
func (p *modelPool) putMany(s *shard, k, n, order int) {
	xs := p.takeBack(k, n)
	on(p.c, s, func() {
		for i := range xs {
			switch order & 3 {
			case 1:
				i = n - 1 - i
			case 2: // every second, and then the others
				if i = 2 * i; i >= n {
					i -= n - 1 + n%2
					i |= 1
				}
			}
			p.api.put(xs[i])
		}
	})
}

func (p *modelPool) opPutBatch(s *shard, n int) {
	n = p.budget(min(p.amount(n), len(p.live)))
	xs := append(p.takeBack(len(p.live)-n, n), nil)
	on(p.c, s, func() { p.putBatch(xs) })
}

func (p *modelPool) opRef(s *shard, n int) {
	if len(p.live) > 0 {
		on(p.c, s, func() {
			for k := range min(n%8+1, len(p.live)) {
				p.makeRef((p.which(n) + k) % len(p.live))
			}
		})
	}
}

// opPutRef puts a slot by its Ref, which works once, and not in another pool.
func (p *modelPool) opPutRef(s *shard, n int) {
	if len(p.live) == 0 {
		return
	}
	k := p.which(n)
	on(p.c, s, func() {
		p.makeRef(k)
		id := p.live[k].ref
		for _, q := range p.pools {
			require.True(p.t, q == p || !q.putRef(id))
		}
		p.takeBack(k, 1)
		require.True(p.t, p.putRef(id))
		require.False(p.t, p.putRef(id))
	})
}

// opAll looks at all slots, and perhaps puts some of them in a second loop.
func (p *modelPool) opAll(s *shard, n int) {
	on(p.c, s, func() {
		places := make(map[unsafe.Pointer]int)
		for k, slot := range p.live {
			places[slot.x] = k
		}
		for id, x := range p.all() {
			k, ok := places[x]
			if !ok {
				p.t.Fatalf("All came to slot %p twice, or it is not live", x)
			}
			delete(places, x)
			p.noteRef(&p.live[k], id)
		}
		require.Empty(p.t, places, "live slots that All left out")
		if n&3 != 0 {
			return
		}
		left, i := len(p.live), 0
		for id, x := range p.all() {
			if left--; i < 40 && left%(n/4+1) == 0 {
				i++
				p.takeBack(slices.IndexFunc(p.live, func(s modelSlot) bool { return s.x == x }), 1)
				require.True(p.t, p.putRef(id))
			}
		}
		require.Zero(p.t, left)
	})
}

// opTick lets time pass for one shard.
func (p *modelPool) opTick(s *shard, n int) {
	for range []int{1, 1, 1, 2, 4, 8, 16, 17}[n&7] {
		s.tick(n>>3 == 0)
		p.c.settle(s.takeOutbox())
	}
}

// opTickAll lets time pass. A shard on which nothing is done meanwhile is idle.
func (p *modelPool) opTickAll(_ *shard, n int) { p.tickAll([]int{1, 1, 1, 2, 2, 3, 8, 17}[n%8]) }

func (p *modelPool) tickAll(n int) {
	for range n {
		p.c.tick()
	}
}

// opLongIdle lets so much time pass that of the empty pages only those of
// WithWarmPages are left.
func (p *modelPool) opLongIdle(*shard, int) {
	p.settle()
	before := p.empties()
	p.tickAll(2*windowSole + windowSeveral)
	require.Equal(p.t, min(before, p.c.warmPages), p.empties(), "empty pages")
}

func (p *modelPool) opFlush(s *shard, n int) {
	s.flush(uint32(n & 3))
	p.c.settle(s.takeOutbox())
}

// opTrim releases every empty page and gives its memory back to the OS.
func (p *modelPool) opTrim(_ *shard, n int) {
	if n&1 == 0 {
		p.settle()
	}
	purged, fired := p.c.depot.purged.Load(), p.fired
	bytes := p.c.trim()
	require.Equal(p.t, p.c.depot.purged.Load()-purged, bytes)
	if n&1 == 0 {
		require.Zero(p.t, p.empties())
	}
	if fired == p.fired {
		require.Zero(p.t, p.arena.total.held)
	}
}

func (p *modelPool) opAddShard(*shard, int) {
	if len(p.shards) < modelShardsMax {
		p.addShard()
	}
}

// opStallTick has a shard lose its processor when its tick has filled the outbox.
func (p *modelPool) opStallTick(s *shard, n int) {
	s.tick(n&1 == 0)
	p.outboxes = append(p.outboxes, s.takeOutbox())
}

// opStallPut puts slots on a shard that loses its processor before it does what
// that leaves to be done.
func (p *modelPool) opStallPut(s *shard, n int) {
	n = p.budget(min(p.amount(n), len(p.live)))
	xs := p.takeBack(len(p.live)-n, n)
	ok := true
	on(p.c, s, func() {
		s, err := p.c.enter("Put")
		require.NoError(p.t, err)
		for _, x := range xs {
			unwatch(uintptr(x))
			p.c.endRefs(uintptr(x))
			ok = s.putAt(uintptr(x)) == putDone && ok
		}
		out := s.takeOutbox()
		s.unpin()
		p.outboxes = append(p.outboxes, out)
	})
	require.True(p.t, ok)
}

// opStallGet takes a page, and loses the processor before it can attach it.
func (p *modelPool) opStallGet(*shard, int) {
	pg := p.c.depot.adopt()
	if pg == nil && !p.constrained() {
		var err error
		pg, err = p.c.depot.fresh()
		require.NoError(p.t, err)
	}
	if pg != nil {
		p.inHand = append(p.inHand, pg)
	}
}

func (p *modelPool) opSettle(s *shard, _ int) { on(p.c, s, p.settle) }

// misused is what a Put of x, which is no slot in use, panics with.
func (p *modelPool) misused(x unsafe.Pointer) error {
	pg := pageOf(uintptr(x))
	if _, ok := pg.indexOf(uintptr(x)); !ok || pg.spec != &p.c.spec {
		return ErrForeignPut
	}
	return ErrDoublePut
}

// opDoublePut puts a slot once more, at once, or some that were put long before.
func (p *modelPool) opDoublePut(s *shard, n int) {
	on(p.c, s, func() {
		var xs []unsafe.Pointer
		switch {
		case n&1 == 0 && len(p.live) > 0:
			xs = p.takeBack(p.which(n), 1)
			p.api.put(xs[0])
		default:
			from := n * len(p.put) / 32
			xs = p.put[from:min(from+5, len(p.put))]
		}
		for _, x := range xs {
			if !p.out[x] {
				p.refuses(p.misused(x), func() { p.api.put(x) })
			}
		}
	})
}

// opPutInside puts the address of no slot.
func (p *modelPool) opPutInside(s *shard, n int) {
	if len(p.live) > 0 {
		x := p.live[p.which(n)].x
		on(p.c, s, func() { p.refuses(ErrForeignPut, func() { p.api.put(unsafe.Add(x, 1+n%7)) }) })
	}
}

// other returns the other pool.
func (p *modelPool) other() *modelPool {
	if p.pools[0] == p {
		return p.pools[1]
	}
	return p.pools[0]
}

// opPutOther puts a slot to a pool that it is not of.
func (p *modelPool) opPutOther(s *shard, n int) {
	q := p.other()
	if len(q.live) == 0 {
		return
	}
	x := q.live[q.which(n)]
	on(p.c, s, func() {
		p.refuses(ErrForeignPut, func() { p.api.put(x.x) })
		p.refuses(ErrForeignPut, func() { p.putBatch([]unsafe.Pointer{x.x}) })
		p.refuses(ErrForeignPut, func() { p.ref(x.x) })
	})
	q.intact(x)
	q.checkRef(x)
}

// opPutBadBatch puts a batch in which a slot comes twice: those before that have
// been put then, and those after it have not.
func (p *modelPool) opPutBadBatch(s *shard, n int) {
	n = min(n+2, len(p.live)) / 2
	if n == 0 {
		return
	}
	xs := p.takeBack(len(p.live)-2*n, n)
	xs = append(xs, xs[0])
	for _, slot := range p.live[len(p.live)-n:] {
		xs = append(xs, slot.x)
	}
	on(p.c, s, func() { p.refuses(ErrDoublePut, func() { p.putBatch(xs) }) })
}

// opRefMisuse asks for Refs of slots that are not in use, and puts stale Refs.
func (p *modelPool) opRefMisuse(s *shard, n int) {
	on(p.c, s, func() {
		if len(p.put) > 0 {
			if x := p.put[n*len(p.put)/32]; !p.out[x] {
				p.refuses(p.misused(x), func() { p.ref(x) })
			}
		}
		if len(p.stale) > 0 {
			require.False(p.t, p.putRef(p.stale[n*len(p.stale)/32].id))
		}
		require.False(p.t, p.putRef(uint64(n)))
		require.False(p.t, p.putRef(1<<63|uint64(n)<<27))
	})
}

// opClose closes the pool if no slot is out, and has a new one take its place.
func (p *modelPool) opClose(_ *shard, n int) {
	if n&1 == 0 {
		p.settle()
	}
	err := p.c.close()
	if len(p.live) > 0 {
		require.ErrorIs(p.t, err, ErrInUse)
		p.checkAll()
		return
	}
	require.NoError(p.t, err)
	p.settle()
	require.Empty(p.t, p.c.depot.pages)
	require.Zero(p.t, p.c.stats().Live)
	require.ErrorIs(p.t, p.c.close(), ErrClosed)
	_, err = p.tryGet()
	require.ErrorIs(p.t, err, ErrClosed)
	for _, x := range p.put {
		p.refuses(ErrClosed, func() { p.api.put(x) })
	}
	q := p.newPool(byte(n<<2|len(p.put)&3), p.other().kind)
	for k := range p.pools {
		if p.pools[k] == p {
			p.pools[k] = q
		}
	}
	q.put = p.put
	p.checkStale(2 * len(p.stale))
}

// opProcessLimit sets a limit in the neighbourhood of what there is.
func (p *modelPool) opProcessLimit(_ *shard, n int) {
	m := ReadMemory()
	before := p.arena.limit
	limit := int64(0)
	if n&3 != 0 {
		granules := []int64{-64, -8, -2, 0, 1, 8, 9, 64}[n>>2]
		limit = max(m.InUse, 1)
		if n&3 == 3 {
			limit = max(m.Committed, 1)
		}
		limit = max(limit+granules*granuleSize, 1)
	}
	require.Equal(p.t, before, SetProcessLimit(limit))
	require.Equal(p.t, limit, SetProcessLimit(-1))
	if after := ReadMemory(); limit != 0 && after.Committed > limit {
		require.Zero(p.t, p.arena.total.waiting, "over the limit, and memory waits to be used again")
	}
}

func (p *modelPool) opFailCommit(_ *shard, n int) { p.faults["commit"] = n & 3 }

func (p *modelPool) opFailPurge(_ *shard, n int) {
	p.faults["purge"] = n & 7
	p.dirty = n&8 != 0
}

func (p *modelPool) opCheckAll(*shard, int) { p.checkAll() }

func (p *modelPool) opCollectGarbage(*shard, int) {
	if !p.collected {
		p.collected = true
		runtime.GC()
	}
}
