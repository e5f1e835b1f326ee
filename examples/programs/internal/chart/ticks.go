package chart

import (
	"math"
	"strconv"
	"time"

	"gonum.org/v1/plot"
)

// RoundTicks are at multiples of 1, 2 or 5 times a power of ten, and labelled with plain numbers.
type RoundTicks struct{}

// Ticks implements plot.Ticker.
func (RoundTicks) Ticks(lo, hi float64) []plot.Tick {
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

// Decades are ticks at powers of ten, with labels, and small ticks between them. The axis has to
// begin and end at such powers.
type Decades func(float64) string

// Ticks implements plot.Ticker.
func (label Decades) Ticks(lo, hi float64) []plot.Tick {
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

// Nanoseconds is the label of a duration, for Decades.
func Nanoseconds(x float64) string { return time.Duration(math.Round(x)).String() }

// Labels are the default ticks of gonum/plot, with other labels.
type Labels func(float64) string

// Ticks implements plot.Ticker.
func (label Labels) Ticks(lo, hi float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lo, hi)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = label(ticks[i].Value)
		}
	}
	return ticks
}
