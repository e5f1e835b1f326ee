package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Memory of the system, or what takes its place, is as aligned as slots may be.
func TestReserveIsAligned(t *testing.T) {
	assert.Zero(t, osPageSize%maxAlign)
	for range 3 {
		mem, err := osReserve(4 << 20)
		require.NoError(t, err)
		assert.Len(t, mem, 4<<20)
		assert.Zero(t, addressOf(mem)%maxAlign)
	}
}
