package pool

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A core is a pool without its type. It has a shard for each P, and the depot with the pages that
// no shard has, and it does what needs more than one of them, or what needs to block. A Get and a
// Put from beginning to end are in get.go and put.go.
//
// The storeys below it do not know it: Pool[T] -> core -> shard, depot -> page -> sizeclass, and
// depot -> arena -> os.
type core struct {
	*spec    // set once in init
	contents // set once in New

	// shards is replaced as a whole under stopMu. Any P reads it.
	shards  atomic.Pointer[shardTable]
	fast    fastTable   // shards for the fast paths, or nothing if they are off
	hasRefs atomic.Bool // a Ref was made; never goes back
	absent  shard       // stands in shards for the shard of a P that has none yet

	// What the core of a class needs of the other classes of a Bytes (bytes.go). Nil in a pool; set
	// once, before init.
	takeFromKin  func(*core) bool                   // has them release pages
	putElsewhere func(string, unsafe.Pointer) error // takes back what is no slot of this class

	failedGets atomic.Uint64 // Gets that got no slot; any goroutine

	stopMu   mutex  // held by whoever stops shards; see depot.mu for the order of locks
	seenGets uint64 // by stats, so that the number does not go down; under stopMu

	searches searches
	waiters  waiters
	closing  closing

	depot   depot
	alarm   alarm
	guards  guards  // under depot.mu
	watches watches // under a lock of its own
}

// init makes c the core of a pool, with all shards under locks, or none yet.
func (c *core) init(sp *spec) {
	initOwn()
	c.spec = sp
	if sp.goHeap {
		c.depot.onHeap = new(heapPages)
	} else {
		sp.pool = c
	}
	c.depot.init(c.spec, c.dropping)
	c.guards.init(c.spec, &c.depot)
	c.watches.init(c.spec, &c.depot.transit, c.clear)
	c.absent.cur = noPage
	c.absent.raise(signalAbsent)
	shards := make([]*shard, runtime.GOMAXPROCS(0))
	for i := range shards {
		if pinned {
			shards[i] = &c.absent // until its P first calls
		} else {
			shards[i] = newShard(c.spec, &c.depot, i)
		}
	}
	t := &shardTable{core: c, shards: shards}
	c.shards.Store(t)
	register(c)
	c.fast.store(t) // after register, for turnFastOff
}

// requireNew panics if c is that of a Pool that New did not make, or of a copy of one. The calls
// that have no time to ask come here when they want a page, or a shard.
func (c *core) requireNew() {
	if c == nil {
		panic(errNotNew)
	}
	switch t := c.shards.Load(); {
	case t == nil:
		panic(errNotNew)
	case t.core != c:
		panic(errCopied)
	}
}

// enter gets a shard to the caller alone until leave, with nothing signalled that
// every call has to answer. op names the call, for the error after Close.
func (c *core) enter(op string) (*shard, error) { return c.answer(c.own(), op) }

// enterToGet is enter for a Get that begins.
func (c *core) enterToGet(op string) (*shard, error) {
	s, err := c.enter(op)
	if err == nil && s.signals()&signalClosing != 0 {
		c.leave(s)
		return nil, c.errClosed(op)
	}
	return s, err
}

// answer is enter for a caller that owns s already: it does what the signal of s asks for.
func (c *core) answer(s *shard, op string) (*shard, error) {
	for ; ; s = c.own() {
		sig := s.signals() &^ (signalRefs | signalClaims | signalExhausted | signalWaiting | signalClosing)
		switch {
		case sig == 0:
			return s, nil
		case sig&signalClosed != 0:
			s.unpin()
			return nil, c.errClosed(op)
		case sig&signalAbsent != 0:
			s.unpin()
			c.grow()
		case sig&signalSeized != 0:
			s.unpin()
			s.waitTurn()
		default:
			s.lower(signalTick | signalForget)
			s.lot.forget()
			if sig&signalTick != 0 {
				s.tick(false)
			}
			c.leave(s)
		}
	}
}

// leave ends what enter began, and does what was left to be done.
func (c *core) leave(s *shard) {
	debugCheck(s)
	if s.outbox.isEmpty() {
		s.unpin()
		return
	}
	out := s.takeOutbox()
	s.unpin()
	yieldPoint()
	c.shards.Load().core.settle(out) // c may be a copy; requireNew finds that out later
}

// settle does what operations have left to be done. The caller has no shard.
func (c *core) settle(out ...outbox) {
	c.deliver(out)
	c.notify(out)
}

// deliver gives the pages to the depot. Whoever has stopped shards does it before others may stop
// them, while it has stopMu: Trim, which takes stopMu, then finds all pages that no shard has with the
// depot, also beside a tick.
func (c *core) deliver(out []outbox) {
	for _, o := range out {
		if o.spare != nil {
			c.depot.receive(o.spare)
		}
		if o.empty != nil {
			c.depot.release(o.empty)
		}
	}
}

// notify tells the clock and those who wait. The caller has no lock.
func (c *core) notify(out []outbox) {
	freed := 0
	for _, o := range out {
		freed += o.freed
		if o.arm {
			c.arm()
		}
	}
	if freed != 0 {
		c.slotsFreed(freed)
	}
}

// stopped runs f while nobody else uses a shard of the pool, and then settles what f has left to be
// done. No P gets its first shard meanwhile.
func (c *core) stopped(f func(shards []*shard)) {
	stopAll := func() []outbox {
		c.stopMu.Lock()
		defer c.stopMu.Unlock()
		shards := c.shards.Load().present()
		out := stop(nil, shards, func() { f(shards) })
		c.deliver(out)
		return out
	}
	c.notify(stopAll())
}

// dropping is told by the depot of each page that goes back to the arena, before it does. From here
// on nothing of the pool may go by the page's words, or by its addresses.
func (c *core) dropping(pg *page) {
	refs.drop(pg)
	c.watches.forget(pg)
	for _, s := range c.shards.Load().shards {
		if s.signals()&signalForget == 0 {
			s.raise(signalForget)
		}
	}
}

// trim collects, releases and purges. It returns the bytes that went back to the system.
func (c *core) trim(op string) int64 {
	c.requireNew()
	c.endQuarantine(op)
	c.releaseEmpty(0)
	return theArena.purgeFrom(&c.depot.purged)
}

// releaseEmpty releases every page without a slot in use, but keeps some spare ones.
func (c *core) releaseEmpty(keep int) {
	c.guards.releaseIdle()
	c.stopped(func(shards []*shard) {
		if c.depot.closed.Load() {
			return
		}
		for _, s := range shards {
			s.flush(0)
			// Otherwise s would keep the array of a page that goes.
			s.weakenAgain()
		}
		for _, s := range shards {
			if keep == 0 {
				s.discardEmpty(s.discard)
			} else {
				s.discardEmpty(s.expire)
			}
		}
	})
	c.depot.expire(true, keep)
}

// live returns how many slots are handed out and not put back. depot.mu is held. The number is
// exact if nobody uses the shards.
func (c *core) live(shards []*shard) int {
	n := c.depot.used() + c.guards.inUse()
	for _, s := range shards {
		n -= int(s.lot.n)
	}
	return n - c.watches.quarantined()
}
