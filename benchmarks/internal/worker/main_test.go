package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/benchmarks/internal/gen"
	"github.com/warmpage/pool/benchmarks/internal/loops"
)

// TestMain runs the tests in another binary, which has the generated loops: go test has built this
// one without.
func TestMain(m *testing.M) {
	const child = "BENCHMARKS_WORKER_TEST"
	if os.Getenv(asWorker) != "" {
		main()
		return
	}
	if loops.Variants() > 0 || os.Getenv(child) != "" {
		os.Exit(m.Run())
	}
	os.Setenv(child, "with loops")
	if err := runWithLoops(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// asWorker is the environment variable with which this binary is the worker itself.
const asWorker = "BENCHMARKS_WORKER_TEST_PROCESS"

// inProcess does one study as the driver has it done: in a process that has done nothing else. What
// other tests have left on the heap goes at any time.
func inProcess[R any](t *testing.T, verb string, spec any) R {
	t.Helper()
	line, err := json.Marshal(spec)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	worker := exec.Command(self, verb, string(line))
	worker.Env = append(os.Environ(), asWorker+"=1")
	worker.Stderr = os.Stderr
	out, err := worker.Output()
	require.NoError(t, err)
	var result R
	require.NoError(t, json.Unmarshal(out, &result), "%s", out)
	return result
}

func runWithLoops(args []string) error {
	dir, err := os.MkdirTemp("", "worker-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := gen.Write(dir, filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "worker.test")
	build := []string{"test", "-c", "-overlay=" + overlay, "-o", binary}
	if mode := testing.CoverMode(); mode != "" {
		build = append(build, "-covermode="+mode)
	}
	if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
		return fmt.Errorf("building the tests with the loops: %w\n%s", err, out)
	}
	test := exec.Command(binary, args...)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	return test.Run()
}
