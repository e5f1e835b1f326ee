// Package chart has what the charts of the programs have in common: colours, fonts, lines, bars,
// axes, and the SVG file. Charts of gonum/plot are otherwise made where their data is.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The colours differ in lightness as well as in hue.
var (
	Pool  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff} // of this library
	Other = color.RGBA{R: 0xd9, G: 0x7a, B: 0x1e, A: 0xff} // of what it is compared with

	gridColor = color.Gray{Y: 0xe4}
	bandColor = color.Gray{Y: 0xdc}
)

// TryFile returns an error if the file of -svg cannot be written. It finds that out before all the
// measuring rather than after it, and changes nothing on disk. It accepts "", which is no file.
func TryFile(path string) error {
	if path == "" {
		return nil
	}
	_, err := os.Lstat(path)
	isNew := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("-svg: %w", err)
	}
	err = f.Close()
	if isNew {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Write writes an SVG file of that size, with what paint draws. The background is white, also for
// viewers with a dark one.
func Write(path string, width, height vg.Length, paint func(draw.Canvas)) error {
	svg := vgsvg.New(width, height)
	canvas := draw.New(svg)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	paint(canvas)
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
}

// WritePlot writes p alone. right is the room for the half of the last label on the X axis.
func WritePlot(path string, p *plot.Plot, width, height, right vg.Length) error {
	return Write(path, width, height, func(c draw.Canvas) {
		p.Draw(draw.Crop(c, vg.Points(8), -right, vg.Points(8), vg.Points(-8)))
	})
}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// Text returns the style of a text of that size. The default of gonum/plot is serif.
func Text(size vg.Length) text.Style {
	return text.Style{Font: font.From(sans, size), Color: color.Black, Handler: plot.DefaultTextHandler}
}

// newPlot returns a plot whose legend is at the top on the left, with its text to the right of the
// lines. There the text has room to be longer than expected, if the viewer has a different font.
func newPlot(title string, size, padding vg.Length) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = padding
	p.Title.TextStyle.Font = font.From(sans, size)
	p.X.Label.TextStyle.Font = font.From(sans, 10)
	p.Y.Label.TextStyle.Font = font.From(sans, 10)
	p.X.Tick.Label.Font = font.From(sans, 9)
	p.Y.Tick.Label.Font = font.From(sans, 9)
	p.Legend.TextStyle.Font = font.From(sans, 9)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs = vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	return p
}

// New returns a plot for lines, to be written by itself.
func New(title string) *plot.Plot {
	p := newPlot(title, 13, vg.Points(8))
	p.Legend.YOffs = vg.Points(-4)
	p.Legend.ThumbnailWidth = vg.Points(28)
	return p
}

// NewPanel returns a plot for bars, which is one of several in a chart. It has horizontal lines.
func NewPanel(title string) *plot.Plot {
	p := newPlot(title, 11, vg.Points(6))
	Grid(p, false)
	return p
}

// Grid adds horizontal lines, and perhaps vertical ones. What is added later is above them.
func Grid(p *plot.Plot, vertical bool) {
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, nil
	if vertical {
		grid.Vertical.Color = gridColor
	}
	p.Add(grid)
}

// A Line is the data of one side, and its text in the legend.
type Line struct {
	Name   string
	Points plotter.XYs
}

// AddLines adds lines that differ in lightness and dashes as well as in hue. The first one is this
// library's. It is drawn last, so that it is on top where others are the same.
func AddLines(p *plot.Plot, lines []Line) error {
	drawn := make([]*plotter.Line, len(lines))
	for i := len(lines) - 1; i >= 0; i-- {
		line, err := plotter.NewLine(lines[i].Points)
		if err != nil {
			return fmt.Errorf("%s: %w", lines[i].Name, err)
		}
		line.Color, line.Width = Pool, vg.Points(1.6)
		if i > 0 {
			line.Color = Other
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(2)}
		}
		p.Add(line)
		drawn[i] = line
	}
	for i, line := range lines {
		p.Legend.Add(line.Name, drawn[i])
	}
	return nil
}

// AddBand shades the time between two values of X, from 0 up to top, and returns what shades it.
func AddBand(p *plot.Plot, from, to, top float64) (*plotter.Polygon, error) {
	band, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: 0}, {X: from, Y: top}, {X: to, Y: top}, {X: to, Y: 0}})
	if err != nil {
		return nil, err
	}
	band.Color = bandColor
	band.Width = 0
	p.Add(band)
	return band, nil
}

// AddBars adds a bar at each name on the X axis, that far from it, with its label above: a bar of
// height 0 is invisible. It makes the Y axis begin at 0.
func AddBars(p *plot.Plot, values plotter.Values, labels []string, width, offset vg.Length, c color.Color) *plotter.BarChart {
	bars := &plotter.BarChart{Values: values, Width: width, Offset: offset, Color: c}
	above := &plotter.Labels{Offset: vg.Point{X: offset, Y: vg.Points(2)}, Labels: labels}
	style := Text(7)
	style.XAlign = text.XCenter
	for i, v := range values {
		above.XYs = append(above.XYs, plotter.XY{X: float64(i), Y: v})
		above.TextStyle = append(above.TextStyle, style)
	}
	p.Add(bars, above)
	// Add has widened the axes by its own idea of the bars' extent: set them again.
	p.X.Min, p.X.Max = -0.6, float64(len(values))-0.4
	p.Y.Min = 0
	return bars
}
