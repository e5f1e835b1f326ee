package pool

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

type o64 struct{ a [8]uint64 }

func TestZZ(t *testing.T) {
	oneP(t)
	p := New[o64]()
	std := &sync.Pool{New: func() any { return new(o64) }}
	xs := make([]*o64, 64)
	res := map[string]time.Duration{}
	run := func(n string, f func(n int)) {
		t0 := time.Now()
		f(1 << 19)
		d := time.Since(t0)
		if res[n] == 0 || d < res[n] {
			res[n] = d
		}
	}
	for k := 0; k < 40; k++ {
		run("ping", func(n int) {
			for i := 0; i < n; i++ {
				x := p.Get()
				x.a[0] = 1
				p.Put(x)
			}
		})
		run("pingNZ", func(n int) {
			for i := 0; i < n; i++ {
				x := p.GetNoZero()
				x.a[0] = 1
				p.Put(x)
			}
		})
		run("sync", func(n int) {
			for i := 0; i < n; i++ {
				x := std.Get().(*o64)
				*x = o64{}
				x.a[0] = 1
				std.Put(x)
			}
		})
		run("syncNZ", func(n int) {
			for i := 0; i < n; i++ {
				x := std.Get().(*o64)
				x.a[0] = 1
				std.Put(x)
			}
		})
		run("fill", func(n int) {
			for i := 0; i < n; i += 64 {
				for k := range xs {
					x := p.Get()
					x.a[0] = 1
					xs[k] = x
				}
				for _, x := range xs {
					p.Put(x)
				}
			}
		})
		run("fillsync", func(n int) {
			for i := 0; i < n; i += 64 {
				for k := range xs {
					x := std.Get().(*o64)
					*x = o64{}
					x.a[0] = 1
					xs[k] = x
				}
				for _, x := range xs {
					std.Put(x)
				}
			}
		})
		run("filllist", func(n int) {
			y := p.Get()
			for i := 0; i < n; i += 64 {
				for k := range xs {
					x := p.Get()
					x.a[0] = 1
					xs[k] = x
				}
				for _, x := range xs {
					p.Put(x)
				}
			}
			p.Put(y)
		})
		run("batch", func(n int) {
			for i := 0; i < n; i += 64 {
				p.GetBatch(xs)
				for _, x := range xs {
					x.a[0] = 1
				}
				p.PutBatch(xs)
			}
		})
	}
	for _, n := range []string{"ping", "pingNZ", "sync", "syncNZ", "fill", "fillsync", "filllist", "batch"} {
		fmt.Printf("%s %.1f  ", n, float64(res[n].Nanoseconds())/(1<<19))
	}
	fmt.Println()
}
