package main

import (
	"fmt"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// writeChart draws the resident memory of the two servers over time.
func writeChart(path string, w workload, results []result) error {
	p, err := newChart(w, results)
	if err != nil {
		return err
	}
	return chart.WritePlot(path, p, 9*vg.Inch, 4.5*vg.Inch, vg.Points(12))
}

func newChart(w workload, results []result) (*plot.Plot, error) {
	p := chart.New(fmt.Sprintf("A server with %d sessions, and %d more during a burst", w.Members, w.Visitors))
	p.X.Label.Text = "seconds since the steady phase began"
	p.Y.Label.Text = "resident memory of the server, MiB"
	var top float64
	for _, r := range results {
		for _, at := range r.Watched {
			top = max(top, float64(at.Resident)/mib)
			p.X.Max = max(p.X.Max, at.At.Seconds())
		}
	}
	p.X.Min, p.Y.Min = 0, 0
	p.X.Max = max(p.X.Max, 1)
	p.Y.Max = max(top, 1) * 1.3 // room for the legend above the lines
	p.X.Tick.Marker, p.Y.Tick.Marker = chart.RoundTicks{}, chart.RoundTicks{}
	from, to := w.Steady.Seconds(), (w.Steady + max(w.Burst, time.Millisecond)).Seconds() // as planned
	band, err := chart.AddBand(p, from, to, p.Y.Max/1.25)
	if err != nil {
		return nil, err
	}
	chart.Grid(p, false)
	var lines []chart.Line
	for _, r := range results {
		line := chart.Line{Name: r.Variant.String()}
		for _, at := range r.Watched {
			line.Points = append(line.Points, plotter.XY{X: at.At.Seconds(), Y: float64(at.Resident) / mib})
		}
		if len(line.Points) == 0 {
			line.Points = plotter.XYs{{}} // a line needs at least one point
		}
		lines = append(lines, line)
	}
	if err := chart.AddLines(p, lines); err != nil {
		return nil, err
	}
	p.Legend.Add("burst", band)
	return p, nil
}
