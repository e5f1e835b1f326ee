package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

const (
	absent = "—" // where a side does not take part
	noisy  = "~" // before a figure for which no process was quiet
)

// firstSize is the one whose table comes first: that of a small struct.
const firstSize = 64

// writeTables writes all that is in r as Markdown.
func writeTables(out io.Writer, r Results) {
	if r.Peers != nil {
		writePeers(out, r.Peers)
	}
	if r.Stops != nil {
		writeStops(out, r.Stops)
	}
	if r.Promotion != nil {
		writePromotion(out, r.Promotion)
	}
	if r.Memory != nil {
		writeMemory(out, r.Memory)
	}
	if r.Growth != nil {
		writeGrowth(out, r.Growth)
	}
	if r.GoHeap != nil {
		writeGoHeap(out, r.GoHeap)
	}
	if r.Large != nil {
		writeLarge(out, r.Large)
	}
	if r.Bytes != nil {
		writeBytes(out, r.Bytes)
	}
}

func writePeers(out io.Writer, p *Peers) {
	fmt.Fprintf(out, `# Against other pools and allocators

%s.

%s.

Time of a Get and Put pair as a ratio to sync.Pool's: less is faster. Median over the processes of the ratio within the
process, and from the second lowest to the second highest. "ns" is sync.Pool's own time, median. "pool / modernc" is
against modernc.org/memory without a lock where one goroutine does it all, with a mutex elsewhere. %s: takes no part.
%s before a ratio: others used the cores in all processes.
`, p.Run, p.Method, absent, noisy)
	if !p.Mimalloc {
		fmt.Fprintf(out, "\n%s\n", mimallocHint)
	}
	for _, m := range catalog.Modes {
		for _, size := range sizesOf(p) {
			fmt.Fprintf(out, "\n## %d bytes, %s\n\n", size, modeTitle(m))
			writeTable(out, peersTable(p, size, m))
		}
	}
}

func modeTitle(m catalog.Mode) string {
	if m == catalog.Raw {
		return "raw: no side clears the object but new; pool is GetNoZero"
	}
	return "zeroed: every side hands out zeros"
}

// sizesOf returns the sizes in p, firstSize first.
func sizesOf(p *Peers) []int {
	var sizes []int
	for _, f := range p.Figures {
		if !slices.Contains(sizes, f.Size) {
			sizes = append(sizes, f.Size)
		}
	}
	slices.Sort(sizes)
	if i := slices.Index(sizes, firstSize); i > 0 {
		sizes = slices.Insert(slices.Delete(sizes, i, i+1), 0, firstSize)
	}
	return sizes
}

// peersTable has a row for each workload and a column for each side of which there
// is a figure.
func peersTable(p *Peers, size int, m catalog.Mode) [][]string {
	figures := make(map[string]map[catalog.Side]Figure) // by workload
	measured := make(map[catalog.Side]bool)
	for _, f := range p.Figures {
		if f.Size == size && f.Mode == m && !f.Baseline {
			if figures[f.Workload] == nil {
				figures[f.Workload] = make(map[catalog.Side]Figure)
			}
			figures[f.Workload][f.Side] = f
			measured[f.Side] = true
		}
	}
	head := []string{"workload", "ns"}
	var columns []catalog.Side
	for _, s := range catalog.Sides {
		if measured[s] && s != catalog.SyncPool {
			columns = append(columns, s)
			head = append(head, string(s))
		}
	}
	rows := [][]string{append(head, "pool / syncx", "pool / modernc")}
	for _, w := range catalog.Workloads {
		of := figures[w.Name]
		if of == nil {
			continue
		}
		row := []string{w.Name, fmt.Sprintf("%.1f", of[catalog.SyncPool].Median)}
		for _, s := range columns {
			row = append(row, of[s].ratio(of[s].VsSyncPool))
		}
		ours := of[catalog.Pool]
		rows = append(rows, append(row, ours.ratio(ours.VsSyncx), ours.ratio(ours.VsModernc)))
	}
	return rows
}

// ratio returns one of f as text.
func (f Figure) ratio(s *Spread) string { return noisyRatio(s, len(f.NS), f.Noisy) }

// noisyRatio returns a ratio of a figure that may be noisy.
func noisyRatio(s *Spread, processes int, isNoisy bool) string {
	text := formatRatio(s, processes)
	if isNoisy && s != nil {
		text = noisy + text
	}
	return text
}

// formatRatio returns a ratio with its spread, which one process does not have.
func formatRatio(s *Spread, processes int) string {
	switch {
	case s == nil:
		return absent
	case processes == 1:
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Low, s.High)
}

func writePromotion(out io.Writer, p *Promotion) {
	fmt.Fprintf(out, `
# Promotion: what becomes of an empty page

%s.

All slots of some pages are got and put again, in the order named, by pools that make an empty page ready for use in address
order (reset, what users get), make ready the list of slots put last (move), or do nothing and keep a page only if it is the
sole one (none, as mimalloc). GetNoZero on one P; the first word of each object is written and read. Layouts: %d; rounds of
every mode with each: %d, the modes in turn. Median over the layouts, of the ratio within the process, and from the second
lowest to the second highest. Counters are for all slots once, reset / move / none. promotion.svg has the ratios.

`, p.Run, p.Processes, p.Rounds)
	writeTable(out, promotionTable(p))
	fmt.Fprintf(out, "\n%s\n", p.countsNote())
}

// promotionTable has a row for each churn.
func promotionTable(p *Promotion) [][]string {
	rows := [][]string{{
		"churn", "reset, ns", "move, ns", "none, ns", "reset / none", "move / none",
		"slow Gets", "releases", "promotions",
	}}
	for _, c := range pageChurns {
		row, ratios := []string{c.String()}, []string{}
		var slow, releases, promotions []string
		for _, f := range p.Figures {
			if f.pageChurn != c {
				continue
			}
			row = append(row, fmt.Sprintf("%.1f", f.Median))
			if f.Mode != wire.None {
				ratios = append(ratios, formatRatio(&f.VsNone, p.Processes))
			}
			slow = append(slow, f.formatCount(func(n wire.PromotionCounts) float64 { return n.SlowGets }))
			releases = append(releases, f.formatCount(func(n wire.PromotionCounts) float64 { return n.Releases }))
			promotions = append(promotions, f.formatCount(func(n wire.PromotionCounts) float64 { return n.Promotions }))
		}
		row = append(row, ratios...)
		for _, counts := range [][]string{slow, releases, promotions} {
			row = append(row, strings.Join(counts, " / "))
		}
		rows = append(rows, row)
	}
	return rows
}

// formatCount returns a counter, or its range if layouts differ.
func (f PromotionFigure) formatCount(of func(wire.PromotionCounts) float64) string {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, n := range f.Counts {
		lo, hi = min(lo, of(n)), max(hi, of(n))
	}
	if lo == hi {
		return fmt.Sprintf("%.4g", lo)
	}
	return fmt.Sprintf("%.4g–%.4g", lo, hi)
}

// countsNote says whether the counters depend on nothing but the code, as they
// should.
func (p *Promotion) countsNote() string {
	differing, odd := 0, 0
	for _, f := range p.Figures {
		odd += f.OddRounds
		if len(f.Counts) > 1 {
			differing++
		}
	}
	note := "Counters are the same with all layouts"
	if differing > 0 {
		note = fmt.Sprintf("**Counters differ between layouts in %d of %d cases**, where the table has a range", differing, len(p.Figures))
	}
	return fmt.Sprintf("%s; %d of %d rounds counted something else than most rounds of their process.", note, odd, len(p.Figures)*p.Processes*p.Rounds)
}

func writeMemory(out io.Writer, m *Memory) {
	fmt.Fprintf(out, `
# Memory: burst, idle, burst

%s.

%d objects of 64 bytes are got and put, twice, with a collection a second while idle. memory.svg has the curve. In MiB:

`, m.Run, m.Objects)
	rows := [][]string{{"side", "before", "first burst", "idle, at its end", "second burst", "at the end", "ns a pair, first", "second"}}
	for _, s := range m.Sides {
		first, second := s.Bursts[0], s.Bursts[1]
		rows = append(rows, []string{
			string(s.Side),
			fmt.Sprintf("%.0f", lastMiB(s.Samples, first.From)),
			fmt.Sprintf("%.0f", mostMiB(s.Samples, first.From, first.To)),
			fmt.Sprintf("%.0f", lastMiB(s.Samples, second.From)),
			fmt.Sprintf("%.0f", mostMiB(s.Samples, second.From, second.To)),
			fmt.Sprintf("%.0f", s.Samples[len(s.Samples)-1].MiB),
			fmt.Sprintf("%.1f", s.BurstNS[0]),
			fmt.Sprintf("%.1f", s.BurstNS[1]),
		})
	}
	writeTable(out, rows)
}

// mostMiB returns the most that was resident from one time to another; the sample
// after a burst may be the only one that shows it.
func mostMiB(samples []wire.Sample, from, to float64) float64 {
	most := 0.0
	for _, s := range samples {
		if s.Seconds >= from {
			most = max(most, s.MiB)
			if s.Seconds > to {
				break
			}
		}
	}
	return most
}

// lastMiB returns what was resident last before a time.
func lastMiB(samples []wire.Sample, before float64) float64 {
	last := 0.0
	for _, s := range samples {
		if s.Seconds < before {
			last = s.MiB
		}
	}
	return last
}

func writeGrowth(out io.Writer, g *Growth) {
	fmt.Fprintf(out, "\n# Growth\n\n%s. Objects of 64 bytes, zeroed.\n", g.Run)
	for _, w := range goroutineWorkloads {
		fmt.Fprintf(out, "\n## Goroutines: %s, millions of pairs a second\n\n", strings.TrimSuffix(w, "-parallel"))
		writeTable(out, goroutinesTable(g, w))
	}
	fmt.Fprint(out, "\n## Live objects\n\nFirst Get is while filling, in ns, with the page faults of memory that the process has not had before (and in a virtual\nmachine perhaps its host neither); Get and pair are in later rounds of all of them; resident is bytes an object without the pointer to it;\nGC is runtime.GC with all of them live.\n\n")
	rows := [][]string{{"live", "from, known to", "first Get", "Get", "pair", "resident", "GC, ms"}}
	for _, l := range g.Live {
		rows = append(rows, []string{
			fmt.Sprintf("%.0e", float64(l.Objects)), string(l.Holder),
			fmt.Sprintf("%.1f", l.FillNS), fmt.Sprintf("%.1f", l.WarmGetNS), fmt.Sprintf("%.1f", l.ChurnNS),
			fmt.Sprintf("%.1f", l.ResidentBytes), fmt.Sprintf("%.2f", l.GCMillis),
		})
	}
	writeTable(out, rows)
	if g.Skipped != "" {
		fmt.Fprintf(out, "\nNot measured: %s.\n", g.Skipped)
	}
}

func goroutinesTable(g *Growth, workload string) [][]string {
	head := []string{"goroutines"}
	for _, procs := range goroutineProcs {
		for _, s := range wire.GoroutineSides {
			head = append(head, fmt.Sprintf("%s, GOMAXPROCS %d", s, procs))
		}
	}
	rows := [][]string{head}
	for _, n := range goroutines {
		row := []string{fmt.Sprint(n)}
		for _, procs := range goroutineProcs {
			for _, r := range g.Goroutines {
				if r.Workload == workload && r.GOMAXPROCS == procs && r.Goroutines == n {
					for _, s := range wire.GoroutineSides {
						row = append(row, fmt.Sprintf("%.1f", r.PairsPerS[s]/1e6))
					}
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// writeTable writes rows, the first of which is the head. Columns but the first
// are numbers.
func writeTable(out io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
}
