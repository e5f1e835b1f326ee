package pool

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// BenchmarkDeref follows handles in random order to one word of each object: a
// Ref, a pointer to the same slot, and a map from a number to that pointer.
//
//	go test -run '^$' -bench Deref .
func BenchmarkDeref(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"objects=1k", 1 << 10}, {"objects=1M", 1 << 20}} {
		n := size.n
		p := New[obj64]()
		pointers := simBatch(p, n)
		rand.Shuffle(n, func(i, k int) { pointers[i], pointers[k] = pointers[k], pointers[i] })
		handles := make([]Ref[obj64], n)
		byNumber := make(map[uint64]*obj64, n)
		for k, x := range pointers {
			handles[k] = p.Ref(x)
			byNumber[uint64(k)] = x
		}
		var sum uint64
		b.Run(size.name+"/Ref", func(b *testing.B) {
			for i := range b.N {
				sum += p.Deref(handles[i%n])[0]
			}
		})
		b.Run(size.name+"/pointer", func(b *testing.B) {
			for i := range b.N {
				sum += pointers[i%n][0]
			}
		})
		b.Run(size.name+"/map", func(b *testing.B) {
			for i := range b.N {
				sum += byNumber[uint64(i*7919)%uint64(n)][0]
			}
		})
		p.PutBatch(pointers)
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		runtime.KeepAlive(sum)
	}
}

// BenchmarkGC is runtime.GC with 10 million objects of 64 bytes live: held by Refs,
// and on the heap by pointers. It also reports what they take.
//
//	go test -run '^$' -bench 'GC$' -benchtime 1x .
func BenchmarkGC(b *testing.B) {
	var refs, heap float64
	b.Run("Refs", func(b *testing.B) {
		p := New[obj64]()
		handles := make([]Ref[obj64], manyObjects)
		for k := range handles {
			handles[k] = Ref[obj64]{1} // resident from the start
		}
		before := resident(b)
		for k := range handles {
			x := p.Get()
			x[7] = 1
			handles[k] = p.Ref(x)
		}
		b.ReportMetric(float64(resident(b)-before)/manyObjects, "B/object")
		refs = collectMillis()
		b.ReportMetric(refs, "ms/GC")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(handles)
		for _, r := range handles {
			p.PutRef(r)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("heap", func(b *testing.B) {
		xs := make([]*obj64, manyObjects)
		for k := range xs {
			xs[k] = new(obj64)
		}
		heap = collectMillis()
		b.ReportMetric(heap, "ms/GC")
		b.ReportMetric(heap/refs, "heap/Refs")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(xs)
	})
}

// collectMillis is the least that a collection takes, of several: what others do
// on the machine comes on top.
func collectMillis() float64 {
	least := time.Hour
	for range 10 {
		start := time.Now()
		runtime.GC()
		least = min(least, time.Since(start))
	}
	return float64(least.Microseconds()) / 1000
}
