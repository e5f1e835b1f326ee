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
	chartHeight = 4.5 * vg.Inch
)

// The lines differ in lightness and dashes as well as in hue.
var (
	poolColor = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	syncColor = color.RGBA{R: 0xd9, G: 0x7a, B: 0x1e, A: 0xff}
	bandColor = color.Gray{Y: 0xe6}
	gridColor = color.Gray{Y: 0xec}
)

// writeChart draws the resident memory of the two servers over time.
func writeChart(path string, w workload, results []result) error {
	p, err := newChart(w, results)
	if err != nil {
		return err
	}
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // also around the plot, for viewers with a dark background
	canvas.Fill(canvas.Rectangle.Path())
	p.Draw(draw.Crop(canvas, vg.Points(8), vg.Points(-12), vg.Points(8), vg.Points(-8)))
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
}

func newChart(w workload, results []result) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("A server with %d sessions, and %d more during a burst", w.Members, w.Visitors)
	p.Title.Padding = vg.Points(8)
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
	p.X.Tick.Marker, p.Y.Tick.Marker = roundTicks{}, roundTicks{}
	band, err := burstBand(w, p.Y.Max/1.25)
	if err != nil {
		return nil, err
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = gridColor
	p.Add(band, grid)
	if err := addLines(p, results); err != nil {
		return nil, err
	}
	p.Legend.Add("burst", band)
	// The legend is on the left, with its text to the right of the lines. There the text has room
	// to be longer than expected, if the viewer has a different font.
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(6), vg.Points(-4)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(28)
	useSans(p)
	return p, nil
}

// burstBand returns a band that shades the planned time of the burst, up to top.
func burstBand(w workload, top float64) (*plotter.Polygon, error) {
	from, to := w.Steady.Seconds(), (w.Steady + max(w.Burst, time.Millisecond)).Seconds()
	band, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: 0}, {X: from, Y: top}, {X: to, Y: top}, {X: to, Y: 0}})
	if err == nil {
		band.Color = bandColor
		band.Width = 0
	}
	return band, err
}

func addLines(p *plot.Plot, results []result) error {
	// The pool's line is drawn last, so that it is on top where both are the same.
	drawn := make([]*plotter.Line, len(results))
	for i := len(results) - 1; i >= 0; i-- {
		points := plotter.XYs{}
		for _, at := range results[i].Watched {
			points = append(points, plotter.XY{X: at.At.Seconds(), Y: float64(at.Resident) / mib})
		}
		if len(points) == 0 {
			points = plotter.XYs{{}} // a line needs at least one point
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = poolColor, vg.Points(1.6)
		if results[i].Variant == useSync {
			line.Color = syncColor
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
		}
		p.Add(line)
		drawn[i] = line
	}
	for i, r := range results {
		p.Legend.Add(r.Variant.String(), drawn[i])
	}
	return nil
}

// roundTicks are at multiples of 1, 2 or 5 times a power of ten, and labelled with plain numbers.
type roundTicks struct{}

func (roundTicks) Ticks(lo, hi float64) []plot.Tick {
	const most = 10
	step := math.Pow(10, math.Ceil(math.Log10((hi-lo)/most)))
	for _, finer := range []float64{step / 5, step / 2} {
		if (hi-lo)/finer <= most {
			step = finer
			break
		}
	}
	var ticks []plot.Tick
	for k := math.Ceil(lo / step); k*step <= hi; k++ {
		ticks = append(ticks, plot.Tick{Value: k * step, Label: strconv.FormatFloat(k*step, 'g', 6, 64)})
	}
	return ticks
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
