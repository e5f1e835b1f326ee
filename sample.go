package pool

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Sampling. A shard counts its Gets down to the one that the profile samples. How many Gets there
// were follows from the countdown. The intervals between samples are geometrically distributed, so
// that every Get is as likely to be sampled as any other, whatever pattern the program has. The
// heap profile does the same with bytes.
//
// The countdown is the only counter on the fast path of Get. Pools without a profile have it too.
// To decrement a word of the shard's first cache line and compare it with 1 costs 2 to 4 % of a Get
// and its Put. To ask first whether to do so would cost half of that.

// never is the interval of a pool without a profile.
const never = 1 << 31

// A sampler says how often Gets of a pool are sampled. It is set once, in New.
type sampler struct {
	mean  float64 // Gets for each sample; 0: no samples
	scale float64 // of the exponential distribution that rounds up to the geometric one of this mean
}

// samplerOf returns the sampler for a mean of rate bytes between samples, in slots of stride bytes.
// If slots have rate bytes or more, every Get is sampled. Rate 0 means no samples.
func samplerOf(rate int, stride uint32) sampler {
	if rate == 0 {
		return sampler{}
	}
	mean := max(float64(rate)/float64(stride), 1)
	return sampler{mean, -1 / math.Log1p(-1/mean)}
}

// interval draws the number of Gets up to the next sample, the sampled one included.
func (s sampler) interval() uint32 {
	if s.mean == 0 {
		return never
	}
	return uint32(min(max(math.Ceil(rand.ExpFloat64()*s.scale), 1), never))
}

// count counts n Gets, at most 64, that the fast path has not counted. It returns which of them are
// sampled: bit k stands for the Get with index k. Owner only.
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

// renew begins an interval. Owner only, or before others know of s.
//
// It changes three words together, which gets reads on any P. The first Add makes renewals odd,
// which tells gets to wait. The second Add publishes the three words to the first Load of renewals
// in gets, which then finds an even number, and the same one in its second Load. (This is a
// sequence lock, as in Linux.) The three words are stored and loaded atomically, so that none of
// these steps is seen out of order.
func (s *shard) renew(interval uint32) {
	s.renewals.Add(1)
	s.countedGets.Add(uint64(s.interval))
	yieldPoint()
	atomic.StoreUint32(&s.interval, interval)
	yieldPoint()
	atomic.StoreUint32(&s.sampleIn, interval)
	s.renewals.Add(1)
}

// gets returns how many Gets were counted. Any P, also while the owner counts. In that case, a Get
// on its way to tryGet may be counted in one call, not in the next, and again in the one after.
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
