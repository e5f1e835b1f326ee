package main

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets that get wider for longer durations. Each power of two
// has 32 buckets, so that a quantile is exact to 1/32 of its value. Below 64 ns each value has its
// own bucket. A histogram takes 15 KiB, and recording takes a few instructions.
type histogram struct {
	Counts [bucketCount]uint64
	Total  uint64
	Max    time.Duration // exact
}

const (
	bucketBits  = 5
	buckets     = 1 << bucketBits // per power of two
	bucketCount = (64 - bucketBits) * buckets
)

// bucketOf returns the bucket of d, which must not be negative.
func bucketOf(d time.Duration) int {
	v := uint64(d)
	// The top 6 bits of v determine the bucket. The first of these is always 1, except for v below
	// 32, where all bits of v count.
	shift := max(bits.Len64(v)-bucketBits-1, 0)
	return shift*buckets + int(v>>shift)
}

// upperBound returns the largest duration of a bucket.
func upperBound(bucket int) time.Duration {
	shift := max(bucket/buckets-1, 0)
	top := uint64(bucket-shift*buckets+1)<<shift - 1
	return time.Duration(min(top, math.MaxInt64))
}

func (h *histogram) record(d time.Duration) {
	h.Counts[bucketOf(d)]++
	h.Total++
	h.Max = max(h.Max, d)
}

// quantile returns a duration that the share q of the recorded durations did not exceed, where
// their number is rounded up. It returns 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.Total)))
	var seen uint64
	for i, n := range h.Counts {
		if seen += n; seen >= max(rank, 1) {
			return min(upperBound(i), h.Max)
		}
	}
	return h.Max
}
