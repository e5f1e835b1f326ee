package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/loops"
)

// A runner is a workload on one side, ready to run: what takes memory has it.
type runner interface {
	run(n int) lap // of about n pairs
	close()
}

// A lap is what a runner has done.
type lap struct {
	pairs int
	took  time.Duration // from the first start of a worker to the last end
	gap   time.Duration // from the first end to the last
	probe time.Duration // the longest, of those just before and after
}

// each returns ns a pair.
func (l lap) each() float64 { return float64(l.took) / float64(l.pairs) }

func (l lap) gapShare() float64 { return float64(l.gap) / float64(l.took) }

// A crew is the goroutines of one runner, each with its loops; all have one pool.
type crew[H any] []loops.Loops[H]

func newRunner[H any](w catalog.Workload, workers int, l loops.Loops[H]) runner {
	c := crew[H]{l}
	if w.Parallel {
		for len(c) < max(workers, w.Kind.LeastWorkers()) {
			c = append(c, l.Fork())
		}
	}
	switch w.Kind {
	case catalog.PingPong:
		return pingPong[H]{c}
	case catalog.Churn:
		return newChurn(c, w)
	case catalog.ProducerConsumer:
		return newProducerConsumer(c)
	case catalog.Exchange:
		return newExchange(c)
	case catalog.Larson:
		return newLarson(c)
	case catalog.Burst:
		return newBurst(c)
	case catalog.Request:
		return request[H]{c}
	}
	panic(fmt.Sprintf("no workload of kind %q", w.Kind))
}

func (c crew[H]) close() { c[0].Close() }

// do runs work once for each of the crew, all at the same time: so many pairs.
func (c crew[H]) do(pairs int, work func(k int, l loops.Loops[H])) lap {
	return timeWorkers(len(c), pairs, func(k int) { work(k, c[k]) })
}

// timeWorkers runs work on so many goroutines, all at the same time: so many pairs.
func timeWorkers(workers, pairs int, work func(k int)) lap {
	starts, ends, probes := make([]time.Time, workers), make([]time.Time, workers), make([]time.Duration, workers)
	timed := func(k int) {
		before := probe()
		starts[k] = time.Now()
		work(k)
		ends[k] = time.Now()
		probes[k] = max(before, probe())
	}
	switch {
	case workers == 1:
		timed(0)
	case workers <= min(runtime.GOMAXPROCS(0), runtime.NumCPU()):
		together.do(workers, timed)
	default:
		var done sync.WaitGroup
		for k := range workers {
			done.Go(func() { timed(k) })
		}
		done.Wait()
	}
	end := slices.MaxFunc(ends, time.Time.Compare)
	return lap{
		pairs: pairs,
		took:  end.Sub(slices.MinFunc(starts, time.Time.Compare)),
		gap:   end.Sub(slices.MinFunc(ends, time.Time.Compare)),
		probe: slices.Max(probes),
	}
}

type pingPong[H any] struct{ crew[H] }

func (r pingPong[H]) run(n int) lap {
	each := max(1, n/len(r.crew))
	return r.do(each*len(r.crew), func(_ int, l loops.Loops[H]) { l.PingPong(each) })
}

// churn gets N objects and puts them all, over and over.
type churn[H any] struct {
	crew[H]
	objects [][]H // of each worker
	order   []int32
}

func newChurn[H any](c crew[H], w catalog.Workload) churn[H] {
	r := churn[H]{crew: c, order: indexes(w.Objects, w.Order)}
	for range c {
		r.objects = append(r.objects, make([]H, w.Objects))
	}
	return r
}

func (r churn[H]) run(n int) lap {
	all := len(r.order) * len(r.crew)
	times := (n + all - 1) / all
	return r.do(times*all, func(k int, l loops.Loops[H]) {
		for range times {
			l.GetAll(r.objects[k])
			l.PutAll(r.objects[k], r.order)
		}
	})
}

// indexes returns the numbers below n in order o.
func indexes(n int, o catalog.Order) []int32 {
	seq := make([]int32, n)
	for i := range seq {
		seq[i] = int32(i)
	}
	switch o {
	case catalog.LIFO:
		slices.Reverse(seq)
	case catalog.Shuffled:
		rng := rand.New(rand.NewPCG(1, 2))
		rng.Shuffle(n, func(i, j int) { seq[i], seq[j] = seq[j], seq[i] })
	}
	return seq
}

// producerConsumer gets on one goroutine and puts on another, a batch at a time;
// the slices go back for use again.
type producerConsumer[H any] struct {
	crew[H]
	full, empty chan []H
	order       []int32
}

func newProducerConsumer[H any](c crew[H]) producerConsumer[H] {
	const queue = 16
	r := producerConsumer[H]{c[:2], make(chan []H, queue), make(chan []H, queue), indexes(catalog.BatchLen, catalog.FIFO)}
	for range queue {
		r.empty <- make([]H, catalog.BatchLen)
	}
	return r
}

func (r producerConsumer[H]) run(n int) lap {
	batches := (n + catalog.BatchLen - 1) / catalog.BatchLen
	return r.do(batches*catalog.BatchLen, func(k int, l loops.Loops[H]) {
		for range batches {
			if k == 0 {
				xs := loops.Receive(r.empty)
				l.GetAll(xs)
				r.full <- xs
			} else {
				xs := loops.Receive(r.full)
				l.PutAll(xs, r.order)
				r.empty <- xs
			}
		}
	})
}

// exchange has a table that all workers swap their objects with: every other
// one they put, with two of them, was got by somebody else.
type exchange[H any] struct {
	crew[H]
	table loops.Table[H]
}

func newExchange[H any](c crew[H]) exchange[H] {
	xs := make([]H, catalog.TableLen)
	c[0].GetAll(xs)
	return exchange[H]{c, c[0].NewTable(xs)}
}

func (r exchange[H]) run(n int) lap {
	each := wholeBatches(n / len(r.crew))
	return r.do(each*len(r.crew), func(_ int, l loops.Loops[H]) { l.Exchange(r.table, each) })
}

func (r exchange[H]) close() {
	xs := r.table.All()
	r.crew[0].PutAll(xs, indexes(len(xs), catalog.FIFO))
	r.crew.close()
}

// wholeBatches rounds n up, so that the batch side does as many pairs as others.
func wholeBatches(n int) int {
	return max(1, (n+catalog.BatchLen-1)/catalog.BatchLen) * catalog.BatchLen
}

// larson is the server of Larson and Krishnan (1998): each worker replaces
// objects of its array for a round, and hands the array to the next worker.
type larson[H any] struct {
	crew[H]
	arrays []*[catalog.TableLen]H
}

func newLarson[H any](c crew[H]) larson[H] {
	r := larson[H]{crew: c}
	for range c {
		a := new([catalog.TableLen]H)
		c[0].GetAll(a[:])
		r.arrays = append(r.arrays, a)
	}
	return r
}

func (r larson[H]) run(n int) lap {
	workers := len(r.crew)
	rounds := max(1, n/(workers*catalog.LarsonRound))
	inherit := make([]atomic.Pointer[[catalog.TableLen]H], workers)
	for k := range inherit {
		inherit[k].Store(r.arrays[k])
	}
	lap := r.do(rounds*workers*catalog.LarsonRound, func(k int, l loops.Loops[H]) {
		heir := &inherit[(k+1)%workers]
		for range rounds {
			for inherit[k].Load() == nil { // a channel would put the thread to sleep
				runtime.Gosched()
			}
			a := inherit[k].Swap(nil)
			l.Larson(a, catalog.LarsonRound)
			for !heir.CompareAndSwap(nil, a) {
				runtime.Gosched()
			}
		}
	})
	for k := range inherit {
		r.arrays[k] = inherit[k].Load()
	}
	return lap
}

func (r larson[H]) close() {
	order := indexes(catalog.TableLen, catalog.FIFO)
	for _, a := range r.arrays {
		r.crew[0].PutAll(a[:], order)
	}
	r.crew.close()
}

// burst holds many objects, is idle, and then gets and puts a tenth more. Only
// that is timed: what did a side forget, and the processor about it, meanwhile?
type burst[H any] struct {
	crew[H]
	base, extra []H
	order       []int32
}

func newBurst[H any](c crew[H]) burst[H] {
	r := burst[H]{c, make([]H, catalog.BurstBase), make([]H, catalog.BurstLen), indexes(catalog.BurstLen, catalog.FIFO)}
	c[0].GetAll(r.base)
	return r
}

func (r burst[H]) run(n int) (l lap) {
	for range min(catalog.BurstRepeat, max(1, n/catalog.BurstLen)) {
		time.Sleep(catalog.BurstIdle)
		start := time.Now()
		r.crew[0].GetAll(r.extra)
		r.crew[0].PutAll(r.extra, r.order)
		l.took += time.Since(start)
		l.pairs += len(r.extra)
	}
	return l
}

func (r burst[H]) close() {
	r.crew[0].PutAll(r.base, indexes(len(r.base), catalog.FIFO))
	r.crew.close()
}

// request gets an object on one goroutine; it goes through two others and is put
// on a fourth.
type request[H any] struct{ crew[H] }

func (r request[H]) run(n int) lap {
	const channels = 3
	var hops [channels]chan H
	for i := range hops {
		hops[i] = make(chan H, catalog.InFlight/channels)
	}
	work := crew[H]{r.crew[0], r.crew[1], nil, nil}
	return work.do(n, func(k int, l loops.Loops[H]) {
		switch k {
		case 0:
			l.Send(hops[0], n)
			close(hops[0])
		case 1:
			l.Receive(hops[channels-1])
		default: // 2 and 3 pass on
			for x := range hops[k-2] {
				hops[k-1] <- x
			}
			close(hops[k-1])
		}
	})
}
