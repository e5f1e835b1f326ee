package main

import (
	"bytes"
	"errors"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// Charts are made for a column of 600 pixels, on a page that is white or dark. They have four sides
// at most, and a background of their own.
const (
	chartWidth  = 6.25 * vg.Inch // 600 pixels
	chartHeight = 3.375 * vg.Inch
	margin      = vg.Length(10)

	titleSize = 12
	textSize  = 10
	smallSize = 8.5 // of numbers on bars, 11 pixels
)

// Each color stands for the same in all charts. All have
// enough contrast with white.
var (
	oursColor    = rgb(0x1f5fa8) // this pool
	oursToo      = rgb(0x4f94d6) // this pool in another way
	syncColor    = rgb(0xd9731a) // sync.Pool
	newColor     = rgb(0x8c8c8c) // the plain heap
	othersColor  = rgb(0x2b7a3d) // whichever else
	inkColor     = color.Gray{Y: 0x20}
	gridColor    = color.Gray{Y: 0xe0}
	whiskerColor = color.Gray{Y: 0x40}
)

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}

// writeCharts draws all that is in r.
func writeCharts(dir string, r Results) error {
	charts := make(map[string]*chart)
	if r.Peers != nil {
		for _, w := range catalog.Workloads {
			charts[w.Name] = peersChart(r.Peers, w.Name)
		}
	}
	if r.Promotion != nil {
		charts["promotion"] = promotionChart(r.Promotion)
	}
	if r.Memory != nil {
		charts["memory"] = memoryChart(r.Memory)
	}
	if r.Growth != nil {
		charts["growth"] = growthChart(r.Growth)
		charts["collection"] = collectionChart(r.Growth)
	}
	var errs []error
	for name, c := range charts {
		if len(c.keys) > 0 { // else there are no figures
			errs = append(errs, c.save(filepath.Join(dir, name+".svg")))
		}
	}
	return errors.Join(errs...)
}

// A chart is a plot below a line that says what it is, and one that says what the colors are.
type chart struct {
	*plot.Plot
	title  string
	height vg.Length
	keys   []key
}

// A key says whose a color is.
type key struct {
	name  string
	color color.Color
}

func newChart(title, x, y string) *chart {
	c := &chart{Plot: plot.New(), title: title, height: chartHeight}
	c.X.Label.Text, c.Y.Label.Text = x, y
	c.X.Label.TextStyle, c.Y.Label.TextStyle = c.style(textSize), c.style(textSize)
	c.X.Label.TextStyle.XAlign, c.Y.Label.TextStyle.XAlign = draw.XCenter, draw.XCenter
	setSize(&c.X.Tick.Label, textSize)
	setSize(&c.Y.Tick.Label, textSize)
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil // groups stand apart by themselves
	grid.Horizontal.Color = gridColor
	c.Add(grid)
	return c
}

func setSize(s *text.Style, size vg.Length) {
	s.Font = font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
	s.Color = inkColor
}

func (c *chart) style(size vg.Length) text.Style {
	s := text.Style{Handler: plot.DefaultTextHandler}
	setSize(&s, size)
	return s
}

// save draws the chart. Where the font is missing, there is another one without serifs.
func (c *chart) save(path string) error {
	svg := vgsvg.New(chartWidth, c.height)
	canvas := draw.New(svg)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	title := c.style(titleSize)
	top := c.height - margin - title.Height(c.title)
	canvas.FillText(title, vg.Point{X: margin, Y: top}, c.title)
	top -= margin/2 + c.drawKeys(canvas, top-margin/2)
	c.Draw(draw.Crop(canvas, margin, -margin, margin, top-margin-c.height))
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	const sans = "font-family:Liberation Sans"
	text := bytes.ReplaceAll(buf.Bytes(), []byte(sans+";"), []byte(sans+",Arial,Helvetica,sans-serif;"))
	return os.WriteFile(path, text, 0o666)
}

// drawKeys draws the keys below top, in a row, and returns the height of it.
func (c *chart) drawKeys(canvas draw.Canvas, top vg.Length) vg.Length {
	const patch, gap = vg.Length(9), vg.Length(5)
	style := c.style(textSize)
	height := style.Height("x")
	x, y := margin, top-height
	for _, k := range c.keys {
		canvas.FillPolygon(k.color, []vg.Point{{X: x, Y: y}, {X: x + patch, Y: y}, {X: x + patch, Y: y + patch}, {X: x, Y: y + patch}})
		x += patch + gap
		canvas.FillText(style, vg.Point{X: x, Y: y}, k.name)
		x += style.Width(k.name) + 3*gap
	}
	return height
}
