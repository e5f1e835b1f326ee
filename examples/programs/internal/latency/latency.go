// Package latency counts durations, and says how they are distributed.
package latency

import (
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest duration that is told from longer ones.
const longest = time.Hour

// A Histogram counts durations. What it says of them is exact to 1 %. The zero value is ready for
// use: the first duration allocates 37 KiB, and no other allocates. A copy of a Histogram with
// durations is the same histogram. One goroutine at a time may use it.
type Histogram struct{ h *hdrhistogram.Histogram }

// Record counts a duration. A negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	if h.h == nil {
		h.init()
	}
	_ = h.h.RecordValue(int64(min(max(d, 0), longest))) // it cannot be too long
}

func (h *Histogram) init() { h.h = hdrhistogram.New(1, int64(longest), 2) }

// Add counts all durations of another histogram.
func (h *Histogram) Add(other Histogram) {
	if other.h == nil {
		return
	}
	if h.h == nil {
		h.init()
	}
	h.h.Merge(other.h)
}

// Count returns the number of durations.
func (h Histogram) Count() int {
	if h.h == nil {
		return 0
	}
	return int(h.h.TotalCount())
}

// Quantile returns the duration that the share q of all durations did not exceed, or 0 if there are
// none. Quantile(1) is the longest one.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.h == nil {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(100 * q))
}

// Bars returns the durations that are not told from each other, and how many there are.
func (h Histogram) Bars() (bars []hdrhistogram.Bar) {
	if h.h == nil {
		return nil
	}
	for _, bar := range h.h.Distribution() {
		if bar.Count > 0 {
			bars = append(bars, bar)
		}
	}
	return bars
}

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	if h.h == nil {
		return []byte("null"), nil
	}
	return json.Marshal(h.h.Export())
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var s *hdrhistogram.Snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	h.h = nil
	if s != nil {
		h.h = hdrhistogram.Import(s)
	}
	return nil
}

// Short formats d, rounded to three digits.
func Short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
