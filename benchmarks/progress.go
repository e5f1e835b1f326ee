package main

import (
	"fmt"
	"io"
	"time"
)

// progressEvery keeps a log short enough to read.
const progressEvery = 5 * time.Second

// A progress says what is being measured and how much time is left, by how far the
// expected times of the steps so far were off.
type progress struct {
	out   io.Writer
	total time.Duration // expected
	begun time.Duration // expected, of all steps up to this one
	done  time.Duration // expected, of all steps before this one
	start time.Time
	last  time.Time // printed
}

func newProgress(out io.Writer, total time.Duration) *progress {
	return &progress{out: out, total: total, start: time.Now()}
}

// step says that a step begins which is expected to take that long.
func (p *progress) step(name string, expected time.Duration) {
	p.done = p.begun
	p.begun += expected
	if time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	left := p.total - p.done
	if p.done > 0 {
		left = time.Duration(float64(left) * float64(time.Since(p.start)) / float64(p.done))
	}
	fmt.Fprintf(p.out, "%6s left  %s\n", left.Round(time.Second), name)
}

func (p *progress) note(text string) { fmt.Fprintln(p.out, text) }
