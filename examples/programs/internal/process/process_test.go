package process

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestResident(t *testing.T) {
	before := ReadResident()
	if runtime.GOOS != "linux" {
		t.Skip("unknown here")
	}
	assert.True(t, before.Known)
	now, ok := ResidentNow()
	assert.True(t, ok)
	assert.InDelta(t, before.Now, now, 8<<20)
	assert.Positive(t, before.Now)
	const more = 64 << 20
	b := make([]byte, more)
	for i := range b {
		b[i] = 1
	}
	after := ReadResident()
	assert.Greater(t, after.Now, before.Now+more/2)
	assert.GreaterOrEqual(t, after.Peak, after.Now)
	runtime.KeepAlive(b)
}

func TestCollections(t *testing.T) {
	before, cpu := ReadCollections(), CPU()
	for range 10 {
		runtime.GC()
	}
	since := ReadCollections().Since(before)
	assert.EqualValues(t, 10, since.Cycles)
	assert.Positive(t, since.Pause)
	assert.Positive(t, since.CPU)
	if runtime.GOOS != "windows" {
		assert.Greater(t, CPU(), cpu)
	}
}
