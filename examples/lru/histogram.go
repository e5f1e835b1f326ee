package main

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets that are 1 ns wide below 64 ns, and 32 to
// each power of two above: a quantile is at most 1/32 too high. It has room for
// any duration, allocates nothing, and takes some nanoseconds a duration.
type histogram struct {
	counts [bucketCount]uint64
	total  uint64
	max    time.Duration
}

const (
	bucketBits  = 5
	bucketCount = (64 - bucketBits) << bucketBits // a duration has 63 bits, so that shift is at most 57
)

// bucketOf keeps the upper six bits of v: they are 32 to 63 for all but the small
// ones, so that the buckets of one shift follow upon those of the one before.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-(bucketBits+1), 0)
	return shift<<bucketBits + int(v>>shift)
}

// bucketTop returns the greatest value of a bucket.
func bucketTop(b int) uint64 {
	shift := max(b>>bucketBits-1, 0)
	return uint64(b-shift<<bucketBits+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for b, n := range other.counts {
		h.counts[b] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile returns a duration that at least the fraction q of all did not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rest := q * float64(h.total)
	for b, n := range h.counts {
		if rest -= float64(n); rest <= 0 && n > 0 {
			return min(time.Duration(bucketTop(b)), h.max)
		}
	}
	return h.max
}
