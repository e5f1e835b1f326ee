package chart

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTryFile(t *testing.T) {
	assert.NoError(t, TryFile(""))
	assert.ErrorContains(t, TryFile(t.TempDir()), "-svg: open ")
	path := filepath.Join(t.TempDir(), "chart.svg")
	require.NoError(t, TryFile(path))
	assert.NoFileExists(t, path, "it leaves nothing")

	require.NoError(t, os.WriteFile(path, []byte("old"), 0o666))
	require.NoError(t, TryFile(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))

	err = WritePlot(filepath.Join(t.TempDir(), "missing", "chart.svg"), New("none"), 100, 100, 0)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestRoundTicks(t *testing.T) {
	for hi, want := range map[float64][]string{
		16.2: {"0", "2", "4", "6", "8", "10", "12", "14", "16"},
		0.1:  {"0", "0.01", "0.02", "0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.09", "0.1"},
		296:  {"0", "50", "100", "150", "200", "250"},
		1e6:  {"0", "100000", "200000", "300000", "400000", "500000", "600000", "700000", "800000", "900000", "1e+06"},
	} {
		var got []string
		for _, tick := range (RoundTicks{}).Ticks(0, hi) {
			got = append(got, tick.Label)
		}
		assert.Equal(t, want, got, hi)
	}
}

func TestDecades(t *testing.T) {
	ticks := Decades(Nanoseconds).Ticks(1e3, 1e6)
	assert.Len(t, ticks, 4+3*8)
	assert.Equal(t, "1µs", ticks[0].Label)
	assert.Equal(t, "1ms", ticks[27].Label)
}
