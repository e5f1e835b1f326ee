//go:build !race

package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What the process has reserved is in what the system says that it has.
func TestAddressSpace(t *testing.T) {
	before := addressSpace()
	require.GreaterOrEqual(t, before, uint64(ReadMemory().Reserved))
	const size = 64 << 20
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, addressSpace(), before+size/2) // others may have given some back
	require.NoError(t, unix.Munmap(mem))
}
