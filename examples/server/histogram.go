package main

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets whose width grows with them: each power
// of two has 32, so that a value is known to 1/32 of it, in 15 KiB and a few
// instructions. Below 64 ns each value has a bucket.
type histogram struct {
	Counts [bucketCount]uint64
	Total  uint64
	Max    time.Duration // exact
}

const (
	bucketBits  = 5
	buckets     = 1 << bucketBits // of a power of two
	bucketCount = (64 - bucketBits) * buckets
)

// bucketOf returns the bucket of d, which is not negative.
func bucketOf(d time.Duration) int {
	v := uint64(d)
	// The top 6 bits tell buckets apart; the first of them is always 1, but in the
	// lowest two powers of two, where all of v does.
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

// quantile returns a duration that the share q of the recorded ones, rounded up to
// a whole one, do not exceed.
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

func (h *histogram) merge(other *histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.Total += other.Total
	h.Max = max(h.Max, other.Max)
}
