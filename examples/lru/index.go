package main

import (
	"math/bits"

	"github.com/warmpage/pool"
)

// An index is a hash table with open addressing and linear probing: an entry is at
// the home of its hash, or in the next place that was free. It never grows, as a
// shard has a capacity. There is no pointer in it, so that the garbage collector
// marks it as one object and does not read it; a map would do as well, as long as
// neither its keys nor its values have pointers, but has no place for two keys of
// one hash.
type index []place

// A place is free while its ref is zero.
type place struct {
	hash uint64
	ref  pool.Ref[entry]
}

// newIndex makes room for capacity entries and a third more: a fuller table has
// long chains, and a full one no end of them.
func newIndex(capacity int) index { return make(index, capacity+capacity/3+1) }

// home scales the hash down to the places, whose number need not be a power of two.
func (x index) home(hash uint64) int {
	hi, _ := bits.Mul64(hash, uint64(len(x)))
	return int(hi)
}

func (x index) next(i int) int {
	if i++; i < len(x) {
		return i
	}
	return 0
}

// distance is how many times next leads from i to j.
func (x index) distance(i, j int) int {
	if j < i {
		j += len(x)
	}
	return j - i
}

func (x index) insert(hash uint64, r pool.Ref[entry]) {
	i := x.home(hash)
	for !x[i].ref.IsZero() {
		i = x.next(i)
	}
	x[i] = place{hash, r}
}

// remove frees the place of r, which must be there, and closes the gap: who comes
// after it in the chain moves up, unless that were in front of its home. A mark
// in its stead would leave the table full of marks in time.
func (x index) remove(hash uint64, r pool.Ref[entry]) {
	gap := x.home(hash)
	for x[gap].ref != r {
		gap = x.next(gap)
	}
	for i := x.next(gap); !x[i].ref.IsZero(); i = x.next(i) {
		if x.distance(x.home(x[i].hash), i) >= x.distance(gap, i) {
			x[gap] = x[i]
			gap = i
		}
	}
	x[gap] = place{}
}
