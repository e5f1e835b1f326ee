package main

import (
	"fmt"
	"image/color"
	"math"

	"github.com/warmpage/pool/examples/programs/internal/chart"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// writeChart draws the resident memory of all phases over time, and the bursts.
func writeChart(path string, phases []phase) error {
	p, err := newChart(phases)
	if err != nil {
		return err
	}
	return chart.WritePlot(path, p, 9*vg.Inch, 5*vg.Inch, vg.Points(12))
}

func newChart(phases []phase) (*plot.Plot, error) {
	plan := phases[0].plan
	p := chart.New(fmt.Sprintf("%d bursts of %d objects of %d bytes", plan.Bursts, plan.Objects, objectSize))
	if plan.GC > 0 {
		p.Title.Text += fmt.Sprintf(", a collection every %v", plan.GC)
	}
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
	p.X.Tick.Marker, p.Y.Tick.Marker = chart.RoundTicks{}, chart.RoundTicks{}
	if err := addBursts(p, phases, top*1.08); err != nil {
		return nil, err
	}
	chart.Grid(p, false)
	return p, addLines(p, phases)
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
		band, err := chart.AddBand(p, from, to, top)
		if err != nil {
			return err
		}
		if burst == 1 {
			p.Legend.Add("burst, on either side", band)
		}
		if to < free || to > p.X.Max*(1-labelRoom) {
			continue
		}
		free = to + p.X.Max*labelRoom
		labels.XYs = append(labels.XYs, plotter.XY{X: to})
		labels.Labels = append(labels.Labels, fmt.Sprintf("burst %d", burst))
		labels.TextStyle = append(labels.TextStyle, chart.Text(8))
	}
	p.Add(labels)
	return nil
}

func addLines(p *plot.Plot, phases []phase) error {
	var lines []chart.Line
	for _, ph := range phases {
		line := chart.Line{Name: string(ph.plan.Side)}
		for _, s := range ph.samples {
			line.Points = append(line.Points, plotter.XY{X: s.At.Seconds(), Y: mebibytes(s.Resident)})
		}
		lines = append(lines, line)
	}
	if err := chart.AddLines(p, lines); err != nil {
		return err
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
	line.Color = color.Gray{Y: 0x60}
	line.Dashes = []vg.Length{vg.Points(2), vg.Points(2)}
	p.Add(line)
	p.Legend.Add(fmt.Sprintf("limit for this pool %v after the last Put", ph.plan.Settle), line)
	return nil
}
