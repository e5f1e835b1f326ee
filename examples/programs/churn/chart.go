package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"

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
	chartHeight = 8.5 * vg.Inch
	barWidth    = vg.Length(16)
)

// The colours differ in lightness as well as in hue.
var (
	offColor = color.RGBA{R: 0xb4, G: 0xb4, B: 0xb4, A: 0xff}
	onColor  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
)

// writeChart draws four panels: slow Gets, and the rates in each of the three orders.
func writeChart(path string, rows []row) error {
	panels := [][]*plot.Plot{
		{slowPanel(rows), ratePanel(rows, firstIn)},
		{ratePanel(rows, lastIn), ratePanel(rows, shuffled)},
	}
	sameScale(panels[0][1], panels[1][0], panels[1][1])
	svg := vgsvg.New(chartWidth, chartHeight)
	tiles := draw.Tiles{
		Rows: 2, Cols: 2,
		PadX: vg.Points(24), PadY: vg.Points(18),
		PadTop: vg.Points(10), PadBottom: vg.Points(10), PadLeft: vg.Points(10), PadRight: vg.Points(10),
	}
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // also between the panels, for viewers with a dark background
	canvas.Fill(canvas.Rectangle.Path())
	canvases := plot.Align(panels, tiles, canvas)
	for i := range panels {
		for j, p := range panels[i] {
			p.Draw(canvases[i][j])
		}
	}
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
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

// panel draws the bars of off and on side by side for each name, with the value over each bar.
func panel(title, yLabel string, names []string, off, on plotter.Values, label func(float64) string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	p.Y.Label.Text = yLabel
	p.Add(yGrid())
	p.Legend.Top = true
	p.Legend.Left = true
	p.Legend.XOffs = vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	addBars(p, "off: pages are retired as in mimalloc", off, -barWidth/2, offColor, label)
	addBars(p, "on: pages are retired as in this library", on, barWidth/2, onColor, label)

	for i, name := range names {
		names[i] = strings.TrimPrefix(name, "churn-")
	}
	p.NominalX(names...)
	p.X.Label.Text = "configuration (churn-…)"
	p.X.Tick.Label.Rotation = math.Pi / 6
	p.X.Tick.Label.XAlign = text.XRight
	p.X.Tick.Label.YAlign = text.YTop // keeps the rotated labels below the axis
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	p.Y.Tick.Marker = wholeTicks{}
	p.Y.Min = 0
	p.Y.Max *= 1.35 // room for the legend above the bars
	useSans(p)
	return p
}

func addBars(p *plot.Plot, name string, values plotter.Values, offset vg.Length, c color.Color, label func(float64) string) {
	bars := &plotter.BarChart{Values: values, Width: barWidth, Offset: offset, Color: c}
	p.Add(bars, valueLabels(values, offset, label))
	p.Legend.Add(name, bars)
}

// valueLabels puts each value over its bar, because a bar of height 0 is invisible.
func valueLabels(values plotter.Values, offset vg.Length, label func(float64) string) *plotter.Labels {
	l := &plotter.Labels{Offset: vg.Point{X: offset, Y: vg.Points(2)}}
	for i, v := range values {
		l.XYs = append(l.XYs, plotter.XY{X: float64(i), Y: v})
		l.Labels = append(l.Labels, label(v))
		l.TextStyle = append(l.TextStyle, text.Style{
			Font:    font.From(sans, 7.5),
			Color:   color.Black,
			XAlign:  text.XCenter,
			Handler: plot.DefaultTextHandler,
		})
	}
	return l
}

// yGrid returns a grid of horizontal lines only: the groups of bars need no lines between them.
func yGrid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal.Color = color.Gray{Y: 0xe0}
	return g
}

// wholeTicks are the default ticks, labelled without decimals.
type wholeTicks struct{}

func (wholeTicks) Ticks(lo, hi float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lo, hi)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = whole(ticks[i].Value)
		}
	}
	return ticks
}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// useSans sets all text of p in a sans-serif font, in sizes that fit a panel. The default is serif.
func useSans(p *plot.Plot) {
	for _, s := range []struct {
		style *text.Style
		size  vg.Length
	}{
		{&p.Title.TextStyle, 12},
		{&p.X.Label.TextStyle, 9},
		{&p.Y.Label.TextStyle, 10},
		{&p.X.Tick.Label, 9},
		{&p.Y.Tick.Label, 9},
		{&p.Legend.TextStyle, 9},
	} {
		s.style.Font = font.From(sans, s.size)
	}
}
