package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	groupWidth = 0.86 // of the distance between two groups of bars

	// cutAbove is where bars of a comparison are cut, as a multiple of the largest ratio of all
	// sides but new. Bars of new may be ten times as long, and nobody would see the others.
	cutAbove = 1.4
)

// peersChart has a group of bars for each size, in zeroed mode, as ratios to
// sync.Pool, so that sizes can be compared by eye.
func peersChart(peers *Peers, workload string) *chart {
	c := newChart(workload+": time of a Get and Put, zeroed (less is faster)", "bytes an object", "ratio to sync.Pool")
	sizes, bySide := chartRatios(peers, workload)
	var names []string
	for _, size := range sizes {
		names = append(names, strconv.Itoa(size))
	}
	most := 1.0
	var all []series
	for _, s := range chartSides(sizes, bySide) {
		one := series{name: string(s), color: sideColor(s)}
		for _, size := range sizes {
			one.values = append(one.values, bySide[s][size])
			if s != catalog.New {
				most = max(most, bySide[s][size].Median)
			}
		}
		all = append(all, one)
	}
	c.addGroups(names, all, bars{cut: cutAbove * most, numbers: true})
	return c
}

func sideColor(s catalog.Side) color.Color {
	switch s {
	case catalog.Pool:
		return oursColor
	case catalog.SyncPool:
		return syncColor
	case catalog.New:
		return newColor
	}
	return othersColor
}

// chartSides are the sides of a chart: the pool, sync.Pool, the best of the others, and new.
func chartSides(sizes []int, bySide map[catalog.Side]map[int]Spread) []catalog.Side {
	var sides []catalog.Side
	for _, s := range []catalog.Side{catalog.Pool, catalog.SyncPool, bestOther(sizes, bySide), catalog.New} {
		if bySide[s] != nil {
			sides = append(sides, s)
		}
	}
	return sides
}

// bestOther returns the side with the least geometric mean over all sizes. GetBatch is this pool,
// too, and floor is no way to get objects, but a bound. It returns "" if there is none.
func bestOther(sizes []int, bySide map[catalog.Side]map[int]Spread) catalog.Side {
	var best catalog.Side
	least := math.Inf(1)
	for _, s := range catalog.Sides {
		switch s {
		case catalog.Pool, catalog.PoolBatch, catalog.SyncPool, catalog.New, catalog.Floor:
			continue
		}
		product := 1.0
		for _, size := range sizes {
			product *= bySide[s][size].Median
		}
		if product > 0 && product < least { // 0: it lacks a size
			best, least = s, product
		}
	}
	return best
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

// promotionChart has a group of bars for each churn.
func promotionChart(promotion *Promotion) *chart {
	c := newChart("Promotion of empty pages: time of a Get and Put (less is faster)", "", "ratio to no promotion")
	all := []series{
		{name: "reset: slots in address order", color: oursColor},
		{name: "move: the list as it is", color: oursToo},
	}
	var names []string
	for _, churn := range pageChurns {
		names = append(names, churn.String())
		for i, m := range []wire.PromotionMode{wire.Reset, wire.Move} {
			var ratio Spread // none, if there is no figure
			for _, f := range promotion.Figures {
				if f.pageChurn == churn && f.Mode == m {
					ratio = f.VsNone
				}
			}
			all[i].values = append(all[i].values, ratio)
		}
	}
	c.addGroups(names, all, bars{base: 1, cut: math.Inf(1)}) // no promotion is 1: bars are what it is worth
	c.X.Tick.Label.Rotation = math.Pi / 2
	c.X.Tick.Label.XAlign, c.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	c.height += 1.25 * vg.Inch // of names
	return c
}

// A series is what is drawn in one color: a ratio in each group.
type series struct {
	name   string
	color  color.Color
	values []Spread
}

// addGroups draws a group of bars for each name, which are like one, and a line at 1.
func (c *chart) addGroups(names []string, all []series, like bars) {
	if len(names) == 0 {
		return
	}
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Color, one.Dashes = color.Gray{Y: 0x60}, []vg.Length{vg.Points(4), vg.Points(3)}
	c.Add(one)
	width := groupWidth / float64(len(all))
	left := -groupWidth / 2
	var drawn []*bars
	low, top := like.base, 1.0
	for _, s := range all {
		b := like
		b.chart, b.color, b.width, b.values = c, s.color, width*0.92, s.values
		for i, v := range s.values {
			b.at = append(b.at, float64(i)+left+width/2)
			if v.Median > 0 {
				low, top = min(low, v.Low), max(top, v.High)
			}
		}
		c.Add(&b)
		c.keys = append(c.keys, key{s.name, s.color})
		drawn = append(drawn, &b)
		left += width
	}
	c.NominalX(names...)
	c.X.Min, c.X.Max = -0.5, float64(len(names))-0.5
	cut := min(top, like.cut)
	room := (cut - low) / 10 // for numbers
	c.Y.Min, c.Y.Max = max(0, low-room), cut+room
	c.Y.Tick.Marker = ratioTicks{}
	for _, b := range drawn {
		b.cut = cut
	}
}

// ratioTicks are a handful.
type ratioTicks struct{}

// Ticks returns them, as a plot.Ticker.
func (ratioTicks) Ticks(lo, hi float64) []plot.Tick {
	const most = 5
	steps := []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50}
	step := steps[len(steps)-1]
	if i := slices.IndexFunc(steps, func(s float64) bool { return (hi-lo)/s <= most }); i >= 0 {
		step = steps[i]
	}
	var ticks []plot.Tick
	for n := math.Ceil(lo / step); n*step <= hi; n++ {
		ticks = append(ticks, plot.Tick{Value: n * step, Label: fmt.Sprintf("%.4g", n*step)})
	}
	return ticks
}

// bars are the bars of one side with their spread as a whisker. Their width is in
// units of the axis, so that groups never overlap, however many bars they have.
type bars struct {
	chart   *chart
	at      []float64
	values  []Spread
	width   float64
	color   color.Color
	base    float64 // where bars begin
	cut     float64 // longer bars are
	numbers bool    // above bars
}

// Plot draws them, as a plot.Plotter.
func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	whisker := draw.LineStyle{Color: whiskerColor, Width: vg.Points(0.6)}
	for i, v := range b.values {
		if v.Median == 0 {
			continue // no figure
		}
		left, right, end := x(b.at[i]-b.width/2), x(b.at[i]+b.width/2), min(v.High, b.cut)
		top := y(min(v.Median, b.cut))
		c.FillPolygon(b.color, []vg.Point{{X: left, Y: y(b.base)}, {X: left, Y: top}, {X: right, Y: top}, {X: right, Y: y(b.base)}})
		switch {
		case v.Median > b.cut:
			b.drawGap(c, left, right, top-vg.Points(8))
		case v.Low < end:
			c.StrokeLine2(whisker, x(b.at[i]), y(v.Low), x(b.at[i]), y(end))
		}
		if b.numbers {
			b.drawNumber(c, vg.Point{X: (left + right) / 2, Y: y(end) + vg.Points(2)}, v.Median)
		}
	}
}

// drawGap says that a bar is longer than it looks.
func (b *bars) drawGap(c draw.Canvas, left, right, y vg.Length) {
	const height, slant = vg.Length(3), vg.Length(4)
	c.FillPolygon(color.White, []vg.Point{
		{X: left, Y: y}, {X: right, Y: y + slant}, {X: right, Y: y + slant + height}, {X: left, Y: y + height},
	})
}

// drawNumber writes a ratio above a bar, where no line goes through it.
func (b *bars) drawNumber(c draw.Canvas, at vg.Point, ratio float64) {
	s := b.chart.style(smallSize)
	s.XAlign = draw.XCenter
	box := s.Rectangle(shortRatio(ratio)).Add(at)
	c.SetColor(color.White)
	c.Fill(box.Path())
	c.FillText(s, at, shortRatio(ratio))
}

// shortRatio has room above a bar.
func shortRatio(x float64) string {
	if x < 9.95 {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// DataRange says what the axes must show, as a plot.DataRanger.
func (b *bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax = b.at[0]-b.width/2, b.at[len(b.at)-1]+b.width/2
	for _, v := range b.values {
		ymax = max(ymax, v.High)
	}
	return xmin, xmax, 0, ymax
}
