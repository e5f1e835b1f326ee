package pool

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/warmpage/pool/internal/hook"
)

// A core is a pool without its type: the shards, the pages they share, and what
// is done between pin and unpin and after it.
type core struct {
	// Set once in init.
	geo         geometry
	size        uintptr // of an object; the slot's stride is at least that
	id          uint64  // in pools
	name        string
	typeName    string
	localChecks bool    // WithLocalChecks
	maxPages    int     // WithLimit; 0: no limit
	warmPages   int     // WithWarmPages
	sampler     sampler // WithProfile
	guardEvery  uint32  // WithGuardSampling; 0: no slot is guarded
	promotion   uint32  // hook.Reset, unless to measure what it does

	// shards has the shard of each P by its id, and absent for a P that has
	// none yet. Replaced as a whole under mu; any P reads.
	shards  atomic.Pointer[shardTable]
	hasRefs atomic.Bool // a Ref was made; never goes back
	absent  shard

	closed   atomic.Bool
	partials atomic.Int32 // len(partial), for who does not hold mu

	// mu is never wanted while pinned. Order of locks: heart.mu, mu, a shard's
	// mu, and then one of arena.mu, refs.mu, watches.mu.
	mu      mutex
	pages   []*page // all pages of the pool
	partial []partialPage

	coming int // pages on their way from the arena to c.pages

	headers []page // slab for pages to come

	// transit counts pages that no shard has and that are not on partial, but in the
	// hands of a goroutine that will attach, list or release them, and slots that
	// have left quarantine and are not put yet (lower half), and how often one came
	// there (upper half). See scrape.
	transit atomic.Uint64

	releases uint64 // by releasePartial; under mu
	seenGets uint64 // by stats, so that it does not go down; under mu

	guards guards // under mu

	purged     atomic.Int64  // bytes, counted by the arena
	failedGets atomic.Uint64 // Gets that got no slot; any P

	heart   heart
	watches watches
}

// A partialPage is a page that a shard has given up while it had free slots.
type partialPage struct {
	*page
	empty   bool   // it has no slot in use, and none will come into use before it is claimed
	expires uint32 // for an empty page: heart.tick at which it is released
}

// init makes c the core of a pool for objects of size bytes.
func (c *core) init(size uintptr, typeName string, o options) {
	initPin()
	arenaInit.Do(initArena)
	c.geo = geometryOf(size + redZone)
	c.size = size
	c.typeName = typeName
	c.name = o.name
	c.localChecks = o.localChecks
	c.warmPages = o.warmPages
	switch pages := o.limit / int64(c.geo.pageSize); {
	case o.limit < 0 || o.limit > 0 && pages == 0:
		panic(fmt.Errorf("%s: WithLimit(%d): a page of this pool takes %d bytes; give it that at least, or 0 for no limit", c, o.limit, c.geo.pageSize))
	case o.warmPages < 0:
		panic(fmt.Errorf("%s: WithWarmPages(%d): give a number of pages, 0 for none", c, o.warmPages))
	case o.profileRate < 0:
		panic(fmt.Errorf("%s: WithProfile(%d): give bytes a sample, DefaultProfileRate for instance, or 0 for no profile", c, o.profileRate))
	case o.guardEvery < 0 || o.guardEvery > math.MaxInt32:
		panic(fmt.Errorf("%s: WithGuardSampling(%d): give how many slow Gets there are for one that is guarded, at most %d, or 0 for none", c, o.guardEvery, math.MaxInt32))
	default:
		c.maxPages = int(min(pages, math.MaxInt))
	}
	c.sampler = samplerOf(o.profileRate, c.geo.stride)
	if offHeap {
		c.guardEvery = uint32(o.guardEvery)
	}
	c.promotion = hook.Promotion.Load()
	c.absent.cur = noPage
	c.absent.signal.Store(signalAbsent)
	c.heart.timer = time.AfterFunc(time.Hour, c.beat)
	c.heart.timer.Stop()
	n := runtime.GOMAXPROCS(0)
	shards := make([]*shard, n)
	for i := range shards {
		if pinned {
			shards[i] = &c.absent // until its P first calls
		} else {
			shards[i] = newShard(c, i)
		}
	}
	c.shards.Store(&shardTable{shards: shards, absent: &c.absent})
	if o.profileRate != 0 {
		o.startProfile()
	}
	register(c)
}

// requireNew panics if c is that of a Pool that New did not make, or of a copy of one.
// The calls that have no time to ask come here when a page is wanted, or a shard.
func (c *core) requireNew() {
	switch t := c.shards.Load(); {
	case t == nil:
		panic(errNotNew)
	case t.absent != &c.absent:
		panic(errCopied)
	}
}

// pin gets a shard to the caller alone until unpin, provided that its signal is
// then found to be 0; else heed comes first.
func (c *core) pin() *shard {
	t := c.shards.Load()
	if t == nil {
		panic(errNotNew)
	}
	return t.pin(procPin())
}

// get hands out a slot. It panics if there is none to be had.
//
// The fast paths, here and in put, are written for few instructions and calls:
// these, rather than misses or mispredictions, are what a pair of them costs.
//
//go:nosplit
func (c *core) get() unsafe.Pointer {
	if watchAll {
		return c.mustGetSlow(c.pin())
	}
	t := c.shards.Load()
	if t == nil {
		panic(errNotNew)
	}
	s := t.pin(procPin())
	if s.signal.Load() == 0 && s.sampleIn > 1 {
		s.sampleIn--
		if s.parked != 0 {
			if x := s.unpark(); x != nil {
				s.unpin()
				return x
			}
			s.sampleIn++
			return c.mustGetSlow(s)
		}
		pg := s.cur
		if x := pg.popBump(); x != nil {
			s.unpin()
			return x
		}
		if pg.free >= pg.reserved && pg.localFree != none && !pg.retired {
			s.counts.slowGets++
			pg.useLocal()
		}
		if x := pg.popFree(); x != nil {
			s.unpin()
			return x
		}
		s.sampleIn++
	}
	return c.mustGetSlow(s)
}

// mustGetSlow is getSlow with a panic instead of an error.
func (c *core) mustGetSlow(s *shard) unsafe.Pointer {
	x, _, err := c.getSlow(s)
	if err != nil {
		panic(err)
	}
	return x
}

// tryGet is get with an error instead of a panic. It also tells whether the slot
// is known to be zero.
func (c *core) tryGet() (x unsafe.Pointer, isZero bool, err error) {
	return c.getSlow(c.pin())
}

// getSlow is get from the point where s, just pinned, cannot serve it in a few
// instructions.
func (c *core) getSlow(s *shard) (x unsafe.Pointer, isZero bool, err error) {
	if s = c.heed(s); s == nil {
		return nil, false, c.errClosed("Get")
	}
	sampled := s.count(1) != 0
	if c.guardEvery != 0 && s.guardDue() {
		c.leave(s)
		if x = c.getGuarded(); x != nil {
			c.gotWatched("Get", x, sampled)
			return x, false, nil
		}
		if s = c.heed(c.repin(s)); s == nil {
			return nil, false, c.errClosed("Get")
		}
	}
	for {
		if x, isZero = s.get(); x != nil {
			watch := sampled || watchAll
			if watch {
				s.watch(x)
			}
			c.leave(s)
			if watch {
				c.gotWatched("Get", x, sampled)
			}
			return x, isZero, nil
		}
		if s, err = c.supply(s); err != nil {
			c.failedGets.Add(1)
			return nil, false, err
		}
	}
}

// supply gets a page for s, which has none to serve a Get from, and returns with
// the shard that it was attached to, pinned. The caller tries again there.
func (c *core) supply(s *shard) (*shard, error) {
	partials := c.partials.Load() != 0
	c.leave(s)
	c.requireNew()
	pg := c.adopt()
	if pg == nil && partials {
		// They were gone, but s may have passed over a retired page for them.
		if s = c.heed(c.repin(s)); s == nil {
			return nil, c.errClosed("Get")
		}
		s.counts.slowGets++
		return s, nil
	}
	if pg == nil {
		var err error
		if pg, err = c.fresh(); err != nil && !errors.Is(err, ErrClosed) {
			pg, err = c.scrape(err)
		}
		if err != nil {
			return nil, err
		}
	}
	if s = c.heed(c.repin(s)); s == nil {
		return nil, c.errClosed("Get") // Close has released pg with the others
	}
	s.attach(pg)
	return s, nil
}

// put takes back the slot at addr.
//
//go:nosplit
func (c *core) put(addr uintptr) {
	t := c.shards.Load()
	if t == nil {
		panic(errNotNew)
	}
	s := t.pin(procPin())
	if s.signal.Load() == 0 {
		if c.hasRefs.Load() {
			c.outdate(addr)
		}
		if s.repark(addr) {
			s.unpin()
			return
		}
		if s.parked == 0 {
			// putElsewhere and park, for the empty lot.
			pg := pageOfMain(addr)
			if i, ok := pg.indexOf(addr); ok && pg.core == c && s.parkArmed {
				word := pg.link(i)
				foreign := pg.owner.Load() != s.id
				if foreign && s.unmarked != 0 && pg.mayBeTaken(i) {
					s.lot[0] = parkedSlot{pg.slot(i), nil}
					s.parked = 1
					s.unpin()
					return
				}
				if *word == taken && (foreign || pg.used != 1 || pg.localFree == none) {
					*word = parking
					s.lot[0] = parkedSlot{pg.slot(i), word}
					s.parked = 1
					s.unpin()
					return
				}
			}
			c.putElsewhere(s, addr)
			return
		}
		pg := s.last
		if i, ok := pg.indexOf(addr); ok && pg.owner.Load() == s.id && pg.push(i) {
			if pg.used <= 1 {
				c.putLast(s, pg)
				return
			}
			s.unpin()
			return
		}
	}
	c.putElsewhere(s, addr)
}

// putElsewhere is put on s, just pinned, for a slot that is to be parked or that
// is not of the page of the one before.
//
//go:nosplit
func (c *core) putElsewhere(s *shard, addr uintptr) {
	pg := pageOfMain(addr)
	i, ok := pg.indexOf(addr)
	if pg.core == c && ok && s.signal.Load() == 0 {
		switch {
		case s.parks(pg):
			if s.parkArmed && s.hasRoom(pg) && s.park(pg, i) {
				s.unpin()
				return
			}
		case pg.push(i):
			s.last = pg
			if pg.used <= 1 {
				c.putLast(s, pg)
				return
			}
			s.unpin()
			return
		}
	}
	c.putSlow(s, addr)
}

// putLast is the end of a put that left at most one slot of its page in use.
func (c *core) putLast(s *shard, pg *page) {
	s.drained(pg)
	c.leave(s)
}

// putSlow is put from the point where s, just pinned, cannot take the slot in a
// few instructions.
func (c *core) putSlow(s *shard, addr uintptr) {
	if s = c.heed(s); s == nil {
		panic(c.errClosed("Put"))
	}
	if c.hasRefs.Load() {
		c.outdate(addr)
	}
	then := c.putOn(s, addr)
	c.leave(s)
	c.then("Put", addr, then)
}

// then does what putOn has left to be done, and panics with what it returns.
func (c *core) then(op string, addr uintptr, do func(*core, string, uintptr) error) {
	if do != nil {
		if err := do(c, op, addr); err != nil {
			panic(err)
		}
	}
}

// putOn takes back the slot at addr on s. If it cannot, it returns what does the
// rest, or makes the error, for the caller to call when it has unpinned.
func (c *core) putOn(s *shard, addr uintptr) func(*core, string, uintptr) error {
	pg := pageOf(addr)
	i, ok := pg.indexOf(addr)
	switch {
	case pg.core != c || !ok:
		return (*core).errPut
	case *pg.link(i) == watched:
		*pg.link(i) = kept // so that another Put of it does not come here
		return (*core).putWatched
	case !s.put(pg, i):
		return (*core).errDoublePut
	}
	return nil
}

// batchSize is how many slots the batch calls move in one pin, so that a long
// batch does not keep its P from the scheduler.
const batchSize = 64

// getBatch fills dst, of at most batchSize, and returns how many slots it got;
// bit k of zero says that dst[k] is known to be zero.
func (c *core) getBatch(dst []unsafe.Pointer) (n int, zero uint64, err error) {
	s := c.heed(c.pin())
	if s == nil {
		return 0, 0, c.errClosed("GetBatch")
	}
	sampled := s.count(uint32(len(dst)))
	for {
		from := n
		got, isZero := s.getMany(dst[n:])
		zero |= isZero << n
		n += got
		if sampled != 0 || watchAll {
			c.leaveWatched(s, dst[from:n], sampled>>from)
			if n == len(dst) {
				return n, zero, nil
			}
			if s = c.heed(c.repin(s)); s == nil {
				return n, zero, c.errClosed("GetBatch")
			}
		}
		if n == len(dst) {
			c.leave(s)
			return n, zero, nil
		}
		if s, err = c.supply(s); err != nil {
			c.failedGets.Add(uint64(len(dst) - n))
			return n, zero, err
		}
	}
}

// putBatch takes back the slots at xs, at most batchSize. On misuse it panics
// when those before the misused one have been taken back.
func (c *core) putBatch(xs []unsafe.Pointer) {
	s := c.heed(c.pin())
	if s == nil {
		panic(c.errClosed("PutBatch"))
	}
	hasRefs := c.hasRefs.Load()
	pg := noPage // of the slot before, if s owns it
	for _, x := range xs {
		if x == nil {
			continue
		}
		if hasRefs {
			c.outdate(uintptr(x))
		}
		if i, ok := pg.indexOf(uintptr(x)); ok && pg.push(i) {
			if pg.used <= 1 {
				s.drained(pg)
				pg = noPage
			}
			continue
		}
		if then := c.putOn(s, uintptr(x)); then != nil {
			c.leave(s)
			c.then("PutBatch", uintptr(x), then)
			if s = c.heed(c.pin()); s == nil {
				panic(c.errClosed("PutBatch"))
			}
			pg = noPage
			continue
		}
		if pg = pageOfMain(uintptr(x)); pg.owner.Load() != s.id || pg.core != c {
			pg = noPage
		}
	}
	c.leave(s)
}

// heed takes a shard as pin returned it and deals with its signal. It returns
// the shard to go on with, pinned and with nothing signalled, or nil if the pool
// is closed.
func (c *core) heed(s *shard) *shard {
	for ; ; s = c.pin() {
		sig := s.signal.Load()
		if sig&signalFence != 0 {
			s.fence()
			sig = s.signal.Load() &^ signalFence
		}
		switch {
		case sig == 0:
			return s
		case sig&signalClosed != 0:
			s.unpin()
			return nil
		case sig&signalAbsent != 0:
			s.unpin()
			c.grow()
		case sig&signalSeized != 0:
			s.unpin()
			s.waitTurn()
		default:
			s.signal.And(^uint32(signalTick | signalForget))
			s.forget()
			if sig&signalTick != 0 {
				s.heartbeat(false)
			}
			c.leave(s)
		}
	}
}

// leave unpins and does what was left to be done then.
func (c *core) leave(s *shard) {
	c.debugCheck(s)
	if !s.chores.any() {
		s.unpin()
		return
	}
	ch := s.takeChores()
	s.unpin()
	yieldPoint()
	s.core.do(ch) // c may be a copy, which is found out later
}

// do carries out chores. Never called pinned.
func (c *core) do(ch chores) {
	if ch.abandon != nil {
		c.list(ch.abandon)
	}
	if ch.release != nil {
		c.release(ch.release)
	}
	if ch.arm {
		c.arm()
	}
}

// present returns the shards there are.
func (c *core) present() []*shard {
	var present []*shard
	for _, s := range c.shards.Load().shards {
		if s != &c.absent {
			present = append(present, s)
		}
	}
	return present
}

// fresh makes a page of new memory, which the caller owns.
func (c *core) fresh() (*page, error) {
	c.mu.Lock()
	if c.atLimit() {
		c.mu.Unlock()
		return nil, fmt.Errorf("%s: %w: no slot is free, and WithLimit allows no more than %d KiB; Put slots, or raise the limit", c, ErrLimit, int64(c.maxPages)*int64(c.geo.pageSize)>>10)
	}
	header := newHeader(&c.headers, len(c.pages))
	c.coming++
	c.transit.Add(enterTransit)
	c.mu.Unlock()

	mem, err := theArena.alloc(c.geo.granules())
	var pg *page
	if err == nil {
		pg = newPage(c, header, mem)
		pg.owner.Store(inLimbo)
	}

	yieldPoint()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming--
	if err != nil {
		c.transit.Add(undoTransit)
		return nil, fmt.Errorf("%s: no page of %d KiB to be had: %w", c, c.geo.pageSize>>10, err)
	}
	if c.closed.Load() {
		theArena.release(mem, &c.purged)
		return nil, c.errClosed("Get")
	}
	pg.index = uint32(len(c.pages))
	c.pages = append(c.pages, pg)
	mem.publish(pg)
	return pg, nil
}

// atLimit reports whether WithLimit allows no further page. mu is held.
func (c *core) atLimit() bool {
	return c.maxPages != 0 && len(c.pages)+len(c.guards.all)+c.coming >= c.maxPages
}

// release gives empty pages, linked by next, to the arena. Whoever takes a page
// off c.pages has its memory: Close may have been first.
func (c *core) release(pages *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pg := pages; pg != nil; pg = pg.next {
		if !c.closed.Load() {
			pg.owner.Store(inLimbo)
			c.drop(pg)
		}
		c.transit.Add(leaveTransit)
	}
}

// drop takes pg off c.pages and gives its memory to the arena. mu is held, and
// the page in nobody's hands. One of which a slot is out all the same, because of
// a misuse that went unnoticed, is lost: nobody else may get its memory, and
// Close will say that slots are in use.
func (c *core) drop(pg *page) {
	if !pg.clean() {
		pg.used = remoteCount(pg.remote.Load()) + 1
		return
	}
	last := c.pages[len(c.pages)-1]
	c.pages[pg.index] = last
	last.index = pg.index
	c.pages[len(c.pages)-1] = nil
	c.pages = c.pages[:len(c.pages)-1]
	pg.dropRefs()
	c.forgetWatched(pg)
	for _, s := range c.shards.Load().shards {
		if s.signal.Load()&signalForget == 0 {
			s.signal.Or(signalForget)
		}
	}
	theArena.release(pg.mem, &c.purged)
}

// What is added to core.transit.
const (
	enterTransit = 1<<32 + 1
	leaveTransit = 1<<64 - 1
	undoTransit  = 1<<64 - enterTransit
	// passTransit is for a page found on partial that a Put has claimed since: a scrape that did not
	// find it with a shard yet, and finds it on partial no more, has to look again.
	passTransit = 1 << 32
)

// scrape finds a page for a pool that gets no more memory, which is what failed
// says: one with free slots that any P has. Pages that are in nobody's hands just
// now are waited for, so that it fails only if no slot is free, or if one has
// been on its way for some 20 ms.
func (c *core) scrape(failed error) (*page, error) {
	for rounds := range 1000 {
		c.releaseKept("Get")
		before, shards := c.transit.Load(), c.shards.Load()
		if pg := c.reclaim(); pg != nil {
			return pg, nil
		}
		// Empty pages may have been released instead.
		if pg, err := c.fresh(); err == nil || errors.Is(err, ErrClosed) {
			return pg, err
		}
		// kept is read first: a slot that was in quarantine during the search and has left it
		// since has changed transit.
		if uint32(before) == 0 && c.kept() == 0 && c.transit.Load() == before && c.shards.Load() == shards {
			break
		}
		pause(rounds)
	}
	return nil, failed
}

// reclaim takes every free slot away from where it is, for a pool that gets no
// more memory, and returns a page that has one, claimed, or nil if there is none
// in the pool.
func (c *core) reclaim() *page {
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	if c.closed.Load() {
		return nil
	}
	shards := c.present()
	seize(shards)
	for _, s := range shards {
		s.flush(0)
	}
	all := make([]chores, len(shards))
	for i, s := range shards {
		s.surrender()
		all[i] = s.takeChores()
	}
	yield(shards)
	c.mu.Lock()
	c.releaseGuards()
	for i := range all {
		c.listLocked(all[i].abandon)
		all[i].abandon = nil
	}
	pg := c.adoptLocked() // before others can
	c.mu.Unlock()
	for _, ch := range all {
		c.do(ch)
	}
	return pg
}

// list puts pages that a shard has given up, linked by next, on c.partial.
func (c *core) list(pages *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listLocked(pages)
}

// listLocked is list with mu held.
func (c *core) listLocked(pages *page) {
	if c.closed.Load() {
		return // Close has released them with the others
	}
	for pg := pages; pg != nil; {
		next := pg.next
		pg.next = nil
		if pg.listed == 0 {
			c.partial = append(c.partial, partialPage{})
			pg.listed = uint32(len(c.partial))
		}
		c.partial[pg.listed-1] = partialPage{pg, pg.used == 0, c.heart.tick + windowSeveral}
		pg.abandon()
		yieldPoint()
		c.transit.Add(leaveTransit)
		pg = next
	}
	c.partials.Store(int32(len(c.partial)))
}

// adopt claims a page that another shard has left partly free, or returns nil.
func (c *core) adopt() *page {
	if c.partials.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.adoptLocked()
}

// adoptLocked is adopt with mu held.
func (c *core) adoptLocked() *page {
	defer func() { c.partials.Store(int32(len(c.partial))) }()
	for n := len(c.partial) - 1; n >= 0; n-- {
		pg := c.partial[n].page
		c.partial[n].page = nil
		c.partial = c.partial[:n]
		pg.listed = 0
		// A page that was claimed since, by a shard that sent a slot home, is no
		// longer to be had.
		if !c.closed.Load() && pg.claim() {
			yieldPoint()
			pg.owner.Store(inLimbo)
			c.transit.Add(enterTransit)
			return pg
		}
		c.transit.Add(passTransit)
	}
	return nil
}

// trim collects, releases and purges, and returns the bytes that went back to
// the OS.
func (c *core) trim() int64 {
	c.requireNew()
	c.releaseKept("Trim")
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	if c.closed.Load() {
		panic(c.errClosed("Trim"))
	}
	c.mu.Lock()
	c.releaseGuards()
	c.mu.Unlock()
	shards := c.present()
	seize(shards)
	for _, s := range shards {
		s.flush(0)
	}
	all := make([]chores, len(shards))
	for i, s := range shards {
		s.releaseEmpty()
		all[i] = s.takeChores()
	}
	yield(shards)
	for _, ch := range all {
		c.do(ch)
	}
	c.releasePartial(true)
	return theArena.purgeFrom(&c.purged)
}

// releasePartial releases the empty pages of c.partial that have expired, but for
// those of WithWarmPages, or all, and those whose last slots came home when
// nobody owned them. It reports whether pages remain that will expire.
func (c *core) releasePartial(all bool) (waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	surplus := -c.warmPages
	for _, pg := range c.partial {
		if pg.empty {
			surplus++
		}
	}
	if all {
		surplus = len(c.partial)
	}
	kept := c.partial[:0]
	for _, pg := range c.partial { // oldest first
		w := pg.remote.Load()
		expired := pg.empty && surplus > 0 && (all || int32(pg.expires-c.heart.tick) <= 0)
		switch {
		case w&remoteOwned != 0: // claimed since by a shard
			pg.listed = 0
			c.transit.Add(passTransit)
			continue
		case (expired || remoteCount(w) != 0) && pg.claim():
			if pg.collect(); pg.used == 0 && !pg.empty {
				pg.empty = true
				surplus++
			}
			if pg.used == 0 && surplus > 0 {
				c.releases++
				surplus--
				c.drop(pg.page)
				continue
			}
			pg.abandon()
		}
		kept = append(kept, pg)
		pg.listed = uint32(len(kept))
		waiting = waiting || pg.empty && surplus > 0
	}
	clear(c.partial[len(kept):])
	c.partial = kept
	c.partials.Store(int32(len(c.partial)))
	return waiting
}

// close ends the pool, if no slot is out.
func (c *core) close() error {
	c.requireNew()
	c.releaseKept("Close")
	c.heart.mu.Lock()
	defer c.heart.mu.Unlock()
	if c.closed.Load() {
		return c.errClosed("Close")
	}
	c.mu.Lock()
	shards := c.present() // no other can be made: grow wants mu
	seize(shards)
	var left []chores
	for _, s := range shards {
		s.flush(0)
		left = append(left, s.takeChores())
	}
	err := c.checkUnused()
	if err == nil {
		c.finish(shards)
		unregister(c.id)
	}
	yield(shards)
	c.mu.Unlock()
	for _, ch := range left {
		c.do(ch) // nothing, if the pool is closed now
	}
	return err
}

// checkUnused reports whether a slot is out. mu is held, and no slot parked.
func (c *core) checkUnused() error {
	live := c.live()
	for _, pg := range c.pages {
		if live == 0 && !pg.clean() {
			live++ // uncounted, by a misuse that went unnoticed
		}
	}
	if live == 0 {
		return nil
	}
	return fmt.Errorf("%s: Close: %w: %d of its slots have not been Put%s", c, ErrInUse, live, c.someLeaks())
}

// finish releases everything. mu is held, and shards are all there are, seized.
func (c *core) finish(shards []*shard) {
	c.closed.Store(true)
	c.heart.timer.Stop()
	c.absent.signal.Or(signalClosed)
	for _, s := range shards {
		s.signal.Or(signalClosed)
		s.cur, s.last = noPage, noPage
		s.queue = pageQueue{}
		s.retired = pageQueue{}
	}
	for _, pg := range c.pages {
		pg.dropRefs()
		c.forgetWatched(pg)
		theArena.release(pg.mem, &c.purged)
	}
	c.pages = nil
	c.releaseGuards()
	c.partial = nil
	c.partials.Store(0)
}

// live returns the number of slots handed out and not put back. mu is held, and
// the count is exact if nobody uses the shards.
func (c *core) live() int {
	n := 0
	for _, pg := range c.pages {
		n += int(pg.used) - int(remoteCount(pg.remote.Load()))
	}
	for _, s := range c.present() {
		n -= int(s.parked)
	}
	return n - c.kept() + len(c.guards.all) - len(c.guards.idle)
}
