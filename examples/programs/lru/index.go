package main

import (
	"math/bits"

	"github.com/warmpage/pool"
)

// An index is a hash table with open addressing and linear probing: an entry is at the home of its
// hash, or in the next place that was free. It never grows, because a shard has a fixed capacity.
// It contains no pointers, so the garbage collector marks it as one object and does not read it. A
// map without pointers in its keys and values would have the same advantage, but with hashes as
// keys it cannot hold two entries whose keys have the same hash.
type index []place

// A place is free while its ref is zero.
type place struct {
	hash uint64
	ref  pool.Ref[entry]
}

// newIndex makes room for capacity entries and a third more. In a fuller table chains are long, and
// in a full one a search would never end.
func newIndex(capacity int) index { return make(index, capacity+capacity/3+1) }

// home returns the place where the chain of a hash starts. It scales the hash down, so that the
// number of places need not be a power of two.
func (x index) home(hash uint64) int {
	hi, _ := bits.Mul64(hash, uint64(len(x)))
	return int(hi)
}

// next returns the place after i. The first one comes after the last.
func (x index) next(i int) int {
	if i++; i < len(x) {
		return i
	}
	return 0
}

// distance returns how many steps of next lead from i to j.
func (x index) distance(i, j int) int {
	if j < i {
		j += len(x)
	}
	return j - i
}

// insert adds r to the chain of hash. It does not look for duplicates.
func (x index) insert(hash uint64, r pool.Ref[entry]) {
	i := x.home(hash)
	for !x[i].ref.IsZero() {
		i = x.next(i)
	}
	x[i] = place{hash, r}
}

// remove frees the place of r, which must be in the index, and closes the gap: every later entry of
// the chain moves up, unless that would put it before its home. Marking the place as deleted
// instead would fill the table with marks over time.
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
