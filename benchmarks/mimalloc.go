package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// mimallocHint is printed where the table lacks the column.
const mimallocHint = "mimalloc is not measured: `apt-get install -y libmimalloc-dev gcc` gets it."

// errNoMimalloc is a sentence for somebody who does not want to know about C.
var errNoMimalloc = errors.New("mimalloc is skipped, because there is no C compiler or no libmimalloc; this gets both: apt-get install -y libmimalloc-dev gcc")

// leastMimalloc compiles wherever mimalloc is installed.
const leastMimalloc = "#include <mimalloc.h>\nint main(void) { return mi_version() == 0; }\n"

// buildMimalloc compiles the C program with the lengths of the catalog. It returns errNoMimalloc if
// no C program could be compiled with mimalloc; that this one cannot is another error.
func buildMimalloc(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", errNoMimalloc
	}
	least := command(ctx, cc, "-x", "c", "-o", filepath.Join(dir, "least"), "-", "-lmimalloc", "-lpthread")
	least.Stdin = strings.NewReader(leastMimalloc)
	if least.Run() != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", errNoMimalloc
	}
	path := filepath.Join(dir, "mimalloc")
	args := []string{"-std=gnu11", "-O2", "-Wall", "-o", path}
	for name, value := range map[string]int{
		"THREADS":       max(2, runtime.GOMAXPROCS(0)),
		"PROCESSORS":    runtime.NumCPU(),
		"BATCH_LEN":     catalog.BatchLen,
		"TABLE_LEN":     catalog.TableLen,
		"LARSON_ROUND":  catalog.LarsonRound,
		"BURST_BASE":    catalog.BurstBase,
		"BURST_LEN":     catalog.BurstLen,
		"BURST_REPEAT":  catalog.BurstRepeat,
		"BURST_IDLE_NS": int(catalog.BurstIdle),
	} {
		args = append(args, fmt.Sprintf("-D%s=%d", name, value))
	}
	args = append(args, filepath.Join("c", "mimalloc.c"), "-lmimalloc", "-lpthread")
	if out, err := command(ctx, cc, args...).CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("c/mimalloc.c: %w\n%s", err, out)
	}
	return path, nil
}

// askMimalloc measures a cell in the C program: the 10th percentile of the slices, or
// the median round.
func askMimalloc(ctx context.Context, c *child, w catalog.Workload, spec wire.CellSpec) (float64, error) {
	workers, zeroed, order := 1, 0, w.Order
	if w.Parallel {
		workers = max(runtime.GOMAXPROCS(0), w.Kind.LeastWorkers())
	}
	if spec.Mode == catalog.Zeroed {
		zeroed = 1
	}
	if order == "" {
		order = catalog.FIFO
	}
	rounds, target, share := spec.Slices, spec.Slice, 0.1
	if catalog.NeedsRounds(catalog.Mimalloc, w) {
		rounds, target, share = spec.Rounds, spec.Round, 0.5
	}
	line := fmt.Sprintf("%s %d %s %d %d %d %d %d", w.Kind, w.Objects, order, spec.Size, zeroed, workers, rounds, target)
	var answer wire.MimallocCell
	if err := c.ask(ctx, []byte(line), &answer); err != nil {
		return 0, err
	}
	if len(answer.NS) == 0 {
		return 0, errors.New("mimalloc: no rounds")
	}
	slices.Sort(answer.NS)
	return answer.NS[int(share*float64(len(answer.NS)-1))], nil
}
