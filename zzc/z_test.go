package zzc

import (
	"github.com/warmpage/pool"
	"sync"
	"testing"
)

type o64 struct{ a [8]uint64 }

func BenchmarkPing(b *testing.B) {
	p := pool.New[o64]()
	std := &sync.Pool{New: func() any { return new(o64) }}
	b.Run("pool", func(b *testing.B) {
		for range b.N {
			x := p.Get()
			x.a[0] = 1
			p.Put(x)
		}
	})
	b.Run("poolNZ", func(b *testing.B) {
		for range b.N {
			x := p.GetNoZero()
			x.a[0] = 1
			p.Put(x)
		}
	})
	b.Run("sync", func(b *testing.B) {
		for range b.N {
			x := std.Get().(*o64)
			*x = o64{}
			x.a[0] = 1
			std.Put(x)
		}
	})
	b.Run("syncNZ", func(b *testing.B) {
		for range b.N {
			x := std.Get().(*o64)
			x.a[0] = 1
			std.Put(x)
		}
	})
	xs := make([]*o64, 64)
	b.Run("fpool", func(b *testing.B) {
		for i := 0; i < b.N; i += 64 {
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
	b.Run("fsync", func(b *testing.B) {
		for i := 0; i < b.N; i += 64 {
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
}
