package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// addLine draws a curve, with dots if there are few points. Nothing is drawn without points.
func (c *chart) addLine(name string, of color.Color, points plotter.XYs, dots bool) {
	if len(points) == 0 {
		return
	}
	c.Add(&plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: of, Width: vg.Points(1.8)}})
	if dots {
		c.Add(&plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: of, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}})
	}
	c.keys = append(c.keys, key{name, of})
}

// memoryChart has a curve for each side.
func memoryChart(m *Memory) *chart {
	c := newChart(fmt.Sprintf("Resident memory: %s objects of 64 bytes got and put, twice", countName(float64(m.Objects))), "seconds", "MiB")
	for _, s := range m.Sides {
		var points plotter.XYs
		for _, sample := range s.Samples {
			points = append(points, plotter.XY{X: sample.Seconds, Y: sample.MiB})
		}
		c.addLine(string(s.Side), sideColor(s.Side), points, false)
	}
	c.X.Min, c.Y.Min = 0, 0
	c.Y.Max *= 1.05
	return c
}

// A holderLine is how the holder of live objects is drawn.
type holderLine struct {
	holder wire.Holder
	name   string
	color  color.Color
}

// addHolders draws a figure of live objects for each holder. One that was not measured is 0.
func (c *chart) addHolders(g *Growth, lines []holderLine, figure func(wire.Live) float64) {
	for _, h := range lines {
		var points plotter.XYs
		for _, l := range g.Live {
			if y := figure(l); l.Holder == h.holder && y > 0 {
				points = append(points, plotter.XY{X: float64(l.Objects), Y: y})
			}
		}
		c.addLine(h.name, h.color, points, true)
	}
	c.X.Scale, c.X.Tick.Marker = plot.LogScale{}, powersOfTen(countName)
}

// collectionChart shows what live objects cost the garbage collector. Both axes are logarithmic.
func collectionChart(g *Growth) *chart {
	c := newChart("A garbage collection with live objects of 64 bytes", "live objects", "")
	c.addHolders(g, []holderLine{
		{wire.PoolOffHeap, "pool, by Ref", oursColor},
		{wire.PoolOnHeap, "pool, by pointer", oursToo},
		{wire.HeapOnHeap, "new", newColor},
	}, func(l wire.Live) float64 { return l.GCMillis })
	c.Y.Scale, c.Y.Tick.Marker = plot.LogScale{}, powersOfTen(func(ms float64) string { return fmt.Sprintf("%g ms", ms) })
	c.Y.Min, c.Y.Max = 0.1, max(200, c.Y.Max)
	return c
}

// growthChart has cost over the number of live objects.
func growthChart(g *Growth) *chart {
	c := newChart("Cost of a Get, all objects got and put before (64 bytes, zeroed)", "live objects", "ns")
	c.addHolders(g, []holderLine{
		{wire.PoolOffHeap, "pool", oursColor},
		{wire.PoolOnHeap, "pool, in a slice", oursToo},
		{wire.SyncHeld, "sync.Pool, in a slice", syncColor},
		{wire.HeapOnHeap, "new, in a slice", newColor},
	}, func(l wire.Live) float64 { return l.WarmGetNS })
	c.Y.Min = 0
	c.Y.Max *= 1.1
	return c
}

// powersOfTen are ticks at 10^n, with the names of these.
type powersOfTen func(float64) string

// Ticks returns them, as a plot.Ticker.
func (name powersOfTen) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		x := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: x, Label: name(x)})
	}
	return ticks
}

// countName is a number in words.
func countName(x float64) string {
	if x >= 1e6 {
		return fmt.Sprintf("%.0f million", x/1e6)
	}
	if x >= 1e3 {
		return fmt.Sprintf("%.0f,000", x/1e3)
	}
	return fmt.Sprintf("%.0f", x)
}
