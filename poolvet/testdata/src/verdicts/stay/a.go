// Package stay has pools that nothing replaces.
package stay

import "sync"

var unknown sync.Pool // want `sync.Pool unknown: stay \(what it holds is not in sight in this package\)`

var several = sync.Pool{New: func() any { return new(int) }} // want `several holds \*int, \*string: stay \(several types in one pool: make one pool for each\)`

func drop(s *string) { several.Put(s) }

var funcs = sync.Pool{New: func() any { return func() {} }} // want `funcs holds func\(\): stay \(a func keeps what it captures\)`

var lists = sync.Pool{New: func() any { return new([]int) }} // want `lists holds \*\[\]int: stay \(slices of int grow, and a slot does not; for a fixed length, pool an array\)`

var texts = sync.Pool{New: func() any { return new(string) }} // want `texts holds \*string: stay`

var nothing = sync.Pool{New: func() any { return new(struct{}) }} // want `nothing holds \*struct\{\}: stay \(the type has size 0`

var large = sync.Pool{New: func() any { return new([64<<20 + 1]byte) }} // want `large holds .* \(67108865 bytes\): stay \(a slot has at most 67108864 bytes: pool its parts\)`

var switched sync.Pool // want `switched holds \*int, \*bool: stay \(several types`

func get() any {
	switch v := switched.Get().(type) {
	case *int:
		return *v
	case *bool:
		return *v
	}
	return nil
}

type typed[T any] struct {
	pool sync.Pool // want `pool holds \*T: stay \(the type depends on a type parameter: choose a pool where it is known\)`
}

func (t *typed[T]) get() *T  { return t.pool.Get().(*T) }
func (t *typed[T]) put(x *T) { t.pool.Put(x) }

// Types of an array that need different pools.
var mixed [2]sync.Pool // want `mixed holds \*int, \*error: stay \(several types`

func one() *int   { return mixed[0].Get().(*int) }
func two() *error { return mixed[1].Get().(*error) }
