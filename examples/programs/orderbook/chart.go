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
	heapColor = color.RGBA{R: 0xd9, G: 0x7a, B: 0x1e, A: 0xff}
	gridColor = color.Gray{Y: 0xe4}
)

// writeChart draws how long the messages took, by percentile. The results must be in the order of
// variants.
func writeChart(path string, results []result) error {
	p, err := newChart(results)
	if err != nil {
		return err
	}
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // also around the plot, for viewers with a dark background
	canvas.Fill(canvas.Rectangle.Path())
	p.Draw(draw.Crop(canvas, vg.Points(8), vg.Points(-28), vg.Points(8), vg.Points(-8)))
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
}

// newChart makes both axes logarithmic. From each tick on the X axis to the next, the share of
// slower messages falls to a tenth. That shows the slowest messages, where the collector has its
// effect.
func newChart(results []result) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Latency of %d messages", results[0].Latency.Total)
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = "share of messages that took no longer"
	p.Y.Label.Text = "time per message"
	p.Y.Scale = plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = nineTicks{}, decadeTicks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	p.Add(grid)

	colors := []color.Color{poolColor, heapColor}
	low, high := time.Duration(math.MaxInt64), time.Duration(1)
	for i, r := range results {
		line, err := plotter.NewLine(curve(&r.Latency))
		if err != nil {
			return nil, err
		}
		line.Color = colors[i]
		line.Width = vg.Points(1.8)
		if variants[i] == goHeap {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
		}
		p.Add(line)
		p.Legend.Add(fmt.Sprintf("%s: %d collections", variants[i], r.GC.Cycles), line)
		low, high = min(low, r.Latency.quantile(firstShare)), max(high, r.Latency.Max)
	}
	p.X.Min = nines(firstShare)
	p.X.Max = math.Ceil(nines(1 - 1/float64(max(results[0].Latency.Total, 2))))
	p.Y.Min = decade(low, math.Floor)
	p.Y.Max = max(decade(high, math.Ceil), 10*p.Y.Min)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs = vg.Points(6)
	p.Legend.YOffs = vg.Points(-4)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(28)
	useSans(p)
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

// curve returns a point for each bucket that is not empty. The share of the last one would be 1,
// which is infinitely far to the right. curve puts that point at the share of all messages but one.
func curve(h *histogram) plotter.XYs {
	var xys plotter.XYs
	var seen uint64
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		seen += n
		share := min(float64(seen), float64(h.Total)-1) / float64(max(h.Total, 2))
		if share >= firstShare || seen == h.Total {
			took := min(upperBound(i), h.Max)
			xys = append(xys, plotter.XY{X: nines(max(share, firstShare)), Y: float64(max(took, 1))})
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

// decadeTicks are at powers of ten, in nanoseconds.
type decadeTicks struct{}

func (decadeTicks) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for v := lo; v <= hi*1.01; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: v, Label: time.Duration(math.Round(v)).String()})
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
