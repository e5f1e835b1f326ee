package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 9 * vg.Inch
	chartHeight = 5 * vg.Inch
)

// The lines differ in lightness and dashes as well as in hue.
var (
	poolColor = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	syncColor = color.RGBA{R: 0xd9, G: 0x7a, B: 0x1e, A: 0xff}
	gridColor = color.Gray{Y: 0xe4}
)

// writeChart draws, for both sides, which share of the packets took longer than a given time.
func writeChart(path string, results []result) error {
	p, err := newChart(results)
	if err != nil {
		return err
	}
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // also around the plot, for viewers with a dark background
	canvas.Fill(canvas.Rectangle.Path())
	p.Draw(draw.Crop(canvas, vg.Points(8), vg.Points(-16), vg.Points(8), vg.Points(-8)))
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
}

func newChart(results []result) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "UDP over loopback: how long packets take from send to parse"
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = "from send to parse"
	p.Y.Label.Text = "packets that took longer"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = decades(func(x float64) string { return time.Duration(math.Round(x)).String() })
	p.Y.Tick.Marker = decades(func(y float64) string { return strconv.FormatFloat(y*100, 'g', 4, 64) + " %" })
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	p.Add(grid)
	// The pool's line is drawn last, so that it is on top where both are the same.
	drawn := make([]*plotter.Line, len(results))
	for i := len(results) - 1; i >= 0; i-- {
		line, err := plotter.NewLine(slower(&results[i].Counts.Latency))
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = poolColor, vg.Points(1.6)
		if results[i].Plan.Side == syncPool {
			line.Color = syncColor
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
		}
		p.Add(line)
		drawn[i] = line
	}
	for i, r := range results {
		p.Legend.Add(fmt.Sprintf("%s: %.0f packets/s, %d allocations", r.Plan.Side, r.perSecond(r.Counts.Parsed), r.Mallocs), drawn[i])
	}
	setRanges(p)
	// The legend is at the bottom left, where no line passes. Its text is to the right of the
	// lines.
	p.Legend.Top, p.Legend.Left = false, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(8), vg.Points(8)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(28)
	useSans(p)
	return p, nil
}

// slower returns, for the end of each bucket that is not empty, the share of durations that are
// longer. It leaves out the last bucket, because the logarithm of 0 cannot be drawn.
func slower(h *histogram) plotter.XYs {
	var points plotter.XYs
	all, rest := float64(h.total()), h.total()
	for i, n := range h {
		if n == 0 {
			continue
		}
		if len(points) == 0 {
			points = append(points, plotter.XY{X: float64(max(bottom(i), 1)), Y: 1})
		}
		if rest -= n; rest > 0 {
			points = append(points, plotter.XY{X: float64(bottom(i + 1)), Y: float64(rest) / all})
		}
	}
	if points == nil {
		points = plotter.XYs{{X: 1, Y: 1}} // a line needs at least one point
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

// decades are ticks at powers of ten, with labels, and small ticks between them.
type decades func(float64) string

func (label decades) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Round(math.Log10(lo)); ; e++ {
		at := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: at, Label: label(at)})
		if at >= hi*0.99 {
			return ticks
		}
		for k := 2.0; k < 10; k++ {
			ticks = append(ticks, plot.Tick{Value: k * at})
		}
	}
}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// useSans sets all text of p in a sans-serif font. The default is serif.
func useSans(p *plot.Plot) {
	p.Title.TextStyle.Font = font.From(sans, 13)
	p.X.Label.TextStyle.Font = font.From(sans, 10)
	p.Y.Label.TextStyle.Font = font.From(sans, 10)
	p.X.Tick.Label.Font = font.From(sans, 9)
	p.Y.Tick.Label.Font = font.From(sans, 9)
	p.Legend.TextStyle.Font = font.From(sans, 9)
}
