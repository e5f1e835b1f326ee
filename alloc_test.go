package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Nothing of a slot's size is made on the Go heap, however large slots are.
func TestLargeSlotsDoNotAllocate(t *testing.T) {
	if watchAll {
		t.Skip("this build keeps records of slots")
	}
	p := newStill[[MaxSlotSize]byte](t)
	xs := make([]*[MaxSlotSize]byte, 3)
	for name, pair := range map[string]func(){
		"Get":      func() { p.Put(p.Get()) },
		"TryGet":   func() { x, _ := p.TryGet(); p.Put(x) },
		"GetBatch": func() { p.GetBatch(xs); p.PutBatch(xs) },
	} {
		pair()
		assert.Zero(t, testing.AllocsPerRun(10, pair), name)
	}
}
