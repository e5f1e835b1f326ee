package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

func runWith(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// One workload through child processes, with all that is written.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	out := filepath.Join(dir, "results")
	code, stdout, stderr := runWith(t.Context(), "-quick", "-processes", "2", "-workload", "^exchange$", "-size", "64", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.True(t, strings.HasPrefix(stdout, smokeNote+"\n"), stdout)
	assert.Regexp(t, `(?m)^exchange +64 +zeroed `, stdout)
	assert.Regexp(t, `(?m)^exchange +64 +raw `, stdout)
	assert.NotContains(t, stdout, "baseline")
	assert.Contains(t, stderr, "process 1 of 2")
	left, err := filepath.Glob(filepath.Join(dir, "pool-benchmarks-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files")

	table, err := os.ReadFile(filepath.Join(out, "table.md"))
	require.NoError(t, err)
	assert.Contains(t, string(table), "do not compare its figures")
	assert.Contains(t, string(table), "## 64 bytes, zeroed")
	assert.Contains(t, string(table), "| exchange |")
	assertSVG(t, filepath.Join(out, "exchange.svg"), "sync.Pool")

	r, err := load(out)
	require.NoError(t, err)
	require.NotNil(t, r.Peers)
	assert.Equal(t, 2, r.Peers.Processes)
	for _, f := range r.Peers.Figures {
		assert.NotEmpty(t, f.NS, f.Side)
		assert.Positive(t, f.Median, f.Side)
	}
	assert.Nil(t, r.Growth)
}

// The library around this module against itself.
func TestBaseline(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-workload", "^churn-64-fifo$", "-size", "64", "-sides", "batch", "-baseline", "..", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `workload +bytes +mode +ns +pool batch +pool batch, baseline +change +pool / syncx\n`, stdout)
	assert.Regexp(t, `(?m)^churn-64-fifo +64 +zeroed +[0-9.]+ +~?[0-9.]+ +~?[0-9.]+ +[+-][0-9.]+ % +—$`, stdout)
	r, err := load(out)
	require.NoError(t, err)
	baseline := make(map[bool][]catalog.Side)
	for _, f := range r.Peers.Figures {
		if f.Mode == catalog.Zeroed {
			baseline[f.Baseline] = append(baseline[f.Baseline], f.Side)
		}
	}
	both := []catalog.Side{catalog.PoolBatch, catalog.SyncPool}
	assert.Equal(t, map[bool][]catalog.Side{false: both, true: both}, baseline)

	code, _, stderr = runWith(t.Context(), "-quick", "-size", "64", "-baseline", t.TempDir(), "-out", out)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "building the worker")
}

func TestStopsStudy(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-study", "stops", "-sides", "pool,batch,mimalloc", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^\| idle \| [0-9]`, stdout)
	r, err := load(out)
	require.NoError(t, err)
	var sides []catalog.Side
	for _, f := range r.Stops.Figures {
		sides = append(sides, f.Side)
		assert.Positive(t, f.P99.Median, f.Side)
	}
	assert.Equal(t, []catalog.Side{wire.Idle, catalog.Pool, catalog.SyncPool}, sides)
}

// All churns through child processes with two layouts. The counters are exact, even
// where times are worth nothing.
func TestPromotion(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-processes", "2", "-study", "promotion", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "| 1024 bytes, 4 pages, shuffled |")
	assertSVG(t, filepath.Join(out, "promotion.svg"), "reset", "move", "shuffled")
	r, err := load(out)
	require.NoError(t, err)
	require.Len(t, r.Promotion.Figures, len(pageChurns)*len(wire.PromotionModes))
	for _, f := range r.Promotion.Figures {
		assert.Len(t, f.NS, 2)
		assert.Positive(t, f.Median)
		assert.NotEmpty(t, f.Counts)
	}
}

func TestPromotionCounts(t *testing.T) {
	c := pageChurns[0]
	cost := func(ns, slowGets float64) wire.PromotionCost {
		return wire.PromotionCost{NS: ns, Counts: wire.PromotionCounts{SlowGets: slowGets, Promotions: 1}}
	}
	odd := cost(3, 18)
	odd.Odd = 2
	costs := map[promotionKey][]wire.PromotionCost{
		{c, wire.Reset}: {cost(4, 0), cost(5, 0)},
		{c, wire.Move}:  {cost(6, 0), cost(7, 2.5)},
		{c, wire.None}:  {cost(8, 18), odd},
	}
	p := &Promotion{Processes: 2, Rounds: 9, Figures: promotionFigures(costs)}
	assert.Equal(t, []string{
		"64 bytes, 1 page, fifo", "4.5", "6.5", "5.5", "1.08 (0.50–1.67)", "1.54 (0.75–2.33)",
		"0 / 0–2.5 / 18", "0 / 0 / 0", "1 / 1 / 1",
	}, promotionTable(p)[1])
	assert.Equal(t, "**Counters differ between layouts in 1 of 3 cases**, where the table has a range; "+
		"2 of 54 rounds counted something else than most rounds of their process.", p.countsNote())
	delete(costs, promotionKey{c, wire.Move})
	p.Figures = promotionFigures(costs)
	assert.Contains(t, p.countsNote(), "Counters are the same with all layouts")
}

func assertSVG(t *testing.T, path string, contains ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, s := range contains {
		assert.Contains(t, string(text), s)
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, stdout, stderr := runWith(ctx, "-out", filepath.Join(dir, "results"))
	assert.Equal(t, exitInterrupted, code, stderr)
	assert.Empty(t, stdout)
	left, err := filepath.Glob(filepath.Join(dir, "pool-benchmarks-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestBadFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	for _, test := range []struct {
		args string
		want string
	}{
		{"-processes -1", "-processes must be positive, not -1"},
		{"-processes many", `invalid value "many" for flag -processes`},
		{"-attempts -1", "-attempts must be positive, not -1"},
		{"-workload [", "-workload: error parsing regexp"},
		{"-workload juggling", "-workload juggling matches none of ping-pong churn-64-fifo"},
		{"-size 65", `-size must be of [16 64 256 1024], with commas between, not "65"`},
		{"-size 64,", "-size must be of"},
		{"-sides pool,glue", `-sides must be of pool,batch,syncpool,syncx,modernc,moderncmutex,bytebuffer,mutexslice,slab,slabmutex,channel,new,floor,mimalloc, not "glue"`},
		{"-study life", `-study must be peers, stops, promotion, memory, growth, goheap, large, bytes, all or none, not "life"`},
		{"-turbo", "flag provided but not defined: -turbo"},
		{"now", `unexpected argument "now"`},
	} {
		code, stdout, stderr := runWith(t.Context(), strings.Fields(test.args)...)
		assert.Equal(t, exitUsage, code, test.args)
		assert.Empty(t, stdout, test.args)
		assert.Contains(t, stderr, test.want)
	}
	code, _, stderr := runWith(t.Context(), "-out", file)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "-out: ")
}

func TestStudies(t *testing.T) {
	for _, test := range []struct {
		args string
		want []string
	}{
		{"", []string{studyPeers, studyStops, studyPromotion, studyMemory, studyGrowth, studyGoHeap, studyLarge, studyBytes}},
		{"-study growth", []string{studyGrowth}},
		{"-workload larson", []string{studyPeers}},
		{"-sides new", []string{studyPeers}},
		{"-baseline ..", []string{studyPeers}},
		{"-study promotion", []string{studyPromotion}},
		{"-study none", nil},
		{"-size 64 -study all", []string{studyPeers, studyStops, studyPromotion, studyMemory, studyGrowth, studyGoHeap, studyLarge, studyBytes}},
	} {
		opts, err := parse(strings.Fields(test.args), io.Discard)
		require.NoError(t, err)
		assert.Equal(t, test.want, opts.studies, test.args)
	}
}

// All of the study, through child processes.
func TestGoHeapStudy(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-study", "goheap", "-out", out)
	require.Equal(t, 0, code, stderr)
	for _, row := range []string{
		"| workload | ns | kept | reset | cleared | sync.Pool, cleared | new |",
		"| larson |", "| kept, WithWarmPages | 50ms |", "| pool, 200000 |", "| 99 % | a buffer of 256 bytes |", "| new, 0.1 % |",
	} {
		assert.Contains(t, stdout, row)
	}
	r, err := load(out)
	require.NoError(t, err)
	assert.Len(t, r.GoHeap.Times, len(catalog.HeapWorkloads)*len(catalog.HeapSides))
	for _, c := range r.GoHeap.Collections {
		assert.Positive(t, c.Millis.Median, c.Side)
	}
	for _, l := range r.GoHeap.Losses {
		assert.Less(t, l.MiB[len(l.MiB)-1], 2.0, "%s, %v", l.Side, l.Share)
	}
}

// Times only, against the library around this module. A library without WithGoHeap is left to the
// other studies.
func TestGoHeapBaseline(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-study", "goheap", "-workload", "^ping-pong$", "-baseline", "..", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "| workload | ns | kept | kept, baseline | reset |")
	assert.NotContains(t, stdout, "## Retention")

	code, _, stderr = runWith(t.Context(), "-study", "goheap", "-baseline", t.TempDir(), "-out", out)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "has no WithGoHeap")
	code, _, stderr = runWith(t.Context(), "-study", "goheap", "-workload", "request", "-out", out)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "-workload matches none of the study goheap")
}

// The command that is printed builds the worker with the loops.
func TestLoops(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-loops", dir)
	require.Equal(t, 0, code, stderr)
	args := append(strings.Fields(stdout)[1:], "")
	copy(args[2:], args[1:])
	worker := filepath.Join(dir, "worker")
	args[1] = "-o=" + worker
	text, err := command(t.Context(), "go", args...).CombinedOutput()
	require.NoError(t, err, string(text))
	text, err = command(t.Context(), worker).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(text), "started by the driver")

	code, _, stderr = runWith(t.Context(), "-loops", worker)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "-loops: ")
}

func TestLargeStudy(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-processes", "2", "-study", "large", "-out", out)
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^\| 200 KiB \| every 4 KiB \| 1 \| [0-9.]+ \| ~?[0-9.]+( \([0-9.]+–[0-9.]+\))? \|`, stdout)
	assert.Regexp(t, `(?m)^\| 16 KiB \| 8 \| sync.Pool \| [0-9.]+ \|.* — \|$`, stdout)
	r, err := load(out)
	require.NoError(t, err)
	for _, f := range r.Large.Figures {
		assert.Positive(t, f.VsSyncPool.Median, "%d bytes, %s", f.Size, f.Side)
	}
	measured := 0
	for _, size := range largeSizes {
		if size <= pool.MaxSlotSize {
			measured++
		}
	}
	assert.Len(t, r.Large.Memory, measured*len(wire.LargeSides))
	assert.Len(t, r.Large.Skipped, len(largeSizes)-measured)
}

// Figures are those of quiet processes, if there is one.
func TestLargeFigures(t *testing.T) {
	k := largeKey{4096, 8, 4096}
	c := func(quiet bool, ns, slow float64) wire.LargeCell {
		return wire.LargeCell{Quiet: quiet, Sides: map[catalog.Side]wire.LargeCost{
			catalog.Pool: {NS: ns, Slow: slow}, wire.OnGoHeap: {NS: 20}, catalog.SyncPool: {NS: 10},
		}}
	}
	figures := largeFigures(k, map[largeKey][]wire.LargeCell{k: {c(true, 5, 0.5), c(false, 30, 0)}})
	require.Len(t, figures, len(wire.LargeSides))
	assert.Equal(t, "0.50", figures[0].ratio())
	assert.Equal(t, 0.5, figures[0].Slow.Median)
	assert.Equal(t, "2.00", figures[1].ratio())
	figures = largeFigures(k, map[largeKey][]wire.LargeCell{k: {c(false, 5, 0), c(false, 6, 0)}})
	assert.Equal(t, "~0.55 (0.50–0.60)", figures[0].ratio())
	assert.Empty(t, largeFigures(k, nil))
}

func TestBytesStudy(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := runWith(t.Context(), "-quick", "-processes", "2", "-study", "bytes", "-out", out)
	require.Equal(t, 0, code, stderr)
	for _, row := range []string{
		"| size | ns | Bytes | Bytes, off heap | bytebuffer | mcache | make |", "| make | ", "| 129–256 | 8 | 3.8 % | 10.4 % |",
	} {
		assert.Contains(t, stdout, row)
	}
	assert.Regexp(t, `(?m)^\| mix \| [0-9.]+ \| ~?[0-9.]+( \([0-9.]+–[0-9.]+\))? \|`, stdout)
	r, err := load(out)
	require.NoError(t, err)
	require.Len(t, r.Bytes.Figures, len(wire.BytesWorkloads)*len(bytesSizes)*len(wire.BytesSides))
	for _, f := range r.Bytes.Figures {
		assert.Positive(t, f.VsSyncPool.Median, "%d bytes, %s", f.Size, f.Side)
	}
	assert.Len(t, r.Bytes.Memory, len(wire.BytesSides))
}

// Figures are those of quiet processes, if there is one.
func TestBytesFigures(t *testing.T) {
	k := bytesKey{64, wire.BytesChurn}
	c := func(quiet bool, ns float64) wire.BytesCell {
		cell := wire.BytesCell{Workload: k.workload, Quiet: quiet, NS: make(map[catalog.Side]float64), Capacity: make(map[catalog.Side]float64)}
		for _, s := range wire.BytesSides {
			cell.NS[s], cell.Capacity[s] = 10, 1.5
		}
		cell.NS[wire.BytesOnHeap] = ns
		return cell
	}
	b := &Bytes{Figures: bytesFigures(k, map[bytesKey][]wire.BytesCell{k: {c(true, 5), c(false, 30)}})}
	assert.Equal(t, []string{"64 B", "10.0", "0.50", "1.00", "1.00", "1.00", "1.00"}, b.timesTable(wire.BytesChurn)[1])
	assert.Equal(t, []string{"64 B", "1.50", "1.50", "1.50", "1.50", "1.50", "1.50"}, b.capacityTable()[1])
	b.Figures = bytesFigures(k, map[bytesKey][]wire.BytesCell{k: {c(false, 5), c(false, 7)}})
	assert.Equal(t, "~0.60 (0.50–0.70)", b.timesTable(wire.BytesChurn)[1][2])
}

func TestWasteTable(t *testing.T) {
	pages := [2]wire.Paging{{Bytes: 8 << 10, Slots: 50}, {Bytes: 64 << 10, Slots: 400}}
	b := &Bytes{Classes: []wire.BytesClass{{From: 129, Size: 144, Pages: pages}, {From: 145, Size: 160, Pages: pages}}}
	assert.Equal(t, []string{"129–256", "2", "4.9 %", "10.4 %", "8 KiB", "12.1 %", "64 KiB", "12.1 %"}, b.wasteTable()[1])
}

// Without a compiler, and with one that finds no header, there is a sentence, and nothing of the
// compiler.
func TestNoMimalloc(t *testing.T) {
	path := t.TempDir()
	t.Setenv("PATH", path)
	for range 2 {
		_, err := buildMimalloc(t.Context(), t.TempDir())
		assert.Equal(t, errNoMimalloc, err)
		cc := "#!/bin/sh\necho 'fatal error: mimalloc.h: No such file or directory' >&2\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(path, "cc"), []byte(cc), 0o777))
	}
}

func TestSpread(t *testing.T) {
	assert.Equal(t, Spread{Median: 5, Low: 5, High: 5}, spread([]float64{5}))
	assert.Equal(t, Spread{Median: 1.5, Low: 1, High: 2}, spread([]float64{2, 1}))
	assert.Equal(t, Spread{Median: 2, Low: 1, High: 9}, spread([]float64{2, 9, 1}))
	assert.Equal(t, Spread{Median: 3, Low: 2, High: 4}, spread([]float64{5, 1, 2, 4, 3}), "second lowest, second highest")
	assert.Equal(t, []float64{2, 0.5}, ratios([]float64{2, 4}, []float64{1, 8}))
}

// somePeers has one workload, in which sync.Pool takes 10 and 20 ns.
func somePeers() *Peers {
	p := plan{workloads: catalog.Workloads[:1], modes: catalog.Modes, sizes: []int{16, 64}}
	c := cell{p.workloads[0], 64, catalog.Zeroed}
	other := cell{p.workloads[0], 16, catalog.Zeroed}
	quiet := func(xs ...float64) (all []sample) {
		for _, x := range xs {
			all = append(all, sample{x, true})
		}
		return all
	}
	return &Peers{Processes: 2, Figures: p.figures(samples{
		{c, catalog.Pool, false}:         quiet(9, 22),
		{c, catalog.SyncPool, false}:     quiet(10, 20),
		{c, catalog.Modernc, false}:      quiet(18, 11),
		{other, catalog.Pool, false}:     quiet(1, 1),
		{other, catalog.SyncPool, false}: quiet(1, 1),
		{other, catalog.Channel, false}:  quiet(3, 3),
	})}
}

// Figures are those of quiet processes, if there is one.
func TestQuiet(t *testing.T) {
	p := plan{workloads: catalog.Workloads[:1], modes: catalog.Modes, sizes: []int{64}, baseline: "."}
	c := cell{p.workloads[0], 64, catalog.Zeroed}
	all := samples{
		{c, catalog.Pool, false}:     {{6, true}, {10, false}, {8, true}},
		{c, catalog.SyncPool, false}: {{10, true}, {10, false}, {10, true}},
		{c, catalog.Pool, true}:      {{12, false}, {14, false}, {16, false}},
		{c, catalog.SyncPool, true}:  {{10, false}, {10, false}, {10, false}},
	}
	f := p.figures(all)
	require.Len(t, f, 4)
	assert.Equal(t, []float64{6, 8}, f[0].NS)
	assert.Equal(t, "0.70 (0.60–0.80)", f[0].ratio(f[0].VsSyncPool))
	assert.Equal(t, []float64{12, 14, 16}, f[2].NS)
	assert.Equal(t, "~1.40 (1.20–1.60)", f[2].ratio(f[2].VsSyncPool))
	assert.Equal(t, absent, f[2].ratio(nil))

	var out strings.Builder
	require.NoError(t, writeSummary(&out, &Peers{Figures: f}))
	assert.Regexp(t, `ping-pong +64 +zeroed +10.0 +0.70 \(0.60–0.80\) +~1.40 \(1.20–1.60\) +-50.0 % +—\n`, out.String())
}

func TestTable(t *testing.T) {
	var out strings.Builder
	p := somePeers()
	writeTable(&out, peersTable(p, 64, catalog.Zeroed))
	assert.Equal(t, `| workload | ns | pool | modernc | pool / syncx | pool / modernc |
|---|---:|---:|---:|---:|---:|
| ping-pong | 15.0 | 1.00 (0.90–1.10) | 1.18 (0.55–1.80) | — | 1.25 (0.50–2.00) |
`, out.String())

	out.Reset()
	writeTables(&out, Results{Peers: p})
	first, second := strings.Index(out.String(), "## 64 bytes"), strings.Index(out.String(), "## 16 bytes")
	assert.True(t, 0 < first && first < second, "64 bytes first")
	assert.Contains(t, out.String(), mimallocHint)
	p.Mimalloc = true
	out.Reset()
	writeTables(&out, Results{Peers: p})
	assert.NotContains(t, out.String(), mimallocHint)
}

// The chart has the best of the others, and new does not decide how far its axis goes.
func TestPeersChart(t *testing.T) {
	p := new(Peers)
	add := func(s catalog.Side, ratios ...float64) {
		for i, x := range ratios {
			p.Figures = append(p.Figures, Figure{
				Workload: "larson", Size: catalog.Sizes[i], Mode: catalog.Zeroed, Side: s, VsSyncPool: &Spread{Median: x, Low: x, High: x},
			})
		}
	}
	add(catalog.Pool, 0.7, 0.8)
	add(catalog.PoolBatch, 0.1, 0.1)
	add(catalog.SyncPool, 1, 1)
	add(catalog.Syncx, 1, 0.8)
	add(catalog.Modernc, 0.1) // not in each size
	add(catalog.Slab, 0.5, 1.2)
	add(catalog.New, 1, 25)
	add(catalog.Floor, 0.1, 0.1)
	c := peersChart(p, "larson")
	var names []string
	for _, k := range c.keys {
		names = append(names, k.name)
	}
	assert.Equal(t, []string{"pool", "sync.Pool", "slab", "new"}, names)
	assert.InDelta(t, 1.2*cutAbove*1.1, c.Y.Max, 1e-9)
	path := filepath.Join(t.TempDir(), "larson.svg")
	require.NoError(t, c.save(path))
	assertSVG(t, path, ">25<", ">0.70<", "sans-serif")
	assert.Empty(t, peersChart(p, "request").keys)
}

// All sections, through results.json and back, as tables and charts.
func TestResults(t *testing.T) {
	dir := t.TempDir()
	live := wire.Live{Holder: wire.PoolOffHeap, Objects: 1000, FillNS: 12.5, WarmGetNS: 10, GCMillis: 0.3}
	more := live
	more.Objects = 1e6
	r := Results{
		Peers: somePeers(),
		Memory: &Memory{Objects: 5, Sides: []wire.Memory{{
			Side:    catalog.Pool,
			Samples: []wire.Sample{{Seconds: 0, MiB: 4}, {Seconds: 1, MiB: 40}, {Seconds: 2, MiB: 6}, {Seconds: 3, MiB: 41}, {Seconds: 4, MiB: 7}},
			Bursts:  []wire.Interval{{From: 0.5, To: 0.6}, {From: 2.5, To: 2.6}},
			BurstNS: []float64{20, 10},
		}}},
		Growth: &Growth{
			Goroutines: []GoroutinesRow{{Workload: "exchange", GOMAXPROCS: 2, Goroutines: 4, PairsPerS: map[catalog.Side]float64{catalog.Pool: 5e6}}},
			Live:       []wire.Live{live, more},
			Skipped:    "a lot",
		},
		Promotion: &Promotion{Processes: 1, Rounds: 1, Figures: []PromotionFigure{{
			pageChurn: pageChurns[0], Mode: wire.Reset, NS: []float64{20}, Median: 20,
			VsNone: Spread{Median: 0.9, Low: 0.9, High: 0.9}, Counts: []wire.PromotionCounts{{Promotions: 1}},
		}}},
	}
	var stdout strings.Builder
	require.NoError(t, r.write(options{out: dir, studies: []string{studyMemory, studyGrowth, studyGoHeap, studyLarge, studyBytes}}, &stdout))
	assert.NotContains(t, stdout.String(), "ping-pong")
	assert.Contains(t, stdout.String(), "| pool | 4 | 40 | 6 | 41 | 7 | 20.0 | 10.0 |")
	assert.Contains(t, stdout.String(), "| 1e+06 | pool | 12.5 |")
	assert.Contains(t, stdout.String(), "| 4 | 5.0 |")
	assert.Contains(t, stdout.String(), "Not measured: a lot.")
	assertSVG(t, filepath.Join(dir, "ping-pong.svg"), "sync.Pool")
	assertSVG(t, filepath.Join(dir, "memory.svg"), "seconds")
	assertSVG(t, filepath.Join(dir, "growth.svg"), "1 million")
	assertSVG(t, filepath.Join(dir, "collection.svg"), "1 million")
	none := collectionChart(&Growth{Live: []wire.Live{{Holder: wire.PoolOffHeap, Objects: 1000}}})
	assert.Empty(t, none.keys, "an earlier run has not measured it")

	back, err := load(dir)
	require.NoError(t, err)
	assert.Equal(t, r, back)
	require.NoError(t, os.WriteFile(filepath.Join(dir, resultsFile), []byte("{"), 0o666))
	_, err = load(dir)
	assert.ErrorContains(t, err, "results.json of an earlier run")
}
