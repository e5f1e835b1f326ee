package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A promotionPlan is how thoroughly the promotion study measures.
type promotionPlan struct {
	processes int
	rounds    int
	target    time.Duration // of a round
}

// A pageChurn gets all slots of some pages and puts them all in an order.
type pageChurn struct {
	Size  int           `json:"size"`
	Pages int           `json:"pages"`
	Order catalog.Order `json:"order"`
}

func (c pageChurn) String() string {
	pages := "pages"
	if c.Pages == 1 {
		pages = "page"
	}
	return fmt.Sprintf("%d bytes, %d %s, %s", c.Size, c.Pages, pages, c.Order)
}

var pageChurns = allPageChurns()

func allPageChurns() []pageChurn {
	var all []pageChurn
	for _, c := range []pageChurn{{Size: 64, Pages: 1}, {Size: 64, Pages: 2}, {Size: 64, Pages: 4}, {Size: 64, Pages: 8}, {Size: 1024, Pages: 4}} {
		for _, o := range []catalog.Order{catalog.FIFO, catalog.LIFO, catalog.Shuffled} {
			all = append(all, pageChurn{c.Size, c.Pages, o})
		}
	}
	return all
}

func (p promotionPlan) expect() time.Duration {
	const warmUp = 2 // and calibration, in rounds
	return time.Duration(len(wire.PromotionModes)*(p.rounds+warmUp)) * p.target
}

func (p promotionPlan) expectAll() time.Duration {
	return time.Duration(p.processes) * (buildTime + time.Duration(len(pageChurns))*p.expect())
}

type promotionKey struct {
	churn pageChurn
	mode  wire.PromotionMode
}

// measurePromotion has a process of its own for each churn with each layout: none
// begins with the pages that another has left.
func measurePromotion(ctx context.Context, p promotionPlan, dir string, pr *progress) (*Promotion, error) {
	costs := make(map[promotionKey][]wire.PromotionCost)
	for i := range p.processes {
		pr.step(fmt.Sprintf("promotion, layout %d of %d: build", i+1, p.processes), buildTime)
		worker, err := buildWorker(ctx, dir, i+1, "")
		if err != nil {
			return nil, err
		}
		for _, c := range pageChurns {
			pr.step(fmt.Sprintf("promotion, layout %d of %d: %s", i+1, p.processes, c), p.expect())
			spec := wire.PromotionSpec{Size: c.Size, Pages: c.Pages, Order: c.Order, Rounds: p.rounds, Target: p.target, Turn: i}
			r, err := once[wire.Promotion](ctx, worker, wire.VerbPromotion, spec)
			if err != nil {
				return nil, err
			}
			for m, cost := range r.Modes {
				costs[promotionKey{c, m}] = append(costs[promotionKey{c, m}], cost)
			}
		}
		os.Remove(worker)
	}
	return &Promotion{Processes: p.processes, Rounds: p.rounds, Figures: promotionFigures(costs)}, nil
}

// promotionFigures puts what was measured into the order of the table.
func promotionFigures(costs map[promotionKey][]wire.PromotionCost) []PromotionFigure {
	var all []PromotionFigure
	for _, c := range pageChurns {
		ns := func(m wire.PromotionMode) (xs []float64) {
			for _, cost := range costs[promotionKey{c, m}] {
				xs = append(xs, cost.NS)
			}
			return xs
		}
		for _, m := range wire.PromotionModes {
			of := costs[promotionKey{c, m}]
			if len(of) == 0 {
				continue
			}
			f := PromotionFigure{
				pageChurn: c, Mode: m, NS: ns(m), Median: spread(ns(m)).Median,
				VsNone: *against(ns(m), ns(wire.None)),
			}
			for _, cost := range of {
				f.OddRounds += cost.Odd
				if !slices.Contains(f.Counts, cost.Counts) {
					f.Counts = append(f.Counts, cost.Counts)
				}
			}
			all = append(all, f)
		}
	}
	return all
}
