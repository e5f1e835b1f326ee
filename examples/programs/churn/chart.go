package main

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// writeChart draws four panels: slow Gets, and the rates in each of the three orders.
func writeChart(path string, rows []row) error {
	panels := [][]*plot.Plot{
		{slowPanel(rows), ratePanel(rows, firstIn)},
		{ratePanel(rows, lastIn), ratePanel(rows, shuffled)},
	}
	sameScale(panels[0][1], panels[1][0], panels[1][1])
	tiles := draw.Tiles{
		Rows: 2, Cols: 2,
		PadX: vg.Points(24), PadY: vg.Points(18),
		PadTop: vg.Points(10), PadBottom: vg.Points(10), PadLeft: vg.Points(10), PadRight: vg.Points(10),
	}
	return chart.Write(path, 11*vg.Inch, 8.5*vg.Inch, func(c draw.Canvas) {
		canvases := plot.Align(panels, tiles, c)
		for i := range panels {
			for j, p := range panels[i] {
				p.Draw(canvases[i][j])
			}
		}
	})
}

// slowPanel shows, for each configuration, the order with the most slow Gets. A bar of height 0
// thus means that no order had any.
func slowPanel(rows []row) *plot.Plot {
	var names []string
	var off, on plotter.Values
	for _, c := range configurations {
		var a, b float64
		for _, r := range rows {
			if r.configuration.name == c.name {
				a = max(a, r.off.perRound(r.off.slowGets))
				b = max(b, r.on.perRound(r.on.slowGets))
			}
		}
		names, off, on = append(names, c.name), append(off, a), append(on, b)
	}
	return panel("Slow Gets after warm-up (maximum of the three orders)", "slow Gets per round", names, off, on, exact)
}

func ratePanel(rows []row, o order) *plot.Plot {
	var names []string
	var off, on plotter.Values
	for _, r := range rows {
		if r.order == o {
			names = append(names, r.configuration.name)
			off, on = append(off, r.off.rate/1e6), append(on, r.on.rate/1e6)
		}
	}
	return panel(fmt.Sprintf("Allocation rate, put back %s", o), "million allocations/s", names, off, on, whole)
}

func whole(x float64) string { return fmt.Sprintf("%.0f", x) }

// exact formats x with decimals unless it is a whole number.
func exact(x float64) string {
	if x == math.Trunc(x) {
		return whole(x)
	}
	return short(x)
}

// sameScale gives the panels the same Y axis, so that the eye can compare them.
func sameScale(panels ...*plot.Plot) {
	var top float64
	for _, p := range panels {
		top = max(top, p.Y.Max)
	}
	for _, p := range panels {
		p.Y.Max = top
	}
}

const barWidth = vg.Length(16)

// panel draws the bars of off and on side by side for each name, with the value over each bar.
func panel(title, yLabel string, names []string, off, on plotter.Values, label func(float64) string) *plot.Plot {
	p := chart.NewPanel(title)
	p.Y.Label.Text = yLabel
	add := func(name string, values plotter.Values, offset vg.Length, c color.Color) {
		var labels []string
		for _, v := range values {
			labels = append(labels, label(v))
		}
		p.Legend.Add(name, chart.AddBars(p, values, labels, barWidth, offset, c))
	}
	add("off: pages are retired as in mimalloc", off, -barWidth/2, color.Gray{Y: 0xb4})
	add("on: pages are retired as in this library", on, barWidth/2, chart.Pool)

	for i, name := range names {
		names[i] = strings.TrimPrefix(name, "churn-")
	}
	p.NominalX(names...)
	p.X.Label.Text = "configuration (churn-…)"
	p.X.Tick.Label.Rotation = math.Pi / 6
	p.X.Tick.Label.XAlign = text.XRight
	p.X.Tick.Label.YAlign = text.YTop // keeps the rotated labels below the axis
	p.Y.Tick.Marker = chart.Labels(whole)
	p.Y.Max *= 1.35 // room for the legend above the bars
	return p
}
