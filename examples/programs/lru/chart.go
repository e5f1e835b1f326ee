package main

import (
	"fmt"
	"image/color"
	"math"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"github.com/warmpage/pool/examples/programs/internal/latency"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	chartWidth  = 11 * vg.Inch
	chartHeight = 4.6 * vg.Inch
)

// writeChart draws the latencies, and next to them the costs of the collector and of memory.
func writeChart(path string, o options, results []result) error {
	panels := []*plot.Plot{latencyPanel(results), sharePanel(results), gcPanel(results)}
	if results[0].After.Known {
		panels = append(panels, residentPanel(results))
	}
	return chart.Write(path, chartWidth, chartHeight, func(c draw.Canvas) {
		head := chart.Text(12)
		head.XAlign, head.YAlign = text.XCenter, text.YTop
		c.FillText(head, vg.Point{X: chartWidth / 2, Y: chartHeight - vg.Points(8)}, heading(o, results[0]))

		// The latencies get twice the width of another panel.
		const pad = vg.Length(10)
		unit := (chartWidth - 2*pad) / vg.Length(len(panels)+1)
		left := pad
		for i, p := range panels {
			width := unit
			if i == 0 {
				width = 2 * unit
			}
			p.Draw(draw.Crop(c, left, left+width-pad-chartWidth, pad, -vg.Points(32)))
			left += width
		}
	})
}

func heading(o options, r result) string {
	from := fmt.Sprintf("Zipf %v", o.plan.Skew)
	if o.plan.Trace != "" {
		from = "trace from a file"
	}
	return fmt.Sprintf("LRU cache of %d entries, %d operations, %s, hit rate %.1f %%",
		o.plan.Entries, r.Ops, from, 100*float64(r.Hits)/float64(r.Ops))
}

// latencyFloor is where the axis of latencies begins. No operation is that fast.
const latencyFloor = 10 * time.Nanosecond

// latencyPanel has a logarithmic scale, because the maximum is some ten thousand times the median.
// It draws logarithms on a linear axis: bars begin at 0, which a logarithmic axis does not have.
func latencyPanel(results []result) *plot.Plot {
	height := func(d time.Duration) float64 {
		return max(math.Log10(float64(d)/float64(latencyFloor)), 0)
	}
	names := []string{"p50", "p99", "p99.9", "max"}
	p := newPanel("Latency of an operation (logarithmic)", names)
	for i, r := range results {
		var values plotter.Values
		var labels []string
		for _, d := range []time.Duration{r.P50, r.P99, r.P999, r.Max} {
			values, labels = append(values, height(d)), append(labels, latency.Short(d))
		}
		p.Legend.Add(string(r.Side), addBars(p, r.Side, i, values, labels))
	}
	top := math.Ceil(p.Y.Max + 0.2)
	var ticks plot.ConstantTicks
	for k := range int(top) + 1 {
		d := latencyFloor * time.Duration(math.Pow10(k))
		ticks = append(ticks, plot.Tick{Value: float64(k), Label: d.String()})
	}
	p.Y.Tick.Marker = ticks
	p.Y.Max = top + 0.6 // room for the legend
	return p
}

func sharePanel(results []result) *plot.Plot {
	p := newPanel("GC, % of CPU time", []string{"whole run"})
	for i, r := range results {
		v := 100 * r.gcShare()
		addBars(p, r.Side, i, plotter.Values{v}, []string{fmt.Sprintf("%.1f %%", v)})
	}
	return roomAbove(p)
}

func gcPanel(results []result) *plot.Plot {
	p := newPanel("One runtime.GC(), ms", []string{"cache full"})
	for i, r := range results {
		addBars(p, r.Side, i, plotter.Values{r.OneGC.Seconds() * 1e3}, []string{latency.Short(r.OneGC)})
	}
	return roomAbove(p)
}

func residentPanel(results []result) *plot.Plot {
	p := newPanel("Resident, MiB", []string{"peak"})
	for i, r := range results {
		v := mebibytes(r.After.Peak)
		addBars(p, r.Side, i, plotter.Values{v}, []string{fmt.Sprintf("%.0f", v)})
	}
	return roomAbove(p)
}

// newPanel returns a plot with room for a group of bars over each name.
func newPanel(title string, names []string) *plot.Plot {
	p := chart.NewPanel(title)
	p.NominalX(names...)
	return p
}

// addBars draws one side's bar in each group, with its label above it.
func addBars(p *plot.Plot, s side, i int, values plotter.Values, labels []string) *plotter.BarChart {
	const width, pitch = vg.Length(20), vg.Length(28) // a label is wider than its bar
	colors := map[side]color.Color{pooled: chart.Pool, listed: chart.Other}
	return chart.AddBars(p, values, labels, width, pitch*(vg.Length(i)-0.5), colors[s])
}

// roomAbove leaves room above the bars, even if all of them are 0.
func roomAbove(p *plot.Plot) *plot.Plot {
	p.Y.Max = max(p.Y.Max*1.15, 1)
	p.Y.Tick.Marker = chart.Labels(plain)
	return p
}

// plain formats a number without an exponent.
func plain(x float64) string {
	if x >= 1000 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.4g", x)
}
