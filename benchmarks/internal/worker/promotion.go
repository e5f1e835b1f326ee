package main

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
	"github.com/warmpage/pool/internal/hook"
)

var promotionHooks = map[wire.PromotionMode]uint32{
	wire.Reset: hook.Reset,
	wire.Move:  hook.Move,
	wire.None:  hook.None,
}

// measurePromotion gets all slots of some pages and puts them all, over and over,
// with pools that differ in what they do with an empty page. They take turns
// quickly: each is called several times between two ticks of its timer, and does
// not notice that there are others.
//
// One P, because a goroutine that is moved to another leaves its pages behind:
// rare, but enough to change what is counted.
func measurePromotion(spec wire.PromotionSpec) (wire.Promotion, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	switch spec.Size {
	case 64:
		return comparePromotions[loops.Obj64](spec), nil
	case 1024:
		return comparePromotions[loops.Obj1024](spec), nil
	}
	return wire.Promotion{}, fmt.Errorf("no promotion study of %d bytes", spec.Size)
}

func comparePromotions[T any](spec wire.PromotionSpec) wire.Promotion {
	var all []*contender
	var churns []*pageChurn[T]
	for _, m := range wire.PromotionModes {
		c := newPageChurn[T](spec, m)
		churns = append(churns, c)
		all = append(all, &contender{runner: c, n: calibrate(c, spec.Target)})
	}
	runtime.GC()
	counts := make([]map[wire.PromotionCounts]int, len(all))
	for i := range counts {
		counts[i] = make(map[wire.PromotionCounts]int)
	}
	for round := range spec.Rounds {
		for i := range all {
			k := (i + round + spec.Turn) % len(all)
			all[k].play()
			counts[k][churns[k].last]++
		}
	}
	result := wire.Promotion{Modes: make(map[wire.PromotionMode]wire.PromotionCost)}
	for i, m := range wire.PromotionModes {
		usual, times := mostFrequent(counts[i])
		result.Modes[m] = wire.PromotionCost{NS: median(all[i].rounds), Counts: usual, Odd: spec.Rounds - times}
		churns[i].close()
	}
	return result
}

func mostFrequent[K comparable](counts map[K]int) (most K, times int) {
	for k, n := range counts {
		if n > times {
			most, times = k, n
		}
	}
	return most, times
}

// A pageChurn is a churn over all slots of some pages. It is a runner.
type pageChurn[T any] struct {
	p     *pool.Pool[T]
	xs    []*T
	order []int32
	last  wire.PromotionCounts // of the last run
	sum   uint64
}

func newPageChurn[T any](spec wire.PromotionSpec, m wire.PromotionMode) *pageChurn[T] {
	hook.Promotion.Store(promotionHooks[m])
	defer hook.Promotion.Store(hook.Reset)
	p := pool.New[T]()
	n := spec.Pages * p.Stats().SlotsPerPage
	return &pageChurn[T]{p: p, xs: make([]*T, n), order: indexes(n, spec.Order)}
}

func (c *pageChurn[T]) run(n int) lap {
	times := (n + len(c.xs) - 1) / len(c.xs)
	before := c.p.Stats()
	start := time.Now()
	for range times {
		c.getAndPutAll()
	}
	took := time.Since(start)
	after := c.p.Stats()
	each := func(before, after uint64) float64 { return float64(after-before) / float64(times) }
	c.last = wire.PromotionCounts{
		SlowGets:   each(before.SlowGets, after.SlowGets),
		Releases:   each(before.Releases, after.Releases),
		Promotions: each(before.Promotions, after.Promotions),
	}
	return lap{pairs: times * len(c.xs), took: took}
}

// getAndPutAll touches only the first word of each object, and has it not cleared:
// what pools do is the same in all modes but for what is measured. (It is no
// generated loop, but Get and Put are inlined here, too.)
func (c *pageChurn[T]) getAndPutAll() {
	p, xs, sum := c.p, c.xs, uint64(0)
	for i := range xs {
		x := p.GetNoZero()
		*(*uint64)(unsafe.Pointer(x)) = uint64(i)
		xs[i] = x
	}
	for _, i := range c.order {
		x := xs[i]
		sum += *(*uint64)(unsafe.Pointer(x))
		p.Put(x)
	}
	c.sum += sum
}

func (c *pageChurn[T]) close() { loops.Check(c.p.Close()) }
