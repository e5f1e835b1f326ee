package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	chartWidth  = 10 * vg.Inch
	chartHeight = 4.5 * vg.Inch
	legendWidth = 1.6 * vg.Inch
	margin      = vg.Length(10)

	groupWidth = 0.84 // of the distance between two groups of bars
)

// sideColors are told apart by lightness as well as by hue where sides stand next
// to each other; this pool's are blue.
var sideColors = map[catalog.Side]color.Color{
	catalog.Pool:        rgb(0x1f5fa8),
	catalog.PoolBatch:   rgb(0xaed2f5),
	catalog.SyncPool:    rgb(0xd9731a),
	catalog.Syncx:       rgb(0xf7c08a),
	catalog.Modernc:     rgb(0x2b7a3d),
	catalog.ModerncLock: rgb(0x9fd6a0),
	catalog.ByteBuffer:  rgb(0x6b4a9c),
	catalog.FreeList:    rgb(0xc9b3e3),
	catalog.Slab:        rgb(0x00857c),
	catalog.SlabLock:    rgb(0x86cfc8),
	catalog.Channel:     rgb(0x7a4a32),
	catalog.New:         rgb(0x9a9a9a),
	catalog.Floor:       rgb(0xd8d8d8),
	catalog.Mimalloc:    rgb(0xc02942),
}

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}

// writeCharts draws all that is in r.
func writeCharts(dir string, r Results) error {
	var errs []error
	if r.Peers != nil {
		for _, w := range catalog.Workloads {
			if chart, legend, ok := peersChart(r.Peers, w.Name); ok {
				errs = append(errs, save(filepath.Join(dir, w.Name+".svg"), chart, legend))
			}
		}
	}
	if r.Promotion != nil {
		chart, legend := promotionChart(r.Promotion)
		errs = append(errs, save(filepath.Join(dir, "promotion.svg"), chart, legend))
	}
	if r.Memory != nil {
		chart, legend := memoryChart(r.Memory)
		errs = append(errs, save(filepath.Join(dir, "memory.svg"), chart, legend))
	}
	if r.Growth != nil {
		chart, legend := growthChart(r.Growth)
		errs = append(errs, save(filepath.Join(dir, "growth.svg"), chart, legend))
		if chart, legend, ok := collectionChart(r.Growth); ok {
			errs = append(errs, save(filepath.Join(dir, "collection.svg"), chart, legend))
		}
	}
	return errors.Join(errs...)
}

// save draws the plot with the legend to its right, where it hides nothing.
func save(path string, p *plot.Plot, legend plot.Legend) error {
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // for viewers that are dark
	canvas.Fill(canvas.Rectangle.Path())
	p.Draw(draw.Crop(canvas, margin, -legendWidth-margin, margin, -margin))
	legend.Draw(draw.Crop(canvas, chartWidth-legendWidth, -margin, margin, -3*margin))
	var buf bytes.Buffer
	if _, err := svg.WriteTo(&buf); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o666)
}

// newPlot returns an empty plot and its legend.
func newPlot(title, x, y string) (*plot.Plot, plot.Legend) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	sans := func(s *text.Style, size vg.Length) {
		s.Font = font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
	}
	sans(&p.Title.TextStyle, 12)
	sans(&p.X.Label.TextStyle, 10)
	sans(&p.Y.Label.TextStyle, 10)
	sans(&p.X.Tick.Label, 9)
	sans(&p.Y.Tick.Label, 9)
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.YPosition = true, true, draw.PosCenter
	legend.Padding = vg.Points(3)
	sans(&legend.TextStyle, 10)
	return p, legend
}

// yGrid is horizontal lines only: groups stand apart by themselves.
func yGrid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal.Color = color.Gray{Y: 0xe0}
	return g
}

// peersChart has a group of bars for each size, in zeroed mode, as ratios to
// sync.Pool, so that sizes can be compared by eye.
func peersChart(peers *Peers, workload string) (*plot.Plot, plot.Legend, bool) {
	p, legend := newPlot(workload+": time of a pair, zeroed (less is faster)", "bytes an object", "ratio to sync.Pool")
	sizes, bySide := chartRatios(peers, workload)
	if len(sizes) == 0 {
		return p, legend, false
	}
	var names []string
	for _, size := range sizes {
		names = append(names, strconv.Itoa(size))
	}
	var all []series
	for _, s := range catalog.Sides {
		if bySide[s] == nil {
			continue
		}
		one := series{name: string(s), color: sideColors[s]}
		for _, size := range sizes {
			one.values = append(one.values, bySide[s][size])
		}
		all = append(all, one)
	}
	addGroups(p, &legend, names, all)
	return p, legend, true
}

// A series is what is drawn in one color: a ratio in each group.
type series struct {
	name   string
	color  color.Color
	values []Spread
}

// addGroups draws a group of bars for each name, and a line at 1.
func addGroups(p *plot.Plot, legend *plot.Legend, names []string, all []series) {
	p.Add(yGrid())
	width := groupWidth / float64(len(all))
	left := -groupWidth / 2
	for _, s := range all {
		b := &bars{color: s.color, width: width * 0.92, values: s.values}
		for i := range s.values {
			b.at = append(b.at, float64(i)+left+width/2)
		}
		p.Add(b)
		legend.Add(s.name, b)
		left += width
	}
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Color, one.Dashes = color.Gray{Y: 0x60}, []vg.Length{vg.Points(4), vg.Points(3)}
	p.Add(one)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	p.Y.Min = 0
	p.Y.Max *= 1.05
}

// promotionChart has a group of bars for each churn.
func promotionChart(promotion *Promotion) (*plot.Plot, plot.Legend) {
	p, legend := newPlot("Promotion of empty pages: time of a pair (less is faster)", "bytes an object, pages, order of Put", "ratio to no promotion")
	all := []series{
		{name: "reset", color: sideColors[catalog.Pool]},
		{name: "move", color: sideColors[catalog.PoolBatch]},
	}
	var names []string
	for _, c := range pageChurns {
		names = append(names, fmt.Sprintf("%d\n%d\n%s", c.Size, c.Pages, c.Order))
		for i, m := range []wire.PromotionMode{wire.Reset, wire.Move} {
			var ratio Spread // none, if there is no figure
			for _, f := range promotion.Figures {
				if f.pageChurn == c && f.Mode == m {
					ratio = f.VsNone
				}
			}
			all[i].values = append(all[i].values, ratio)
		}
	}
	addGroups(p, &legend, names, all)
	return p, legend
}

// chartRatios returns what peersChart draws: the sizes, and the ratios by side and
// size.
func chartRatios(peers *Peers, workload string) ([]int, map[catalog.Side]map[int]Spread) {
	var sizes []int
	bySide := make(map[catalog.Side]map[int]Spread)
	for _, f := range peers.Figures {
		if f.Workload != workload || f.Mode != catalog.Zeroed || f.Baseline || f.VsSyncPool == nil {
			continue
		}
		if bySide[f.Side] == nil {
			bySide[f.Side] = make(map[int]Spread)
		}
		bySide[f.Side][f.Size] = *f.VsSyncPool
		if !slices.Contains(sizes, f.Size) {
			sizes = append(sizes, f.Size)
		}
	}
	slices.Sort(sizes)
	return sizes, bySide
}

// bars are the bars of one side with their spread as a whisker. Their width is in
// units of the axis, so that groups never overlap, however many bars they have.
type bars struct {
	at     []float64
	values []Spread
	width  float64
	color  color.Color
}

// Plot draws them, as a plot.Plotter.
func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	whisker := draw.LineStyle{Color: color.Gray{Y: 0x40}, Width: vg.Points(0.6)}
	for i, v := range b.values {
		if v.Median == 0 {
			continue // no figure
		}
		left, right, top := x(b.at[i]-b.width/2), x(b.at[i]+b.width/2), y(v.Median)
		c.FillPolygon(b.color, []vg.Point{{X: left, Y: y(0)}, {X: left, Y: top}, {X: right, Y: top}, {X: right, Y: y(0)}})
		if v.Low < v.High {
			c.StrokeLine2(whisker, x(b.at[i]), y(v.Low), x(b.at[i]), y(v.High))
		}
	}
}

// DataRange says what the axes must show, as a plot.DataRanger.
func (b *bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax = b.at[0]-b.width/2, b.at[len(b.at)-1]+b.width/2
	for _, v := range b.values {
		ymax = max(ymax, v.High)
	}
	return xmin, xmax, 0, ymax
}

// Thumbnail draws the legend's patch, as a plot.Thumbnailer.
func (b *bars) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.color, []vg.Point{
		{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y},
	})
}

func line(points plotter.XYs, c color.Color) *plotter.Line {
	return &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: c, Width: vg.Points(1.6)}}
}

// memoryChart has a curve for each side.
func memoryChart(m *Memory) (*plot.Plot, plot.Legend) {
	p, legend := newPlot(fmt.Sprintf("Resident memory: %d objects of 64 bytes got and put, twice", m.Objects), "seconds", "MiB")
	p.Add(yGrid())
	for _, s := range m.Sides {
		var points plotter.XYs
		for _, sample := range s.Samples {
			points = append(points, plotter.XY{X: sample.Seconds, Y: sample.MiB})
		}
		l := line(points, sideColors[s.Side])
		p.Add(l)
		legend.Add(string(s.Side), l)
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max *= 1.05
	return p, legend
}

// collectionChart shows what live objects cost the garbage collector. Both axes are logarithmic.
func collectionChart(g *Growth) (p *plot.Plot, legend plot.Legend, ok bool) {
	p, legend = newPlot("A garbage collection with live objects of 64 bytes", "live objects", "ms")
	grid := yGrid()
	p.Add(grid)
	for _, side := range []struct {
		holder wire.Holder
		name   string
		color  color.Color
	}{
		{wire.PoolOffHeap, "pool, by Ref", sideColors[catalog.Pool]},
		{wire.PoolOnHeap, "pool, by pointer", sideColors[catalog.SyncPool]},
		{wire.HeapOnHeap, "new", sideColors[catalog.Mimalloc]},
	} {
		var points plotter.XYs
		for _, l := range g.Live {
			if l.Holder == side.holder && l.GCMillis > 0 {
				points = append(points, plotter.XY{X: float64(l.Objects), Y: l.GCMillis})
			}
		}
		if len(points) == 0 {
			continue
		}
		ok = true
		l := line(points, side.color)
		dots := &plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: side.color, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}}
		p.Add(l, dots)
		legend.Add(side.name, l, dots)
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, counts{}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, milliseconds{}
	p.Y.Min, p.Y.Max = 0.1, max(200, p.Y.Max)
	return p, legend, ok
}

// counts are ticks at powers of ten, in words.
type counts struct{}

func (counts) Ticks(lo, hi float64) []plot.Tick {
	ticks := powersOfTen{}.Ticks(lo, hi)
	for i, t := range ticks {
		ticks[i].Label = map[float64]string{1e3: "1,000", 1e4: "10,000", 1e5: "100,000", 1e6: "1 million", 1e7: "10 million", 1e8: "100 million"}[t.Value]
	}
	return ticks
}

// milliseconds are ticks at powers of ten.
type milliseconds struct{}

func (milliseconds) Ticks(lo, hi float64) []plot.Tick {
	ticks := powersOfTen{}.Ticks(lo, hi)
	for i, t := range ticks {
		ticks[i].Label = fmt.Sprintf("%g ms", t.Value)
	}
	return ticks
}

// growthChart has cost over the number of live objects.
func growthChart(g *Growth) (*plot.Plot, plot.Legend) {
	p, legend := newPlot("Cost of a Get, all objects got and put before (64 bytes, zeroed)", "live objects", "ns a Get")
	p.Add(yGrid())
	colors := map[wire.Holder]color.Color{
		wire.PoolOffHeap: sideColors[catalog.Pool],
		wire.PoolOnHeap:  sideColors[catalog.PoolBatch],
		wire.HeapOnHeap:  sideColors[catalog.New],
		wire.SyncHeld:    sideColors[catalog.SyncPool],
	}
	for _, h := range wire.Holders {
		var points plotter.XYs
		for _, l := range g.Live {
			if l.Holder == h {
				points = append(points, plotter.XY{X: float64(l.Objects), Y: l.WarmGetNS})
			}
		}
		if len(points) == 0 {
			continue
		}
		l := line(points, colors[h])
		dots := &plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: colors[h], Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}}
		p.Add(l, dots)
		legend.Add(string(h), l, dots)
	}
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = powersOfTen{}
	p.Y.Min = 0
	p.Y.Max *= 1.1
	return p, legend
}

// powersOfTen are ticks at 10^n.
type powersOfTen struct{}

func (powersOfTen) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		ticks = append(ticks, plot.Tick{Value: math.Pow(10, e), Label: fmt.Sprintf("1e%.0f", e)})
	}
	return ticks
}
