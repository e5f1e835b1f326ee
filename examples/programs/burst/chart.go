package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
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
	poolColor  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	syncColor  = color.RGBA{R: 0xd9, G: 0x7a, B: 0x1e, A: 0xff}
	limitColor = color.Gray{Y: 0x60}
	bandColor  = color.Gray{Y: 0xdc}
	gridColor  = color.Gray{Y: 0xec}
)

// writeChart draws the resident memory of all phases over time, and the bursts.
func writeChart(path string, phases []phase) error {
	p, err := newChart(phases)
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

func newChart(phases []phase) (*plot.Plot, error) {
	p := plot.New()
	plan := phases[0].plan
	p.Title.Text = fmt.Sprintf("%d bursts of %d objects of %d bytes", plan.Bursts, plan.Objects, objectSize)
	if plan.GC > 0 {
		p.Title.Text += fmt.Sprintf(", a collection every %v", plan.GC)
	}
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = "seconds since the start"
	p.Y.Label.Text = "resident memory of the process, MiB"
	if !phases[0].at(atStart).Known {
		p.Y.Label.Text = "memory held by the allocator's own account, MiB"
	}
	var top float64
	for i := range phases {
		top = max(top, mebibytes(phases[i].peak()))
		p.X.Max = max(p.X.Max, phases[i].at(atEnd).At.Seconds())
	}
	if start := phases[0].at(atStart); start.Known {
		top = max(top, mebibytes(start.Resident+plan.limit()))
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max = top * 1.42 // room for the legend above lines and bursts
	p.X.Tick.Marker, p.Y.Tick.Marker = roundTicks{}, roundTicks{}
	if err := addBursts(p, phases, top*1.08); err != nil {
		return nil, err
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = gridColor
	p.Add(grid)
	if err := addLines(p, phases); err != nil {
		return nil, err
	}
	// The legend is on the left, with its text to the right of the lines. There the text has room
	// to be longer than expected, if the viewer has a different font.
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs = vg.Points(6)
	p.Legend.YOffs = vg.Points(-4)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(28)
	useSans(p)
	return p, nil
}

// labelRoom is the share of the chart's width that the label of a burst takes, with a margin.
const labelRoom = 0.09

// addBursts shades, up to top, the times when either side had a burst under way. Where there is
// room, it writes the number of the burst at the foot, below the lines.
func addBursts(p *plot.Plot, phases []phase, top float64) error {
	labels := &plotter.Labels{Offset: vg.Point{X: vg.Points(4), Y: vg.Points(3)}}
	free := 0.0
	for burst := 1; burst <= phases[0].plan.Bursts; burst++ {
		from, to := math.Inf(1), 0.0
		for _, ph := range phases {
			for _, s := range ph.samples {
				switch {
				case s.Burst == burst && s.Moment == atBurst:
					from = min(from, s.At.Seconds())
				case s.Burst == burst && s.Moment == allBack:
					to = max(to, s.At.Seconds())
				}
			}
		}
		band, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: 0}, {X: from, Y: top}, {X: to, Y: top}, {X: to, Y: 0}})
		if err != nil {
			return err
		}
		band.Color = bandColor
		band.Width = 0
		p.Add(band)
		if burst == 1 {
			p.Legend.Add("burst, on either side", band)
		}
		if to < free || to > p.X.Max*(1-labelRoom) {
			continue
		}
		free = to + p.X.Max*labelRoom
		labels.XYs = append(labels.XYs, plotter.XY{X: to})
		labels.Labels = append(labels.Labels, fmt.Sprintf("burst %d", burst))
		labels.TextStyle = append(labels.TextStyle, text.Style{
			Font:    font.From(sans, 8),
			Color:   color.Black,
			Handler: plot.DefaultTextHandler,
		})
	}
	p.Add(labels)
	return nil
}

func addLines(p *plot.Plot, phases []phase) error {
	// The pool's line is drawn last, so that it is on top where both are the same.
	colors := map[side]color.Color{thisPool: poolColor, syncPool: syncColor}
	drawn := make([]*plotter.Line, len(phases))
	for i := len(phases) - 1; i >= 0; i-- {
		var points plotter.XYs
		for _, s := range phases[i].samples {
			points = append(points, plotter.XY{X: s.At.Seconds(), Y: mebibytes(s.Resident)})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Color = colors[phases[i].plan.Side]
		line.Width = vg.Points(1.6)
		if phases[i].plan.Side == syncPool {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
		}
		p.Add(line)
		drawn[i] = line
	}
	for i, ph := range phases {
		p.Legend.Add(string(ph.plan.Side), drawn[i])
	}
	return addLimit(p, phases[0])
}

// addLimit draws the limit that the pool must be below at the end.
func addLimit(p *plot.Plot, ph phase) error {
	if !ph.at(atStart).Known {
		return nil
	}
	y := mebibytes(ph.at(atStart).Resident + ph.plan.limit())
	last := ph.at(allBack).At.Seconds()
	line, err := plotter.NewLine(plotter.XYs{{X: last, Y: y}, {X: p.X.Max, Y: y}})
	if err != nil {
		return err
	}
	line.Color = limitColor
	line.Dashes = []vg.Length{vg.Points(2), vg.Points(2)}
	p.Add(line)
	p.Legend.Add(fmt.Sprintf("limit for this pool %v after the last Put", ph.plan.Settle), line)
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
