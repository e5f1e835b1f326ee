package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
)

func TestBar(t *testing.T) {
	const step = 5 * mib
	assert.Empty(t, bar(0, step))
	assert.Empty(t, bar(-mib, step))
	assert.Equal(t, "#", bar(step, step))
	assert.Equal(t, "###", bar(3*step+mib, step), "rounded down")
	assert.Equal(t, "####", bar(3*step+4*mib, step), "rounded up")
	full := bar(barWidth*step, step)
	assert.Len(t, full, barWidth)
	assert.NotContains(t, full, ">")
	over := bar((barWidth+1)*step, step)
	assert.Len(t, over, barWidth)
	assert.Contains(t, over, ">")
}

func TestBarStep(t *testing.T) {
	for top, want := range map[int64]int64{
		0:                  mib,
		barWidth * mib:     mib,
		barWidth*mib + 1:   2 * mib,
		barWidth * 3 * mib: 4 * mib,
	} {
		assert.Equal(t, want, barStep(top), top)
	}
}

func TestLimit(t *testing.T) {
	assert.EqualValues(t, 32*mib, usual.limit())
	assert.Equal(t, quick.payload()/2, quick.limit())
	assert.EqualValues(t, 4*mib, plan{Objects: 1}.limit())
}

// made returns a phase with one burst of 100 MiB. Its memory has come back 2 s after the Puts.
func made(known bool) phase {
	const objects = 100 * mib / objectSize
	out := pool.Stats{SlotSize: objectSize, Live: objects}
	back := pool.Stats{SlotSize: objectSize}
	return phase{
		plan: plan{Side: thisPool, Objects: objects, Bursts: 1, Settle: 5 * time.Second},
		samples: []sample{
			{Moment: atStart, Resident: 10 * mib, Known: known},
			{At: 1 * time.Second, Moment: atBurst, Burst: 1, Resident: 10 * mib, Known: known},
			{At: 2 * time.Second, Moment: allOut, Burst: 1, Resident: 110 * mib, Known: known, Pool: out},
			{At: 3 * time.Second, Moment: allBack, Burst: 1, Resident: 111 * mib, Known: known, Pool: back},
			{At: 5 * time.Second, Burst: 1, Resident: 12 * mib, Known: known, Pool: back},
			{At: 8 * time.Second, Moment: atEnd, Burst: 1, Resident: 11 * mib, Known: known, Pool: back},
		},
	}
}

// This is what the program is for: check must reject a library that keeps the memory, and one that
// never took any.
func TestCheck(t *testing.T) {
	assert.NoError(t, check(made(true)))
	for _, test := range []struct {
		want  string
		spoil func(*phase)
	}{
		{"5s after the last Put resident memory is 33.0 MiB above the start, want at most 32.0 MiB", func(ph *phase) { ph.samples[5].Resident = 43 * mib }},
		{"at the peak of burst 1 the pool counts 0 slots in use, want 1638400", func(ph *phase) { ph.samples[2].Pool.Live = 0 }},
		{"at the peak of burst 1 resident memory is only 1.0 MiB above the start, want about 100.0 MiB", func(ph *phase) { ph.samples[2].Resident = 11 * mib }},
		{"after burst 1 the pool counts 1 slots in use, want 0", func(ph *phase) { ph.samples[3].Pool.Live = 1 }},
		{"saw 1 bursts, want 2", func(ph *phase) { ph.plan.Bursts = 2 }},
	} {
		ph := made(true)
		test.spoil(&ph)
		assert.ErrorContains(t, check(ph), test.want)
	}

	ph := made(false)
	ph.samples[5].Resident = 43 * mib
	assert.NoError(t, check(ph), "unknown resident memory is not checked")
}

func TestBackAfter(t *testing.T) {
	ph := made(true)
	d, ok := ph.backAfter(promised)
	assert.True(t, ok)
	assert.Equal(t, 2*time.Second, d)

	_, ok = ph.backAfter(0)
	assert.False(t, ok)

	ph.samples[5].Resident = 111 * mib
	_, ok = ph.backAfter(promised)
	assert.False(t, ok, "memory must stay within the limit")
	assert.EqualValues(t, 111*mib, ph.peak())
}

func TestResidentNotKnown(t *testing.T) {
	theirs := made(false)
	theirs.plan.Side = syncPool
	phases := []phase{made(false), theirs}
	var out bytes.Buffer
	for _, ph := range phases {
		l := newLines(&out, ph.plan)
		for _, s := range ph.samples {
			l.print(s)
		}
	}
	printSummary(&out, phases)
	assert.Contains(t, out.String(), "this pool: memory that the pool holds (resident memory is unknown on ")
	assert.Contains(t, out.String(), "sync.Pool: memory that the Go heap holds (resident memory is unknown on ")
	assert.Contains(t, out.String(), "held, by its own account")
	assert.NotContains(t, out.String(), "resident at the start")

	svg := filepath.Join(t.TempDir(), "burst.svg")
	require.NoError(t, writeChart(svg, phases))
	text := charttest.Read(t, svg)
	assert.Contains(t, text, "memory held")
	assert.NotContains(t, text, "resident")
}

// There is one line per second, and one for each moment that the chart shows.
func TestLines(t *testing.T) {
	ph := made(true)
	var out bytes.Buffer
	l := newLines(&out, ph.plan)
	l.print(ph.samples[0])
	for _, at := range []time.Duration{100, 900, 1000, 1100, 2010} {
		l.print(sample{At: at * time.Millisecond, Known: true})
	}
	shown := func() int { return len(regexp.MustCompile(`(?m)^ *\d+\.\d `).FindAll(out.Bytes(), -1)) }
	assert.Equal(t, 3, shown(), out.String())
	for _, s := range ph.samples[1:] {
		l.print(s)
	}
	assert.Equal(t, 7, shown(), out.String())
}
