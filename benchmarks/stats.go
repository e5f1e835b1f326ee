package main

import (
	"math"
	"slices"
)

// A Spread is the median of figures of several processes, and how far they lie
// apart: from the second lowest to the second highest, so that one process that
// had bad luck does not speak for all. Of fewer than four it is all of them.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// spread returns that of xs, which must not be empty.
func spread(xs []float64) Spread {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	s := Spread{Median: (xs[(n-1)/2] + xs[n/2]) / 2, Low: xs[0], High: xs[n-1]}
	if n >= 4 {
		s.Low, s.High = xs[1], xs[n-2]
	}
	return s.round()
}

// round keeps results.json short; no figure is good for more.
func (s Spread) round() Spread {
	for _, x := range []*float64{&s.Median, &s.Low, &s.High} {
		*x = math.Round(*x*1000) / 1000
	}
	return s
}

// ratios returns the quotients of two sides, process by process: two figures of
// one process have its layout and its hour in common, two medians do not.
func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}
