package main

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets. These are 1 ns wide below 64 ns; above that there are 32
// of them for each power of two. A quantile is thus at most 1/32 too high. A histogram can count
// any duration, allocates nothing, and takes some nanoseconds per duration.
type histogram struct {
	counts [bucketCount]uint64
	total  uint64
	max    time.Duration
}

const (
	bucketBits  = 5
	bucketCount = (64 - bucketBits) << bucketBits // a duration has 63 bits, so shift is at most 57
)

// bucketOf returns the bucket of v. It keeps the upper six bits of v. Except for small v, these are
// 32 to 63, so that the buckets for one shift follow directly after those for the previous one.
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

// quantile returns a duration that at least the fraction q of all durations did not exceed. It
// returns 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rest := q * float64(h.total)
	for b, n := range h.counts {
		if rest -= float64(n); rest <= 0 && n > 0 {
			return min(time.Duration(bucketTop(b)), h.max)
		}
	}
	return h.max
}
