package pool

import (
	"fmt"
	"testing"

	"github.com/warmpage/pool/internal/hook"
)

// Benchmarks against sync.Pool and new. Every op is one Get+Put pair, and each
// side does the same work on the object: it is zeroed before use (by Get, by an
// assignment for sync.Pool, by new), and its first word is written.
//
// The ns/op of two sides of one run can be compared. Those of two runs, or of
// two builds, differ by more than most changes to the code make. With the output
// of several processes in one file, this is the table of medians:
//
//	benchstat -col /side -filter '.unit:ns/op' FILE
//
// The loops are in bench64_test.go and bench1024_test.go, for two sizes and
// written out for each side: calls through func values or type parameters are
// not inlined, which would cost most where there is least to do.

type (
	obj64   [8]uint64
	obj1024 [128]uint64
)

const batchLen = 64

func BenchmarkPingPong(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides64(b, false, pingPong64) })
	b.Run("size=1024", func(b *testing.B) { benchSides1024(b, false, pingPong1024) })
}

func BenchmarkPingPongParallel(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides64(b, true, pingPong64) })
	b.Run("size=1024", func(b *testing.B) { benchSides1024(b, true, pingPong1024) })
}

// BenchmarkFill gets out=N objects and then puts them all, in rounds.
func BenchmarkFill(b *testing.B)         { benchFill(b, false) }
func BenchmarkFillParallel(b *testing.B) { benchFill(b, true) }

func benchFill(b *testing.B, parallel bool) {
	for _, n := range []int{64, 1024, 4096} {
		b.Run(fmt.Sprintf("size=64/out=%d", n), func(b *testing.B) { benchSides64(b, parallel, fillLoop64(n)) })
	}
	for _, n := range []int{64, 1024, 4096} {
		b.Run(fmt.Sprintf("size=1024/out=%d", n), func(b *testing.B) { benchSides1024(b, parallel, fillLoop1024(n)) })
	}
}

func BenchmarkProducerConsumer(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides64(b, false, producerConsumer64) })
	b.Run("size=1024", func(b *testing.B) { benchSides1024(b, false, producerConsumer1024) })
}

func BenchmarkExchange(b *testing.B) {
	b.Run("size=64", func(b *testing.B) { benchSides64(b, true, exchange64) })
	b.Run("size=1024", func(b *testing.B) { benchSides1024(b, true, exchange1024) })
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
