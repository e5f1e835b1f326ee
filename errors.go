package pool

import (
	"errors"
	"fmt"
)

// The errors that this package returns, and those that it panics with, wrap one of these. Use
// [errors.Is] on them, and on what recover returns. Their text says more, and what to do.
var (
	// ErrDoublePut means that Put, PutBatch or Ref was given a slot that is not in use: it was Put
	// before.
	ErrDoublePut = errors.New("slot is not in use")
	// ErrForeignPut means that Put, PutBatch or Ref was given an address that is no slot of this
	// pool: memory of another kind, another pool's slot, or a place inside a slot. It may have been
	// a slot of this pool that was Put, and whose page has been released since. From a [Bytes] it
	// means that the slice lies in none of its slots: most likely append has moved it.
	ErrForeignPut = errors.New("not a slot of this pool")
	// ErrCorrupt means that a slot was written to after its Put, or beyond its end. Only builds
	// with -tags pooldebug look for that. The call that finds it panics: a call that gets or puts
	// this slot or another one, or Trim, or Close.
	ErrCorrupt = errors.New("stray write")
	// ErrClosed means that a pool was used after Close, or closed twice.
	ErrClosed = errors.New("pool is closed")
	// ErrInUse means that Close was called while slots were out. Close returns it, but not for
	// pools with [WithGoHeap]. From Clear it means that another call is under way.
	ErrInUse = errors.New("slots are in use")
	// ErrLimit means that the pool has no free slot, and that a new one would be beyond [WithMaxSlots],
	// or take memory beyond [WithLimit] or [SetProcessLimit]. From [Pool.Ref] and [Pool.All] it means that there are Refs
	// in too many pages.
	ErrLimit = errors.New("limit reached")
	// ErrOutOfMemory means that the pool has no free slot, and that the system refused memory or
	// address space.
	ErrOutOfMemory = errors.New("out of memory")
)

var (
	errNotNew = errors.New("pool: use of a Pool that New did not make; make it with pool.New")
	errCopied = errors.New("pool: use of a copy of a Pool; keep the *Pool that New returned")

	errRefJSON = errors.New("pool: a Ref means nothing outside of its process: write a key of its object instead, or leave the field out (`json:\"-\"`)")

	errBytesNotNew = errors.New("pool: use of a Bytes that NewBytes did not make; make it with pool.NewBytes")
	errBytesCopied = errors.New("pool: use of a copy of a Bytes; keep the *Bytes that NewBytes returned")
)

func (sp *spec) errClosed(op string) error {
	return fmt.Errorf("%s: %s: %w: finish all use of a pool before Close", sp, op, ErrClosed)
}

func (sp *spec) errDoublePut(op string, addr uintptr) error {
	return fmt.Errorf("%s: %s(%#x): %w: it was Put before, or never came from Get; Put each slot once, when its last user is done", sp, op, addr, ErrDoublePut)
}

// errForeignPut explains to the caller of op why addr is no slot of c.
func (c *core) errForeignPut(op string, addr uintptr) error {
	c.requireNew()
	if c.depot.closed.Load() {
		return c.errClosed(op)
	}
	pg := pageOf(addr)
	if pg.isDead() {
		pg = noPage
	}
	switch {
	case pg == noPage && wasPage(addr), pg.isOver():
		return fmt.Errorf("%s: %s(%#x): %w, %w: a page of this pool or another was there, and has been released since; Put each slot once, when its last user is done, and before Close", c.spec, op, addr, ErrDoublePut, ErrForeignPut)
	case pg == noPage:
		return fmt.Errorf("%s: %s(%#x): %w: no pool has had memory there (is it from new, or a variable?); Put only what Get returned", c.spec, op, addr, ErrForeignPut)
	case pg.spec != c.spec:
		return fmt.Errorf("%s: %s(%#x): %w: the memory belongs to %s now; Put each slot once, and to the pool that it came from", c.spec, op, addr, ErrForeignPut, pg.spec)
	case addr-pg.begin() >= uintptr(pg.reserved)*uintptr(pg.stride):
		return fmt.Errorf("%s: %s(%#x): %w: it is beside the slots of a page; Put the pointer that Get returned, once", c.spec, op, addr, ErrForeignPut)
	default:
		off := (addr - pg.begin()) % uintptr(pg.stride)
		return fmt.Errorf("%s: %s(%#x): %w: it is %d bytes into a slot; Put the pointer that Get returned, once", c.spec, op, addr, ErrForeignPut, off)
	}
}
