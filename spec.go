package pool

import (
	"fmt"

	"github.com/warmpage/pool/internal/hook"
)

// A spec is what a pool was made to be: the shape of its slots, and what the options of New say.
// It is set once, in New, and every storey of the pool reads it. A page points to the spec of its
// pool; that is how Put tells the slots of one pool from those of another.
type spec struct {
	geo        geometry
	size       uintptr // of an object, in bytes; geo.stride is at least that
	id         uint64  // no other pool of the process has it
	name       string  // WithName
	typeName   string  // T, as in main.Order
	maxPages   int     // WithLimit; 0: no limit
	warmPages  int     // WithWarmPages
	sampler    sampler // WithProfile
	guardEvery uint32  // WithGuardSampling: slow Gets for each one that is guarded; 0: none is
	promotion  uint32  // hook.Reset, except where its worth is measured
}

// newSpec returns the spec of a pool for objects of size bytes, or says which option makes no
// sense.
func newSpec(size uintptr, typeName string, o options) (spec, error) {
	sp := spec{
		size:      size,
		name:      o.name,
		typeName:  typeName,
		warmPages: o.warmPages,
		promotion: hook.Promotion.Load(),
	}
	if err := o.checkAlign(&sp); err != nil {
		return sp, err
	}
	sp.geo = geometryOf(strideOf(size, uintptr(o.align)))
	if err := o.check(&sp); err != nil {
		return sp, err
	}
	sp.maxPages = int(min(o.limit/int64(sp.geo.pageSize), maxInt))
	sp.sampler = samplerOf(o.profileRate, sp.geo.stride)
	if offHeap {
		sp.guardEvery = uint32(o.guardEvery)
	}
	return sp, nil
}

const maxInt = int64(^uint(0) >> 1)

// String names the pool in messages: pool "orders" (main.Order).
func (sp *spec) String() string {
	if sp.name == "" {
		return fmt.Sprintf("pool (%s)", sp.typeName)
	}
	return fmt.Sprintf("pool %q (%s)", sp.name, sp.typeName)
}
