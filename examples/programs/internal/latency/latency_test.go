package latency

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHistogram(t *testing.T) {
	var h, half Histogram
	for i := 1; i <= 1000; i++ {
		d := time.Duration(i) * time.Microsecond
		if i%2 == 0 {
			half.Record(d)
		} else {
			h.Record(d)
		}
	}
	h.Add(half)
	h.Add(Histogram{})
	text, err := json.Marshal(struct{ H Histogram }{h})
	require.NoError(t, err)
	var read struct{ H Histogram }
	require.NoError(t, json.Unmarshal(text, &read))
	for _, h := range []Histogram{h, read.H} {
		assert.Equal(t, 1000, h.Count())
		for q, want := range map[float64]float64{0.5: 500e3, 0.99: 990e3, 0.999: 999e3, 1: 1000e3} {
			assert.InEpsilon(t, want, float64(h.Quantile(q)), 0.01, q)
		}
	}
	n := 0
	for _, bar := range h.Bars() {
		assert.LessOrEqual(t, float64(bar.To-bar.From), float64(bar.From)/100)
		n += int(bar.Count)
	}
	assert.Equal(t, 1000, n)
	assert.Zero(t, testing.AllocsPerRun(100, func() { h.Record(time.Second) }))
}

func TestLimits(t *testing.T) {
	var h Histogram
	assert.Zero(t, h.Count())
	assert.Zero(t, h.Quantile(0.5))
	assert.Empty(t, h.Bars())
	text, err := json.Marshal(h)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &h))
	assert.Zero(t, h.Count())

	h.Record(-1)
	h.Record(0)
	assert.Zero(t, h.Quantile(1))
	h.Record(math.MaxInt64)
	assert.InEpsilon(t, float64(longest), float64(h.Quantile(1)), 0.01)
	assert.Equal(t, 3, h.Count())
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 1234: "1.23µs", 56_789_012: "56.8ms", 2_345_678_901: "2.35s",
	} {
		assert.Equal(t, want, Short(d))
	}
}
