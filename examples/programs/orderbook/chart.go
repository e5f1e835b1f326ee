package main

import (
	"fmt"
	"math"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/latency"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// writeChart draws how long the messages took, by percentile. The results must be in the order of
// variants.
func writeChart(path string, results []result) error {
	p, err := newChart(results)
	if err != nil {
		return err
	}
	return chart.WritePlot(path, p, 9*vg.Inch, 5*vg.Inch, vg.Points(28))
}

// newChart makes both axes logarithmic. From each tick on the X axis to the next, the share of
// slower messages falls to a tenth. That shows the slowest messages, where the collector has its
// effect.
func newChart(results []result) (*plot.Plot, error) {
	p := chart.New(fmt.Sprintf("Latency of %d messages", results[0].Latency.Count()))
	p.X.Label.Text = "share of messages that took no longer"
	p.Y.Label.Text = "time per message"
	p.Y.Scale = plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = nineTicks{}, chart.Decades(chart.Nanoseconds)
	chart.Grid(p, true)
	var lines []chart.Line
	low, high := time.Duration(math.MaxInt64), time.Duration(1)
	for i, r := range results {
		name := fmt.Sprintf("%s: %d collections", variants[i], r.GC.Cycles)
		lines = append(lines, chart.Line{Name: name, Points: curve(r.Latency)})
		low, high = min(low, r.Latency.Quantile(firstShare)), max(high, r.Latency.Quantile(1))
	}
	if err := chart.AddLines(p, lines); err != nil {
		return nil, err
	}
	p.X.Min = nines(firstShare)
	p.X.Max = math.Ceil(nines(1 - 1/float64(max(results[0].Latency.Count(), 2))))
	p.Y.Min = decade(low, math.Floor)
	p.Y.Max = max(decade(high, math.Ceil), 10*p.Y.Min)
	return p, nil
}

// firstShare is where the curves begin.
const firstShare = 0.1

// nines returns 1 for a share of 90 %, 2 for 99 %, and so on.
func nines(share float64) float64 { return -math.Log10(1 - share) }

// decade returns a power of ten next to d, in nanoseconds. round chooses the one below or above.
func decade(d time.Duration, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Log10(float64(max(d, 1)))))
}

// curve returns a point for each bar. The share of the last one would be 1, which is infinitely far
// to the right. curve puts that point at the share of all messages but one.
func curve(h latency.Histogram) plotter.XYs {
	var xys plotter.XYs
	seen, all := 0, h.Count()
	for _, bar := range h.Bars() {
		seen += int(bar.Count)
		share := float64(min(seen, all-1)) / float64(max(all, 2))
		if share >= firstShare || seen == all {
			xys = append(xys, plotter.XY{X: nines(max(share, firstShare)), Y: float64(max(bar.To, 1))})
		}
	}
	return xys
}

// nineTicks are at 50 %, 90 %, 99 %, and so on.
type nineTicks struct{}

func (nineTicks) Ticks(lo, hi float64) []plot.Tick {
	ticks := []plot.Tick{{Value: nines(0.5), Label: "50 %"}}
	for n := 1; float64(n) <= hi; n++ {
		decimals := max(n-2, 0)
		ticks = append(ticks, plot.Tick{
			Value: float64(n),
			Label: fmt.Sprintf("%.*f %%", decimals, 100-math.Pow(10, float64(2-n))),
		})
	}
	return ticks
}
