package pool

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkProfileCost is what the profile at its default rate costs: the time with it as a ratio
// to that without, as the median over pairs of pools made anew, and as the quarters below and
// above it. Within a pair the sides take turns, so that both have the same code, and much the same
// moments of the machine.
//
//	go test -run '^$' -bench ProfileCost -benchtime 200x .
func BenchmarkProfileCost(b *testing.B) {
	benchProfileCost[[64]byte](b, "64B")
	benchProfileCost[[1024]byte](b, "1KiB")
}

func benchProfileCost[T any](b *testing.B, size string) {
	xs := make([]*T, 1024)
	workloads := []struct {
		name string
		run  func(p *Pool[T])
	}{
		{"ping-pong", func(p *Pool[T]) {
			for range 4096 {
				p.Put(p.Get())
			}
		}},
		{"churn", func(p *Pool[T]) {
			for range 4 {
				for i := range xs {
					xs[i] = p.Get()
				}
				for _, x := range xs {
					p.Put(x)
				}
			}
		}},
		{"window", func(p *Pool[T]) {
			w := xs[:64]
			p.GetBatch(w)
			for i := range 4096 {
				p.Put(w[i%64])
				w[i%64] = p.Get()
			}
			p.PutBatch(w)
		}},
		{"batch", func(p *Pool[T]) {
			for range 64 {
				p.GetBatch(xs[:64])
				p.PutBatch(xs[:64])
			}
		}},
	}
	for _, w := range workloads {
		b.Run(size+"/"+w.name, func(b *testing.B) {
			var ratios []float64
			for k := range b.N {
				sides := [2]*Pool[T]{}
				for i := range sides {
					i := (i + k) % 2 // neither side's memory always comes first
					sides[i] = New[T](WithProfile(i * DefaultProfileRate))
					w.run(sides[i])
				}
				var times [2]time.Duration
				for range 100 {
					for i, p := range sides {
						start := time.Now()
						w.run(p)
						times[i] += time.Since(start)
					}
				}
				ratios = append(ratios, float64(times[1])/float64(times[0]))
				for _, p := range sides {
					if err := p.Close(); err != nil {
						b.Fatal(err)
					}
				}
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(ratios[len(ratios)/4], "lower")
			b.ReportMetric(ratios[len(ratios)*3/4], "upper")
			b.ReportMetric(0, "ns/op")
		})
	}
}
