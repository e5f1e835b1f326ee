package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// writeSummary writes a line for each cell, for a terminal: sync.Pool's time, the
// ratio of each other side to it, and what -baseline is for.
func writeSummary(out io.Writer, p *Peers) error {
	figures := make(map[figureKey]Figure)
	measured := make(map[figureKey]bool) // without a cell
	var cells []cell
	for _, f := range p.Figures {
		w, err := catalog.Find(f.Workload)
		if err != nil {
			continue // of another version
		}
		c := cell{w, f.Size, f.Mode}
		figures[figureKey{c, f.Side, f.Baseline}] = f
		measured[figureKey{side: f.Side, baseline: f.Baseline}] = true
		if !slices.Contains(cells, c) {
			cells = append(cells, c)
		}
	}
	fmt.Fprintf(out, "Ratios to sync.Pool of %s\n%s.\n\n", p.Run, p.Method)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(texts ...string) {
		for _, s := range texts {
			fmt.Fprintf(t, "%s\t", s)
		}
	}
	row("workload", "bytes", "mode", "ns")
	var columns []catalog.Side
	for _, s := range catalog.Sides {
		if s == catalog.SyncPool || !measured[figureKey{side: s}] {
			continue
		}
		columns = append(columns, s)
		row(string(s))
		if measured[figureKey{side: s, baseline: true}] && isOurs(s) {
			row(string(s)+", baseline", "change")
		}
	}
	fmt.Fprintln(t, "pool / syncx")
	for _, c := range cells {
		row(c.workload.Name, fmt.Sprint(c.size), string(c.mode), fmt.Sprintf("%.1f", figures[figureKey{c, catalog.SyncPool, false}].Median))
		for _, s := range columns {
			f := figures[figureKey{c, s, false}]
			row(f.ratio(f.VsSyncPool))
			if measured[figureKey{side: s, baseline: true}] && isOurs(s) {
				old := figures[figureKey{c, s, true}]
				row(old.ratio(old.VsSyncPool), change(f, old))
			}
		}
		ours := figures[figureKey{c, catalog.Pool, false}]
		fmt.Fprintln(t, ours.ratio(ours.VsSyncx))
	}
	return t.Flush()
}

// isOurs reports whether s differs between versions of the library.
func isOurs(s catalog.Side) bool { return s == catalog.Pool || s == catalog.PoolBatch }

// change returns by how much the ratio to sync.Pool has changed.
func change(now, old Figure) string {
	if now.VsSyncPool == nil || old.VsSyncPool == nil {
		return absent
	}
	return fmt.Sprintf("%+.1f %%", 100*(now.VsSyncPool.Median/old.VsSyncPool.Median-1))
}
