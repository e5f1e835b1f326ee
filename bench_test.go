package pool

import (
	"sync"
	"testing"

	"github.com/warmpage/pool/internal/hook"
)

type obj64 [8]uint64

// BenchmarkPair is a quick look at one Get+Put pair. Comparisons worth quoting are
// made in benchmarks/: several processes, layouts and workloads, sides in turn.
func BenchmarkPair(b *testing.B) {
	p := New[obj64]()
	std := sync.Pool{New: func() any { return new(obj64) }}
	xs := make([]*obj64, 64)
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			x := p.Get()
			x[0] = 1
			p.Put(x)
		}
	})
	b.Run("GetBatch", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += len(xs) {
			p.GetBatch(xs)
			p.PutBatch(xs)
		}
	})
	b.Run("Ref", func(b *testing.B) {
		refs := New[obj64]()
		b.ReportAllocs()
		for range b.N {
			r := refs.Ref(refs.Get())
			refs.Deref(r)[0] = 1
			refs.PutRef(r)
		}
	})
	b.Run("sync.Pool", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			x := std.Get().(*obj64)
			*x = obj64{}
			x[0] = 1
			std.Put(x)
		}
	})
}

// BenchmarkChurn/<config>/{base,warm} is the library with its changes to
// retirement off and on: what counts is slow/round and releases/round, and the
// times only as medians over several builds (examples/churn has the table).
func BenchmarkChurn(b *testing.B) {
	benchChurn[[64]byte](b, "64B-single-page", 1)
	benchChurn[[16]byte](b, "16B-multi-page", 8)
	benchChurn[[64]byte](b, "64B-multi-page", 8)
	benchChurn[[16]byte](b, "16B-2-pages", 2)
	benchChurn[[64]byte](b, "64B-2-pages", 2)
	benchChurn[[16]byte](b, "16B-4-pages", 4)
	benchChurn[[64]byte](b, "64B-4-pages", 4)
	benchChurn[[1024]byte](b, "1024B-control", 4)
}

func benchChurn[T any](b *testing.B, config string, pages int) {
	for _, name := range []string{"base", "warm"} {
		b.Run(config+"/"+name, func(b *testing.B) {
			oneP(b)
			if name == "base" {
				hook.Promotion.Store(hook.None)
			}
			p := New[T]()
			hook.Promotion.Store(hook.Reset)
			xs := make([]*T, pages*p.Stats().SlotsPerPage)
			order := orders(len(xs))["first-in"]
			for range 3 {
				churn(p, xs, order)
			}
			before := p.Stats()
			rounds := 0
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(xs) {
				churn(p, xs, order)
				rounds++
			}
			b.StopTimer()
			after := p.Stats()
			b.ReportMetric(float64(after.SlowGets-before.SlowGets)/float64(rounds), "slow/round")
			b.ReportMetric(float64(after.Releases-before.Releases)/float64(rounds), "releases/round")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
