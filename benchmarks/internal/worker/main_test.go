package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/warmpage/pool/benchmarks/internal/gen"
	"github.com/warmpage/pool/benchmarks/internal/loops"
)

// TestMain runs the tests in another binary, which has the generated loops: go test has built this
// one without.
func TestMain(m *testing.M) {
	const child = "BENCHMARKS_WORKER_TEST"
	if loops.Variants() > 0 || os.Getenv(child) != "" {
		os.Exit(m.Run())
	}
	os.Setenv(child, "with loops")
	if err := runWithLoops(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
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
