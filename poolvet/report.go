package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/warmpage/pool/poolvet/syncpool"
)

// A jsonReport is what -json writes.
type jsonReport struct {
	Pools    []jsonPool    `json:"pools"`
	Mistakes []jsonMistake `json:"mistakes"`
	Summary  string        `json:"summary"`
}

type jsonPool struct {
	File string `json:"file"`
	Line int    `json:"line"`
	*syncpool.Pool
}

type jsonMistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// write writes all that was found, as text or as JSON.
func (r *result) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return r.writeJSON(w)
	}
	var b strings.Builder
	for _, p := range r.Pools {
		fmt.Fprintf(&b, "%s:%d: %s\n", r.relative(p.At.Filename), p.At.Line, p.Message())
	}
	for _, m := range r.Mistakes {
		fmt.Fprintf(&b, "%s:%d: %s\n", r.relative(m.file), m.line, m.message)
	}
	fmt.Fprintln(&b, r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *result) writeJSON(w io.Writer) error {
	report := jsonReport{Pools: []jsonPool{}, Mistakes: []jsonMistake{}, Summary: r.summary()}
	for _, p := range r.Pools {
		report.Pools = append(report.Pools, jsonPool{r.relative(p.At.Filename), p.At.Line, p})
	}
	for _, m := range r.Mistakes {
		report.Mistakes = append(report.Mistakes, jsonMistake{r.relative(m.file), m.line, m.message})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	return e.Encode(report)
}

// summary returns the last line: how many pools there are of each verdict.
func (r *result) summary() string {
	count := make(map[syncpool.Verdict]int)
	for _, p := range r.Pools {
		count[p.Verdict]++
	}
	parts := make([]string, len(syncpool.Verdicts))
	for i, v := range syncpool.Verdicts {
		parts[i] = fmt.Sprintf("%d %s", count[v], v)
	}
	s := fmt.Sprintf("%s: %s", plural(len(r.Pools), "pool"), strings.Join(parts, ", "))
	if r.fixed != 0 {
		s += fmt.Sprintf("; %d fixed", r.fixed)
	}
	if n := len(r.Mistakes); n != 0 {
		s += "; " + plural(n, "mistake")
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// relative returns the name of a file as people want to read it.
func (r *result) relative(file string) string {
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return file
	}
	short, err := filepath.Rel(dir, file)
	if err != nil || strings.HasPrefix(short, "..") {
		return file
	}
	return short
}
