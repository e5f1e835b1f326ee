// Package refused has pools off the Go heap for which no fix is certain. The comments say why.
package refused

import (
	"runtime"
	"sync"
	"time"
	"unsafe"
)

type T struct {
	n    int
	data [32]byte
}

func (t *T) self() *T { return t }

var Exported = sync.Pool{New: func() any { return new(T) }} // no: other packages may use it

var typed sync.Pool = sync.Pool{New: func() any { return new(T) }} // no: it is not declared as var typed = sync.Pool

var noNew = sync.Pool{} // no: it is not declared with a New

func init() { noNew.Put(new(T)) }

var constructor = sync.Pool{New: func() any { t := new(T); t.n = 1; return t }} // no: New is not func() any { return new(T) }

var filled = sync.Pool{New: func() any { return &T{n: 1} }} // no: New is not func() any { return new(T) }

var named = sync.Pool{New: newT} // no: New is not func() any { return new(T) }

func newT() any { return new(T) }

var basic = sync.Pool{New: func() any { return new(int) }} // no: T is neither a named type nor an array

var foreign = sync.Pool{New: func() any { return new(time.Duration) }} // no: T is generic, or belongs to another package

var foreignElem = sync.Pool{New: func() any { return new([4]time.Duration) }} // no: T names another package

var passed = sync.Pool{New: func() any { return new(T) }} // no: it is used for more than Get and Put

func use(p *sync.Pool) { p.Put(p.Get()) }

func init() { use(&passed) }

var method = sync.Pool{New: func() any { return new(T) }} // no: it is used for more than Get and Put

var putMethod = method.Put

var literal = sync.Pool{New: func() any { return new(T) }} // no: Put is given an expression

func init() { literal.Put(&T{}) }

var parameter = sync.Pool{New: func() any { return new(T) }} // no: Put is given what is not a Get of the same function

func free(t *T) { parameter.Put(t) }

var commaOK = sync.Pool{New: func() any { return new(T) }} // no: the result of a Get is not asserted and kept in a local variable at once

func getOK() {
	if t, ok := commaOK.Get().(*T); ok {
		commaOK.Put(t)
	}
}

var untyped = sync.Pool{New: func() any { return new(T) }} // no: the result of a Get is not asserted

func getAny() {
	v := untyped.Get()
	untyped.Put(v)
}

var returned = sync.Pool{New: func() any { return new(T) }} // no: the result of a Get is not asserted

func get() *T { return returned.Get().(*T) }

var escapes = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored, returned, or otherwise kept

var last *T

func escape() {
	t := escapes.Get().(*T)
	last = t
	escapes.Put(t)
}

var sliced = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func slice() int {
	t := sliced.Get().(*T)
	defer sliced.Put(t)
	b := t.data[:]
	return len(b)
}

var addressed = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func address() int {
	t := addressed.Get().(*T)
	defer addressed.Put(t)
	n := &t.n
	return *n
}

var resulted = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func result() *T {
	t := resulted.Get().(*T)
	defer resulted.Put(t)
	return t.self()
}

var assigned = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func assign() {
	t := assigned.Get().(*T)
	t = new(T)
	assigned.Put(t)
}

var pointed = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func point() {
	t := pointed.Get().(*T)
	_ = unsafe.Pointer(t)
	pointed.Put(t)
}

var appended = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is stored

func collect(ts []*T) []*T {
	t := appended.Get().(*T)
	defer appended.Put(t)
	return append(ts, t)
}

var captured = sync.Pool{New: func() any { return new(T) }} // no: a closure uses what Get returned

func capture() {
	t := captured.Get().(*T)
	defer func() {
		t.n = 0
		captured.Put(t)
	}()
}

var array = [1]sync.Pool{{New: func() any { return new(T) }}} // no: it is not a package variable, or not one pool

var nested = sync.Pool{New: func() any { return new(T) }} // no: a closure uses what Get returned

func nest() {
	t := nested.Get().(*T)
	defer func() { go func() { nested.Put(t) }() }()
}

var other = sync.Pool{New: func() any { return new(T) }} // no: package runtime is given what Get returned

func keepAlive() {
	t := other.Get().(*T)
	defer other.Put(t)
	runtime.KeepAlive(t)
}

var started = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is used after Put

func start() {
	t := started.Get().(*T)
	defer started.Put(t)
	go t.self()
}

var forgotten = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is not put on some path

func forget(fail bool) {
	t := forgotten.Get().(*T)
	if fail {
		return
	}
	forgotten.Put(t)
}

var panicking = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is not put on some path

func panics(fail bool) {
	t := panicking.Get().(*T)
	if fail {
		panic("fail")
	}
	panicking.Put(t)
}

var looped = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is not put on some path

func loop(n int) {
	for i := range n {
		t := looped.Get().(*T)
		if i == 3 {
			continue
		}
		looped.Put(t)
	}
}

var twice = sync.Pool{New: func() any { return new(T) }} // no: what Get returned may be put twice

func putTwice(again bool) {
	t := twice.Get().(*T)
	twice.Put(t)
	if again {
		twice.Put(t)
	}
}

var inLoop = sync.Pool{New: func() any { return new(T) }} // no: what Get returned may be put twice

func putInLoop(n int) {
	t := inLoop.Get().(*T)
	for range n {
		inLoop.Put(t)
	}
}

var deferred = sync.Pool{New: func() any { return new(T) }} // no: what Get returned may be put twice

func putDeferred() {
	t := deferred.Get().(*T)
	defer deferred.Put(t)
	deferred.Put(t)
}

var late = sync.Pool{New: func() any { return new(T) }} // no: what Get returned is used after Put

func useLate() int {
	t := late.Get().(*T)
	late.Put(t)
	return t.n
}

var concurrent = sync.Pool{New: func() any { return new(T) }} // no: a Put is no statement of its own

func putConcurrent() {
	t := concurrent.Get().(*T)
	go concurrent.Put(t)
}

var commented = sync.Pool{New: func() any { /* why */ return new(T) }} // no: a comment would be lost

func useCommented() {
	t := commented.Get().(*T)
	commented.Put(t)
}

var inTest = sync.Pool{New: func() any { return new(T) }} // no: Put is given an expression

func useInTest() {
	t := inTest.Get().(*T)
	inTest.Put(t)
}

var elsewhere = sync.Pool{New: func() any { return new(T) }} // no: refused_plan9.go, which is not part of this build, uses the name

func useElsewhere() {
	t := elsewhere.Get().(*T)
	elsewhere.Put(t)
}
