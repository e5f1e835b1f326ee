package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 11 * vg.Inch
	chartHeight = 4.6 * vg.Inch
)

// The colours differ in lightness as well as in hue.
var colors = map[side]color.Color{
	pooled: color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff},
	listed: color.RGBA{R: 0xe3, G: 0x9a, B: 0x4a, A: 0xff},
}

// writeChart draws the latencies, and next to them the costs of the collector and of memory.
func writeChart(path string, o options, results []result) error {
	panels := []*plot.Plot{latencyPanel(results), sharePanel(results), gcPanel(results)}
	if results[0].After.Known {
		panels = append(panels, residentPanel(results))
	}
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // also between the panels, for viewers with a dark background
	canvas.Fill(canvas.Rectangle.Path())
	head := text.Style{Font: font.From(sans, 12), Color: color.Black, XAlign: text.XCenter, YAlign: text.YTop, Handler: plot.DefaultTextHandler}
	canvas.FillText(head, vg.Point{X: chartWidth / 2, Y: chartHeight - vg.Points(8)}, heading(o, results[0]))

	// The latencies get twice the width of another panel.
	const pad = vg.Length(10)
	unit := (chartWidth - 2*pad) / vg.Length(len(panels)+1)
	left := pad
	for i, p := range panels {
		width := unit
		if i == 0 {
			width = 2 * unit
		}
		p.Draw(draw.Crop(canvas, left, left+width-pad-chartWidth, pad, -vg.Points(32)))
		left += width
	}
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
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
			values, labels = append(values, height(d)), append(labels, short(d))
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
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs = vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	return p
}

func sharePanel(results []result) *plot.Plot {
	p := newPanel("GC, % of CPU time", []string{"whole run"})
	for i, r := range results {
		v := 100 * r.gcShare()
		addBars(p, r.Side, i, plotter.Values{v}, []string{fmt.Sprintf("%.1f %%", v)})
	}
	return fromZero(p)
}

func gcPanel(results []result) *plot.Plot {
	p := newPanel("One runtime.GC(), ms", []string{"cache full"})
	for i, r := range results {
		addBars(p, r.Side, i, plotter.Values{r.OneGC.Seconds() * 1e3}, []string{short(r.OneGC)})
	}
	return fromZero(p)
}

func residentPanel(results []result) *plot.Plot {
	p := newPanel("Resident, MiB", []string{"peak"})
	for i, r := range results {
		v := mebibytes(r.After.Peak)
		addBars(p, r.Side, i, plotter.Values{v}, []string{fmt.Sprintf("%.0f", v)})
	}
	return fromZero(p)
}

// newPanel returns a plot with room for a group of bars over each name.
func newPanel(title string, names []string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = color.Gray{Y: 0xe0}
	p.Add(grid)
	p.NominalX(names...)
	for _, s := range []struct {
		style *text.Style
		size  vg.Length
	}{{&p.Title.TextStyle, 10}, {&p.X.Tick.Label, 9}, {&p.Y.Tick.Label, 9}, {&p.Legend.TextStyle, 9}} {
		s.style.Font = font.From(sans, s.size)
	}
	return p
}

// addBars draws one side's bar in each group, with its label above it.
func addBars(p *plot.Plot, s side, i int, values plotter.Values, labels []string) *plotter.BarChart {
	const width, pitch = vg.Length(20), vg.Length(28) // a label is wider than its bar
	offset := pitch * (vg.Length(i) - 0.5)
	bars := &plotter.BarChart{Values: values, Width: width, Offset: offset, Color: colors[s]}
	above := &plotter.Labels{Offset: vg.Point{X: offset, Y: vg.Points(2)}, Labels: labels}
	for k, v := range values {
		above.XYs = append(above.XYs, plotter.XY{X: float64(k), Y: v})
		above.TextStyle = append(above.TextStyle, text.Style{
			Font: font.From(sans, 7), Color: color.Black, XAlign: text.XCenter, Handler: plot.DefaultTextHandler,
		})
	}
	p.Add(bars, above)
	// Add has widened the axes by its own idea of the bars' extent: set them again.
	p.X.Min, p.X.Max = -0.6, float64(len(values))-0.4
	p.Y.Min = 0
	return bars
}

// fromZero makes the Y axis start at 0 and leaves room above the bars, even if all of them are 0.
func fromZero(p *plot.Plot) *plot.Plot {
	p.Y.Min = 0
	p.Y.Max = max(p.Y.Max*1.15, 1)
	p.Y.Tick.Marker = plainTicks{}
	return p
}

// plainTicks are the default ticks, labelled with plain numbers.
type plainTicks struct{}

func (plainTicks) Ticks(lo, hi float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lo, hi)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = fmt.Sprintf("%.4g", ticks[i].Value)
			if ticks[i].Value >= 1000 {
				ticks[i].Label = fmt.Sprintf("%.0f", ticks[i].Value)
			}
		}
	}
	return ticks
}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}
