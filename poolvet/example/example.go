// Package example has one pool for each verdict, to try poolvet on.
package example

import (
	"bytes"
	"compress/gzip"
	"io"
	"sync"
)

type point struct{ x, y float64 }

type job struct {
	name string
	next *job
}

var (
	points  = sync.Pool{New: func() any { return new(point) }}
	jobs    = sync.Pool{New: func() any { return new(job) }}
	writers = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}
	texts   = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	ints    = sync.Pool{New: func() any { return new([]int) }}
)

// Distance shows the one idiom that -fix rewrites.
func Distance(x, y float64) float64 {
	p := points.Get().(*point)
	defer points.Put(p)
	p.x, p.y = x, y
	return p.x*p.x + p.y*p.y
}

// Use uses the others.
func Use() {
	j := jobs.Get().(*job)
	j.name, j.next = "first", nil
	jobs.Put(j)
	writers.Put(writers.Get())
	texts.Put(texts.Get())
	ints.Put(ints.Get())
}
