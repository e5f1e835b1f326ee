package pool

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every length has the class that is the smallest one with room for it.
func TestClasses(t *testing.T) {
	class, size := classOf(MaxSlotSize)
	assert.EqualValues(t, classCount-1, class)
	assert.Equal(t, MaxSlotSize, size)
	class, size = classOf(0)
	assert.Zero(t, class)
	assert.Equal(t, 16, size)
	for class := range classCount {
		below := 0
		if class > 0 {
			below = sizeOfClass(class - 1)
		}
		most := sizeOfClass(class)
		if class < 8 {
			assert.Equal(t, below+16, most)
		} else {
			assert.LessOrEqual(t, most-(below+1), (below+1)/8, "an eighth of the length")
		}
		for _, n := range []int{below + 1, (below + 1 + most) / 2, most - 1, most} {
			got, size := classOf(uint(n))
			require.EqualValues(t, class, got, n)
			require.Equal(t, most, size, n)
		}
	}
	for _, n := range []int{MaxSlotSize + 1, 2 * MaxSlotSize, 1 << 30, math.MaxInt, -1, -math.MaxInt, math.MinInt} {
		class, _ := classOf(uint(n))
		assert.GreaterOrEqual(t, class, uint(classCount), n)
	}
}

// Every length up to a few doublings, one by one.
func TestClassesOfAllSizes(t *testing.T) {
	for n := range 8 << 10 {
		class, size := classOf(uint(n))
		require.Equal(t, sizeOfClass(int(class)), size)
		require.GreaterOrEqual(t, size, n)
		if n > 128 {
			require.LessOrEqual(t, (size-n)*8, n)
		}
		if class > 0 {
			require.Less(t, sizeOfClass(int(class)-1), n)
		}
	}
}

// Both places of memory.
var bothBytes = map[string][]Option{"heap": nil, "off-heap": {WithOffHeap()}}

func TestBytes(t *testing.T) {
	for name, opts := range bothBytes {
		t.Run(name, func(t *testing.T) {
			b := NewBytes(append(opts, WithName("bodies"))...)
			s := b.Get(100)
			assert.Len(t, s, 100)
			assert.Equal(t, 112, cap(s))
			assert.True(t, b.Owns(s))
			assert.Equal(t, 1, b.Stats().Live)
			b.Put(s[5:])
			assert.Zero(t, b.Stats().Live)
			requirePanic(t, ErrDoublePut, func() { b.Put(s) })
			s = b.Grow(append(b.Get(0), "hello"...), 100)
			assert.Equal(t, "hello", string(s))
			assert.False(t, b.TryPut(make([]byte, 10)))
			b.Put(s)
			assert.NoError(t, b.Close())
		})
	}
}
