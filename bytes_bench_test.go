package pool

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkBytes compares a Get and a Put of a Bytes with those of a sync.Pool of *[]byte, and with
// those of a pool of arrays, all on the Go heap. The sides take turns in slices of about 100 µs. Each
// figure is the median, over the slices, of the time of a Bytes divided by that of the other side.
//
//	go test -run '^$' -bench 'Bytes$' -benchtime 2000x .
func BenchmarkBytes(b *testing.B) {
	const n = 1000 // of the class of 1024
	bytes := NewBytes()
	arrays := New[[1024]byte](WithGoHeap())
	std := sync.Pool{New: func() any {
		s := make([]byte, 1024)
		return &s
	}}
	lengths := make([]int, 256) // of one class each side has, and of eight that a Bytes has
	for i := range lengths {
		lengths[i] = 513 + rand.IntN(512)
	}
	held := make([][]byte, 64)
	pointers := make([]*[]byte, 64)
	slots := make([]*[1024]byte, 64)

	for _, workload := range []struct {
		name  string
		sides [3]func() // Bytes, sync.Pool, Pool
	}{
		{"ping-pong", [3]func(){
			func() {
				for range 4096 {
					s := bytes.Get(n)
					s[0] = 1
					bytes.Put(s)
				}
			},
			func() {
				for range 4096 {
					p := std.Get().(*[]byte)
					s := (*p)[:n]
					s[0] = 1
					std.Put(p)
				}
			},
			func() {
				for range 4096 {
					x := arrays.GetNoZero()
					s := x[:n]
					s[0] = 1
					arrays.Put(x)
				}
			},
		}},
		{"lengths", [3]func(){
			func() {
				for i := range 4096 {
					s := bytes.Get(lengths[i%len(lengths)])
					s[0] = 1
					bytes.Put(s)
				}
			},
			func() {
				for i := range 4096 {
					p := std.Get().(*[]byte)
					s := (*p)[:lengths[i%len(lengths)]]
					s[0] = 1
					std.Put(p)
				}
			},
			func() {
				for i := range 4096 {
					x := arrays.GetNoZero()
					s := x[:lengths[i%len(lengths)]]
					s[0] = 1
					arrays.Put(x)
				}
			},
		}},
		{"churn", [3]func(){
			func() {
				for range 64 {
					for i := range held {
						held[i] = bytes.Get(n)
						held[i][0] = 1
					}
					for _, s := range held {
						bytes.Put(s)
					}
				}
			},
			func() {
				for range 64 {
					for i := range pointers {
						pointers[i] = std.Get().(*[]byte)
						(*pointers[i])[:n][0] = 1
					}
					for _, p := range pointers {
						std.Put(p)
					}
				}
			},
			func() {
				for range 64 {
					for i := range slots {
						slots[i] = arrays.GetNoZero()
						slots[i][:n][0] = 1
					}
					for _, x := range slots {
						arrays.Put(x)
					}
				}
			},
		}},
	} {
		b.Run(workload.name, func(b *testing.B) {
			var times [3][]float64 // ns for each Get and its Put
			for range b.N {
				for i, run := range workload.sides {
					start := time.Now()
					run()
					times[i] = append(times[i], float64(time.Since(start))/4096)
				}
			}
			for _, other := range []struct {
				side int
				unit string
			}{{1, "of-sync.Pool"}, {2, "of-Pool"}} {
				ratios := make([]float64, b.N)
				for k := range ratios {
					ratios[k] = times[0][k] / times[other.side][k]
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], other.unit)
			}
			slices.Sort(times[0])
			b.ReportMetric(times[0][b.N/2], "ns/op")
		})
	}
}
