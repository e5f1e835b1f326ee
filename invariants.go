package pool

import (
	"errors"
	"fmt"
)

// checkInvariants verifies the equations that page.go states, that each slot is in one place, and
// that each page is where depot.go and shard.go say. It stops the shards meanwhile. Tests call it.
func (c *core) checkInvariants() error {
	var errs []error
	c.stopped(func(shards []*shard) {
		c.depot.mu.Lock()
		defer c.depot.mu.Unlock()
		parked := make(map[*page]int)
		owner := make(map[*page]*shard)
		for _, s := range shards {
			errs = append(errs, s.check(parked, owner))
			if !s.outbox.isEmpty() {
				errs = append(errs, fmt.Errorf("shard %d has left something in its outbox", s.id))
			}
		}
		errs = append(errs, c.depot.check(parked, owner))
	})
	return errors.Join(errs...)
}

// check verifies a depot. parked has the number of parked slots of each page, and owner the shard
// that has it. mu is held.
func (d *depot) check(parked map[*page]int, owner map[*page]*shard) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, pg := range d.pages {
		if int(pg.index) != i {
			fail("page %d of the pool says it is %d", i, pg.index)
		}
		if err := pg.check(parked[pg], owner[pg]); err != nil {
			fail("page %d (bump %d, capacity %d, reserved %d, used %d, remote %#x, owner %d): %w",
				i, pg.bump, pg.capacity, pg.reserved, pg.used, pg.remote.Load(), pg.ownerID(), err)
		}
	}
	for pg := range owner {
		if !d.has(pg) {
			fail("a shard owns a page that is not the pool's")
		}
	}
	partials := 0
	for i, pg := range d.spare {
		partials += count(!pg.empty)
		if int(pg.listed) != i+1 {
			fail("spare page %d says it is %d", i, pg.listed)
		}
		if !pg.remoteState().isOwned() && !d.has(pg.page) {
			fail("spare page %d is not the pool's", i)
		}
		if pg.empty && !pg.remoteState().isOwned() && pg.used != 0 {
			fail("spare page %d is empty with %d slots in use", i, pg.used)
		}
	}
	if n := int32(d.transit.word.Load()); n < 0 {
		fail("%d pages are in transit", n)
	}
	if int(d.partials.Load()) != partials {
		fail("partials is %d, and %d spare pages have slots in use", d.partials.Load(), partials)
	}
	if int(d.spares.Load()) != len(d.spare) {
		fail("spares is %d, and there are %d spare pages", d.spares.Load(), len(d.spare))
	}
	return errors.Join(errs...)
}

// check verifies a shard. It adds the shard's parked slots to parked, and its pages to owner.
func (s *shard) check(parked map[*page]int, owner map[*page]*shard) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("shard %d: "+format, append([]any{s.id}, args...)...))
	}
	if s.lot.n > s.lot.room {
		fail("parks %d slots of at most %d", s.lot.n, s.lot.room)
	}
	if s.signals()&signalExhausted != 0 && !s.hasNothing() {
		fail("has slots, and Gets may fail")
	}
	for _, p := range s.lot.places[:s.lot.n] {
		pg, i, ok := s.lot.home(p)
		if !ok {
			fail("parks %p, slot %d, which is not parked, or no slot of its pool", p.slot, i)
			continue
		}
		parked[pg]++
	}
	own := func(pg *page, list pageList) {
		owner[pg] = s
		if pg.ownerID() != s.id || pg.list != list {
			fail("has a page of owner %d, list %d on list %d", pg.ownerID(), pg.list, list)
		}
	}
	if s.cur != noPage {
		own(s.cur, onNone)
	}
	for _, q := range []struct {
		list  pageList
		pages *pageQueue
	}{{onQueue, &s.queue}, {onRetired, &s.retired}} {
		n := 0
		var prev *page
		for pg := q.pages.head; pg != nil; prev, pg = pg, pg.next {
			n++
			own(pg, q.list)
			if pg.prev != prev {
				fail("list %d is not linked both ways", q.list)
			}
			if (q.list == onRetired) != (pg.used == 0) || pg.retired != (q.list == onRetired) {
				fail("list %d has a page with %d slots in use, retired %v", q.list, pg.used, pg.retired)
			}
			if pg.full() && pg.remoteState().count() == 0 {
				fail("list %d has a full page", q.list)
			}
		}
		if n != q.pages.len || q.pages.tail != prev {
			fail("list %d has %d pages, and says %d", q.list, n, q.pages.len)
		}
	}
	return errors.Join(errs...)
}

// walk verifies what only the owner of a page writes, and returns which slots are on its lists.
func (pg *page) walk() (seen []bool, err error) {
	if pg.bump > pg.capacity || pg.capacity > pg.reserved || int(pg.reserved) != len(pg.links) {
		return nil, errors.New("bump <= capacity <= reserved == len(links) does not hold")
	}
	seen = make([]bool, pg.reserved)
	for i := pg.bump; i < pg.capacity; i++ {
		seen[i] = true
		if isCounted(pg.links[i]) {
			return nil, fmt.Errorf("slot %d of the bump range has the word %#x", i, pg.links[i])
		}
	}
	free, err1 := pg.walkList(seen, "free", pg.free)
	local, err2 := pg.walkList(seen, "localFree", pg.localFree)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	free += pg.capacity - pg.bump
	if pg.used+free+local != pg.capacity {
		return nil, fmt.Errorf("used + |free| + |localFree| == capacity does not hold: %d + %d + %d, %d", pg.used, free, local, pg.capacity)
	}
	return seen, nil
}

// walkList notes the slots of a list in seen, and returns how many there are.
func (pg *page) walkList(seen []bool, name string, head uint32) (n uint32, err error) {
	for i := head; i != none; i = nextOf(pg.links[i]) {
		if i >= pg.capacity {
			return n, fmt.Errorf("%s leads to slot %d, which is not carved", name, i)
		}
		if seen[i] {
			return n, fmt.Errorf("slot %d of %s is on two lists, or on one twice", i, name)
		}
		seen[i] = true
		n++
	}
	return n, nil
}

// check verifies a page that has this number of parked slots, and this owner or none.
func (pg *page) check(parked int, owner *shard) error {
	seen, err := pg.walk()
	if err != nil {
		return err
	}
	w := pg.remoteState()
	remote, err := pg.walkList(seen, "remoteFree", w.head())
	if err != nil {
		return err
	}
	var counted int // slots that count as used, without the parked ones
	for i, word := range pg.links {
		switch {
		case seen[i] || i >= int(pg.capacity) || word == parking:
		case isCounted(word):
			counted++
		default:
			return fmt.Errorf("slot %d is on no list and has the word %#x", i, word)
		}
	}
	switch {
	case remote != 0 && nextOf(pg.links[w.tail()]) != none:
		return errors.New("the tail of remoteFree is not its end")
	case remote != w.count():
		return fmt.Errorf("remoteFree has %d slots, and says %d", remote, w.count())
	case counted+int(remote)+parked != int(pg.used):
		return fmt.Errorf("%d slots are taken, %d on remoteFree and %d parked, but %d used", counted, remote, parked, pg.used)
	case pg.heap != nil && w.isOwned() && !pg.isStrong() && !pg.isDead():
		return errors.New("is owned and does not keep its slots")
	case owner == nil && !w.isOwned() && pg.listed == 0 && !pg.full():
		return errors.New("has free slots, and nobody knows of them")
	case owner != nil && !w.isOwned():
		return errors.New("is on a list of a shard that does not own it")
	}
	return nil
}
