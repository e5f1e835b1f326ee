package main

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets. Each bucket is at most an eighth wider than its lower
// end, which is exact enough for a table. A histogram is small enough to be a field of a struct, so
// that counting allocates nothing.
type histogram [48 * steps]uint64

const steps = 8 // buckets per power of two

// bucketOf returns the bucket that d belongs to.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < steps {
		return int(n)
	}
	shift := bits.Len64(n) - bits.Len64(steps-1) - 1
	bucket := shift*steps + int(n>>shift)
	return min(bucket, len(histogram{})-1)
}

// bottom returns the shortest duration of a bucket.
func bottom(bucket int) time.Duration {
	if bucket < 2*steps {
		return time.Duration(bucket)
	}
	shift := bucket/steps - 1
	return time.Duration(steps+bucket%steps) << shift
}

func (h *histogram) count(d time.Duration) { h[bucketOf(d)]++ }

func (h *histogram) add(other *histogram) {
	for i, n := range other {
		h[i] += n
	}
}

func (h *histogram) total() (n uint64) {
	for _, k := range h {
		n += k
	}
	return n
}

// percentile returns the duration that p percent of all durations are below, rounded up to the end
// of its bucket. It returns 0 if there are none.
func (h *histogram) percentile(p float64) time.Duration {
	rest := uint64(float64(h.total()) * p / 100)
	for i, n := range h {
		if n > rest || n > 0 && n == rest && p == 100 {
			return bottom(i + 1)
		}
		rest -= n
	}
	return 0
}
