package main

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
)

// mistakes are what the library has to find. Each returns an error if it does not.
var mistakes = map[string]func() error{
	"double Put":                   doublePut,
	"double Put of a guarded slot": doublePutOfGuarded,
	"double Put in a batch":        doublePutInBatch,
	"foreign Put":                  foreignPut,
	"stale Ref":                    staleRef,
	"use after Close":              useAfterClose,
	"Put of a slice that moved":    putOfMoved,
	"use after Put":                useAfterPut,
	"panic in WithReset":           panicInReset,
}

// mistake makes mistakes while other pools are at work.
func mistake(s *soak) {
	o := newOwner(s.seed)
	names := slices.Sorted(maps.Keys(mistakes))
	for s.sleep(time.Duration(20+o.IntN(100)) * time.Millisecond) {
		name := names[o.IntN(len(names))]
		switch err := mistakes[name](); {
		case err == nil:
			s.mistakes.Add(1)
		case errors.Is(err, pool.ErrLimit): // it was not made
			s.survived(err, false)
		default:
			s.fault(fmt.Errorf("%s: %w", name, err))
		}
	}
}

// panicOf returns the error with which f panics, or nil.
func panicOf(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = v.(error)
		}
	}()
	f()
	return nil
}

// want returns an error that says so if what was called returned or panicked with another error than
// target, or with none.
func want(what string, err, target error) error {
	switch {
	case errors.Is(err, target):
		return nil
	case err == nil:
		return fmt.Errorf("%s: there is no error, and not this: %w", what, target)
	}
	return fmt.Errorf("%s: the error is %w, and not this: %w", what, err, target)
}

// closed returns err, or what Close returns.
func closed(p interface{ Close() error }, err error) error {
	return errors.Join(err, p.Close())
}

func doublePut() error {
	p := pool.New[node](pool.WithName("mistaken"))
	x, err := p.TryGet()
	if err != nil {
		return closed(p, err)
	}
	p.Put(x)
	return closed(p, errors.Join(
		want("Put", panicOf(func() { p.Put(x) }), pool.ErrDoublePut),
		want("TryPut", p.TryPut(x), pool.ErrDoublePut),
		want("Ref", panicOf(func() { p.Ref(x) }), pool.ErrDoublePut)))
}

func doublePutOfGuarded() error {
	p := pool.New[node](pool.WithName("mistaken"), pool.WithGuardSampling(1))
	x, err := p.TryGet()
	if err != nil {
		return closed(p, err)
	}
	if st := p.Stats(); st.OffHeap && st.GuardedGets != 1 {
		p.Put(x)
		return closed(p, nil) // other pools guard as many as can be
	}
	p.Put(x)
	return closed(p, errors.Join(
		want("Put of a guarded slot", panicOf(func() { p.Put(x) }), pool.ErrDoublePut),
		want("TryPut of a guarded slot", p.TryPut(x), pool.ErrDoublePut)))
}

// doublePutInBatch puts a slot twice in a PutBatch: those before it are put, those after it are not.
func doublePutInBatch() error {
	p := pool.New[node](pool.WithName("mistaken"))
	xs := make([]*node, 10)
	if err := panicOf(func() { p.GetBatch(xs) }); err != nil {
		return closed(p, err)
	}
	last := xs[9]
	xs[5], xs[9] = xs[4], xs[5]
	err := want("PutBatch", panicOf(func() { p.PutBatch(xs) }), pool.ErrDoublePut)
	if p.Live() != 5 {
		err = errors.Join(err, fmt.Errorf("%d of 5 slots are in use after a PutBatch that failed", p.Live()))
	}
	p.PutBatch(append(xs[6:], last))
	return closed(p, err)
}

var global node

func foreignPut() error {
	p, q := pool.New[node](pool.WithName("mistaken")), pool.New[node](pool.WithName("other"))
	x, err := p.TryGet()
	if err != nil {
		return errors.Join(closed(p, err), q.Close())
	}
	var local node
	for _, wrong := range []*node{&global, &local, new(node), (*node)(unsafe.Pointer(&x.words[1]))} {
		err = errors.Join(err, want("TryPut", p.TryPut(wrong), pool.ErrForeignPut))
		if p.Owns(wrong) {
			err = errors.Join(err, errors.New("the pool owns what is not of it"))
		}
	}
	err = errors.Join(err,
		want("Put of another pool's slot", panicOf(func() { q.Put(x) }), pool.ErrForeignPut),
		want("TryPut of another pool's slot", q.TryPut(x), pool.ErrForeignPut))
	p.Put(x)
	return errors.Join(closed(p, err), q.Close())
}

func staleRef() (err error) {
	p, q := pool.New[node](pool.WithName("mistaken")), pool.New[node](pool.WithName("other"))
	x, err := p.TryGet()
	if err != nil {
		return errors.Join(closed(p, err), q.Close())
	}
	r := p.Ref(x)
	if q.Deref(r) != nil || q.PutRef(r) {
		err = errors.New("a Ref has a meaning for another pool")
	}
	if !p.PutRef(r) || p.PutRef(r) || p.Deref(r) != nil || p.PutRefs([]pool.Ref[node]{r, r}) != 0 {
		err = errors.Join(err, errors.New("a Ref has a meaning after PutRef"))
	}
	return errors.Join(closed(p, err), q.Close())
}

func useAfterClose() error {
	p := pool.New[node](pool.WithName("mistaken"))
	x, err := p.TryGet()
	if err != nil {
		return closed(p, err)
	}
	err = want("Close", p.Close(), pool.ErrInUse)
	p.Put(x)
	err = closed(p, err)
	_, afterwards := p.TryGet()
	return errors.Join(err,
		want("TryGet", afterwards, pool.ErrClosed),
		want("TryPut", p.TryPut(x), pool.ErrClosed),
		want("Get", panicOf(func() { p.Get() }), pool.ErrClosed),
		want("Trim", panicOf(func() { p.Trim() }), pool.ErrClosed),
		want("Close", p.Close(), pool.ErrClosed))
}

// putOfMoved puts a slice that append has moved.
func putOfMoved() (err error) {
	p := pool.NewBytes(pool.WithName("mistaken"), pool.WithOffHeap())
	b, err := p.TryGet(100)
	if err != nil {
		return closed(p, err)
	}
	moved := append(b, make([]byte, cap(b))...)
	err = want("Put of a slice that was moved", panicOf(func() { p.Put(moved) }), pool.ErrForeignPut)
	if p.TryPut(moved) {
		err = errors.Join(err, errors.New("TryPut has put a slice that was moved"))
	}
	p.Put(b)
	return closed(p, errors.Join(err, want("Put of a slice", panicOf(func() { p.Put(b) }), pool.ErrDoublePut)))
}

// useAfterPut writes to a guarded slot after its Put.
func useAfterPut() error {
	p := pool.New[node](pool.WithName("mistaken"), pool.WithGuardSampling(1))
	x, err := p.TryGet()
	if err != nil {
		return closed(p, err)
	}
	p.Put(x)
	if p.Stats().GuardedGets == 0 {
		return closed(p, nil)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err = panicOf(func() { x.words[2] = 1 })
	var fault interface{ Addr() uintptr }
	if !errors.As(err, &fault) {
		return closed(p, errors.Join(errors.New("a write after Put leads to no fault"), err))
	}
	if text := pool.DescribeFault(fault.Addr()); !strings.Contains(text, "mistaken") {
		return closed(p, fmt.Errorf("DescribeFault of a write after Put returns %q", text))
	}
	return closed(p, nil)
}

var errReset = errors.New("reset")

func panicInReset() error {
	p := pool.New[node](pool.WithName("mistaken"), pool.WithReset(func(*node) { panic(errReset) }))
	x, err := p.TryGet()
	if err != nil {
		return closed(p, err)
	}
	return closed(p, want("Put", panicOf(func() { p.Put(x) }), errReset))
}
