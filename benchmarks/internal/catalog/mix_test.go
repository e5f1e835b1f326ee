package catalog

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMixSizes(t *testing.T) {
	sizes := MixSizes(4096)
	assert.Equal(t, sizes, MixSizes(4096))
	assert.False(t, slices.IsSorted(sizes))
	slices.Sort(sizes)
	assert.EqualValues(t, 8, sizes[0])
	assert.InDelta(t, 256, sizes[2048], 8, "the median")
	assert.InDelta(t, 1<<10, sizes[4096*863/1000], 16)
	assert.Greater(t, sizes[4095], int32(512<<10))
	assert.LessOrEqual(t, sizes[4095], int32(1<<20))
}
