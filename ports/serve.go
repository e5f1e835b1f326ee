package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
)

// served is what testdata/server has printed.
type served struct {
	PerSecond, P50, P99 float64 // times in microseconds
	GCs, PauseP99       float64
	BytesPerRequest     float64
	Peak                float64 `json:"-"` // MiB resident
}

// serverMod is the module of the program that loads gin.
const serverMod = `module server

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.2.0
	github.com/gin-gonic/gin %s
	github.com/warmpage/pool v0.0.0
)

replace github.com/gin-gonic/gin => %s

replace github.com/warmpage/pool => %s
`

// runServer loads gin as it is and changed, in turn, at several GOMAXPROCS, and prints medians.
func runServer(ctx context.Context, w io.Writer, rounds int, seconds string) error {
	library, work, err := workspace("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	all := allPorts()
	p := all[slices.IndexFunc(all, func(p port) bool { return p.name == "gin" })]
	before, after, err := prepare(ctx, p, work, library)
	if err != nil {
		return err
	}
	sides := []side{before, after}
	for _, s := range sides {
		if err = buildServer(ctx, s, p.version, library); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GOMAXPROCS\tside\trequests/s\tp50 us\tp99 us\tGCs\tpause p99 us\tB/request\tpeak MiB")
	for _, procs := range []int{1, 2, 8} {
		results := make([][]served, len(sides))
		for round := range rounds {
			for k := range sides {
				i := (k + round) % len(sides)
				fmt.Fprintf(os.Stderr, "server, GOMAXPROCS=%d, round %d, %s\n", procs, round+1, sides[i].name)
				r, err := load(ctx, filepath.Join(sides[i].dir, "server.bin"), procs, seconds)
				if err != nil {
					return err
				}
				results[i] = append(results[i], r)
			}
		}
		for i, s := range sides {
			of := func(number func(served) float64) float64 {
				var values []float64
				for _, r := range results[i] {
					values = append(values, number(r))
				}
				return median(values)
			}
			fmt.Fprintf(t, "%d\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\n", procs, s.name,
				of(func(r served) float64 { return r.PerSecond }), of(func(r served) float64 { return r.P50 }),
				of(func(r served) float64 { return r.P99 }), of(func(r served) float64 { return r.GCs }),
				of(func(r served) float64 { return r.PauseP99 }), of(func(r served) float64 { return r.BytesPerRequest }),
				of(func(r served) float64 { return r.Peak }))
		}
	}
	return t.Flush()
}

func buildServer(ctx context.Context, s side, version, library string) error {
	dir := filepath.Join(s.dir, "..", s.name+"-server")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(library, "ports", "testdata", "server"))); err != nil {
		return err
	}
	mod := fmt.Sprintf(serverMod, version, s.dir, library)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return err
	}
	_, stderr, err := goIn(ctx, dir, "build", "-o", filepath.Join(s.dir, "server.bin"), ".")
	if err != nil {
		return fmt.Errorf("%w: %s", err, stderr)
	}
	return nil
}

func load(ctx context.Context, binary string, procs int, seconds string) (r served, err error) {
	cmd := exec.CommandContext(ctx, binary, "-d", seconds)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); err != nil {
		return r, errors.Join(err, errors.New(stderr.String()))
	}
	err = json.Unmarshal(stdout.Bytes(), &r)
	r.Peak = peakMiB(cmd.ProcessState)
	return r, err
}
