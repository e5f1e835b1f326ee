package pool

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Sampling. A shard counts its Gets down to the one that the profile samples, and
// how many there were follows from that. The intervals between samples are
// geometrically distributed, so that every Get is as likely to be sampled as any
// other, whatever pattern the program has; the heap profile does the same with
// bytes.
//
// The countdown is the only counter on the fast path of Get. It is there without
// a profile as well: to decrement a word of the shard's first cache line and compare
// it with 1 costs 0.2 ns of a Get and Put of 7.7 (2 to 4 %), and to ask whether to do so
// would cost half of that.

// never is the interval of a pool without profile.
const never = 1 << 31

// A sampler says how often Gets of a pool are sampled. Set once in init.
type sampler struct {
	mean  float64 // Gets a sample; 0: no samples
	scale float64 // of the exponential distribution that rounds up to the geometric one of this mean
}

// samplerOf returns the sampler for a mean of rate bytes between samples, in slots
// of stride bytes. At least each Get is sampled, if any.
func samplerOf(rate int, stride uint32) sampler {
	if rate == 0 {
		return sampler{}
	}
	mean := max(float64(rate)/float64(stride), 1)
	return sampler{mean, -1 / math.Log1p(-1/mean)}
}

// interval draws how many Gets there are to the next sample, that one included.
func (s sampler) interval() uint32 {
	if s.mean == 0 {
		return never
	}
	return uint32(min(max(math.Ceil(rand.ExpFloat64()*s.scale), 1), never))
}

// count counts n Gets, at most 64, of which the fast path has counted none. It
// returns which of them are sampled.
func (s *shard) count(n uint32) (sampled uint64) {
	for done := uint32(0); ; {
		if s.sampleIn > n-done {
			s.sampleIn -= n - done
			return sampled
		}
		done += s.sampleIn
		if s.spec.sampler.mean != 0 {
			sampled |= 1 << (done - 1)
		}
		s.renew(s.spec.sampler.interval())
	}
}

// renew begins an interval. Owner only, or before others know of s. Three words change together
// that gets reads on any P: the first Add of renewals, to an odd number, tells it to wait, and the
// second publishes the three to its first Load of renewals, whose number is then even and the same
// in its second (a sequence lock, as Linux has it). The three are stored and loaded atomically, so
// that none of these steps is seen out of order.
func (s *shard) renew(interval uint32) {
	s.renewals.Add(1)
	s.countedGets.Add(uint64(s.interval))
	yieldPoint()
	atomic.StoreUint32(&s.interval, interval)
	yieldPoint()
	atomic.StoreUint32(&s.sampleIn, interval)
	s.renewals.Add(1)
}

// gets returns how many Gets were counted. Any P; also while the owner counts, and then one that
// is on its way to getSlow may be counted, not counted, and counted again.
func (s *shard) gets() uint64 {
	for n := 0; ; n++ {
		before := s.renewals.Load()
		yieldPoint()
		sum := s.countedGets.Load()
		yieldPoint()
		sum += uint64(atomic.LoadUint32(&s.interval)) - uint64(atomic.LoadUint32(&s.sampleIn))
		if before%2 == 0 && s.renewals.Load() == before {
			return sum
		}
		pause(n)
	}
}
