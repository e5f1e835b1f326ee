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
type crew[T any] []loops.Loops[T]

func newRunner[T any](w catalog.Workload, workers int, l loops.Loops[T]) runner {
	c := crew[T]{l}
	if w.Parallel {
		for len(c) < max(workers, w.Kind.LeastWorkers()) {
			c = append(c, l.Fork())
		}
	}
	switch w.Kind {
	case catalog.PingPong:
		return pingPong[T]{c}
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
		return request[T]{c}
	}
	panic(fmt.Sprintf("no workload of kind %q", w.Kind))
}

func (c crew[T]) close() { c[0].Close() }

// do runs work once for each of the crew, all at the same time: so many pairs.
func (c crew[T]) do(pairs int, work func(k int, l loops.Loops[T])) lap {
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

type pingPong[T any] struct{ crew[T] }

func (r pingPong[T]) run(n int) lap {
	each := max(1, n/len(r.crew))
	return r.do(each*len(r.crew), func(_ int, l loops.Loops[T]) { l.PingPong(each) })
}

// churn gets N objects and puts them all, over and over.
type churn[T any] struct {
	crew[T]
	objects [][]*T // of each worker
	order   []int32
}

func newChurn[T any](c crew[T], w catalog.Workload) churn[T] {
	r := churn[T]{crew: c, order: indexes(w.Objects, w.Order)}
	for range c {
		r.objects = append(r.objects, make([]*T, w.Objects))
	}
	return r
}

func (r churn[T]) run(n int) lap {
	all := len(r.order) * len(r.crew)
	times := (n + all - 1) / all
	return r.do(times*all, func(k int, l loops.Loops[T]) {
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
type producerConsumer[T any] struct {
	crew[T]
	full, empty chan []*T
	order       []int32
}

func newProducerConsumer[T any](c crew[T]) producerConsumer[T] {
	const queue = 16
	r := producerConsumer[T]{c[:2], make(chan []*T, queue), make(chan []*T, queue), indexes(catalog.BatchLen, catalog.FIFO)}
	for range queue {
		r.empty <- make([]*T, catalog.BatchLen)
	}
	return r
}

func (r producerConsumer[T]) run(n int) lap {
	batches := (n + catalog.BatchLen - 1) / catalog.BatchLen
	return r.do(batches*catalog.BatchLen, func(k int, l loops.Loops[T]) {
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
type exchange[T any] struct {
	crew[T]
	table *[catalog.TableLen]atomic.Pointer[T]
}

func newExchange[T any](c crew[T]) exchange[T] {
	r := exchange[T]{c, new([catalog.TableLen]atomic.Pointer[T])}
	xs := make([]*T, len(r.table))
	c[0].GetAll(xs)
	for i, x := range xs {
		r.table[i].Store(x)
	}
	return r
}

func (r exchange[T]) run(n int) lap {
	each := wholeBatches(n / len(r.crew))
	return r.do(each*len(r.crew), func(_ int, l loops.Loops[T]) { l.Exchange(r.table, each) })
}

func (r exchange[T]) close() {
	xs := make([]*T, len(r.table))
	for i := range r.table {
		xs[i] = r.table[i].Load()
	}
	r.crew[0].PutAll(xs, indexes(len(xs), catalog.FIFO))
	r.crew.close()
}

// wholeBatches rounds n up, so that the batch side does as many pairs as others.
func wholeBatches(n int) int {
	return max(1, (n+catalog.BatchLen-1)/catalog.BatchLen) * catalog.BatchLen
}

// larson is the server of Larson and Krishnan (1998): each worker replaces
// objects of its array for a round, and hands the array to the next worker.
type larson[T any] struct {
	crew[T]
	arrays []*[catalog.TableLen]*T
}

func newLarson[T any](c crew[T]) larson[T] {
	r := larson[T]{crew: c}
	for range c {
		a := new([catalog.TableLen]*T)
		c[0].GetAll(a[:])
		r.arrays = append(r.arrays, a)
	}
	return r
}

func (r larson[T]) run(n int) lap {
	workers := len(r.crew)
	rounds := max(1, n/(workers*catalog.LarsonRound))
	inherit := make([]atomic.Pointer[[catalog.TableLen]*T], workers)
	for k := range inherit {
		inherit[k].Store(r.arrays[k])
	}
	lap := r.do(rounds*workers*catalog.LarsonRound, func(k int, l loops.Loops[T]) {
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

func (r larson[T]) close() {
	order := indexes(catalog.TableLen, catalog.FIFO)
	for _, a := range r.arrays {
		r.crew[0].PutAll(a[:], order)
	}
	r.crew.close()
}

// burst holds many objects, is idle, and then gets and puts a tenth more. Only
// that is timed: what did a side forget, and the processor about it, meanwhile?
type burst[T any] struct {
	crew[T]
	base, extra []*T
	order       []int32
}

func newBurst[T any](c crew[T]) burst[T] {
	r := burst[T]{c, make([]*T, catalog.BurstBase), make([]*T, catalog.BurstLen), indexes(catalog.BurstLen, catalog.FIFO)}
	c[0].GetAll(r.base)
	return r
}

func (r burst[T]) run(n int) (l lap) {
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

func (r burst[T]) close() {
	r.crew[0].PutAll(r.base, indexes(len(r.base), catalog.FIFO))
	r.crew.close()
}

// request gets an object on one goroutine; it goes through two others and is put
// on a fourth.
type request[T any] struct{ crew[T] }

func (r request[T]) run(n int) lap {
	const channels = 3
	var hops [channels]chan *T
	for i := range hops {
		hops[i] = make(chan *T, catalog.InFlight/channels)
	}
	work := crew[T]{r.crew[0], r.crew[1], nil, nil}
	return work.do(n, func(k int, l loops.Loops[T]) {
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
