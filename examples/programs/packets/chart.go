package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/latency"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// writeChart draws, for both sides, which share of the packets took longer than a given time.
func writeChart(path string, results []result) error {
	p, err := newChart(results)
	if err != nil {
		return err
	}
	return chart.WritePlot(path, p, 9*vg.Inch, 5*vg.Inch, vg.Points(16))
}

func newChart(results []result) (*plot.Plot, error) {
	p := chart.New("UDP over loopback: how long packets take from send to parse")
	p.X.Label.Text = "from send to parse"
	p.Y.Label.Text = "packets that took longer"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = chart.Decades(chart.Nanoseconds)
	p.Y.Tick.Marker = chart.Decades(func(y float64) string { return strconv.FormatFloat(y*100, 'g', 4, 64) + " %" })
	chart.Grid(p, true)
	var lines []chart.Line
	for _, r := range results {
		name := fmt.Sprintf("%s: %.0f packets/s, %d allocations", r.Plan.Side, r.perSecond(r.Counts.Parsed), r.Mallocs)
		lines = append(lines, chart.Line{Name: name, Points: slower(r.Counts.Latency)})
	}
	if err := chart.AddLines(p, lines); err != nil {
		return nil, err
	}
	setRanges(p)
	// The legend is at the bottom, where no line passes.
	p.Legend.Top = false
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(8), vg.Points(8)
	return p, nil
}

// slower returns, for the end of each bar, the share of durations that are longer. It leaves out the
// last bar, because the logarithm of 0 cannot be drawn.
func slower(h latency.Histogram) plotter.XYs {
	points := plotter.XYs{{X: 1, Y: 1}} // a line needs at least one point
	rest := h.Count()
	for i, bar := range h.Bars() {
		if i == 0 {
			points[0].X = float64(max(bar.From, 1))
		}
		if rest -= int(bar.Count); rest > 0 {
			points = append(points, plotter.XY{X: float64(bar.To + 1), Y: float64(rest) / float64(h.Count())})
		}
	}
	return points
}

// setRanges widens the axes of p to whole decades, and to at least one.
func setRanges(p *plot.Plot) {
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Min = math.Pow(10, math.Floor(math.Log10(axis.Min)+1e-9))
		axis.Max = math.Pow(10, math.Ceil(math.Log10(axis.Max)-1e-9))
		if axis.Max < axis.Min*9 {
			axis.Min = axis.Max / 10
		}
	}
}
