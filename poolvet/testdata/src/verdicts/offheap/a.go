// Package offheap has pools of types without pointers.
package offheap

import (
	"sync"
	"sync/atomic"
)

type point struct {
	x, y  int
	mu    sync.Mutex
	names [0]string
}

var points = sync.Pool{New: func() any { return new(point) }} // want `sync.Pool points holds \*point \(\d+ bytes\): off-heap: pool.New\[point\]\(\)$`

var literals = sync.Pool{New: func() any { return &point{} }} // want `literals holds \*point .*: off-heap: pool.New\[point\]\(\)$`

var arrays = sync.Pool{New: func() any { return new([4096]byte) }} // want `arrays holds \*\[4096\]byte \(4096 bytes\): off-heap: pool.New\[\[4096\]byte\]\(\)$`

var local = sync.Pool{New: func() any { // want `local holds \*\[64\]byte .*: off-heap: pool.New\[\[64\]byte\]\(\)$`
	b := [64]byte{}
	return &b
}}

var declared = sync.Pool{New: func() any { // want `declared holds \*point .*: off-heap: pool.New\[point\]\(\)$`
	var p point
	return &p
}}

var filled = sync.Pool{New: func() any { // want `filled holds \*point .*: off-heap: pool.New\[point\]\(pool.WithInit\(...\)\) \(WithInit does what New does, and WithReset what runs before each Put\)`
	p := new(point)
	p.x = 1
	return p
}}

var numbers = sync.Pool{New: func() any { return new(int64) }} // want `numbers holds \*int64 \(8 bytes\): off-heap: pool.New\[int64\]\(\)$`

var values = sync.Pool{New: func() any { return point{} }} // want `values holds point .*: off-heap: pool.New\[point\]\(\)$`

var counters = sync.Pool{New: func() any { return new(atomic.Int64) }} // want `counters holds \*atomic.Int64 .*: off-heap: pool.New\[atomic.Int64\]\(\)$`

// The largest slot.
var large = sync.Pool{New: func() any { return new([64 << 20]byte) }} // want `large holds .*: off-heap`

// No New: what is put and asserted tells.
var asserted sync.Pool // want `asserted holds \*point .*: off-heap: pool.New\[point\]\(\)$`

func get() *point {
	if v := asserted.Get(); v != nil {
		return v.(*point)
	}
	return &point{}
}

var put sync.Pool // want `put holds \*point .*: off-heap: pool.New\[point\]\(\)$`

func drop(p *point) { put.Put(p) }

// Several types in several pools.
var sizes [2]sync.Pool // want `sizes holds \*\[64\]byte, \*\[128\]byte: off-heap: pool.New\[\[64\]byte\]\(\) \(one pool for each of the types\)`

func small() *[64]byte   { return sizes[0].Get().(*[64]byte) }
func middle() *[128]byte { return sizes[1].Get().(*[128]byte) }

var ranged = sync.Pool{New: func() any { // want `ranged holds \*point .*: off-heap: pool.New\[point\]\(pool.WithInit`
	for _, p := range []point{{x: 1}} {
		return &p
	}
	return nil
}}
