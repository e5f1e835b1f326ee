package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/warmpage/pool/benchmarks/internal/gen"
)

// command is exec.CommandContext for a process with a group of its own, which is
// killed as a whole: Ctrl-C is for the driver, which would otherwise see children
// die before it knows why.
func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// workerPackage is built from the module's directory, which the driver is run in.
const workerPackage = "./internal/worker"

// buildWorker generates the loops and builds the worker with its functions in an order that seed
// decides: where a loop lies in memory is worth several per cent, for or against a side, and is
// nobody's merit. A baseline is a checkout of the library to build it with instead of the one
// around this module.
func buildWorker(ctx context.Context, dir string, seed int, baseline string) (string, error) {
	overlay, err := gen.Write(filepath.Join(dir, "loops"), ".")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "worker-"+strconv.Itoa(seed))
	args := []string{"build", "-overlay=" + overlay, "-ldflags=-randlayout=" + strconv.Itoa(seed)}
	if baseline != "" {
		path += "-baseline"
		modfile, err := writeBaselineModule(dir, baseline)
		if err != nil {
			return "", err
		}
		args = append(args, "-modfile="+modfile)
		switch {
		case !hasGoHeap(baseline):
			args = append(args, "-tags=nogoheap")
		case !hasBytes(baseline):
			args = append(args, "-tags=nobytes")
		}
	}
	cmd := command(ctx, "go", append(args, "-o", path, workerPackage)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("building the worker (run this in the module's directory): %w\n%s", err, out)
	}
	return path, nil
}

// hasGoHeap reports whether the library in a checkout has what the goheap study is about.
func hasGoHeap(baseline string) bool {
	text, _ := os.ReadFile(filepath.Join(baseline, "options.go"))
	return bytes.Contains(text, []byte("func WithGoHeap("))
}

// hasBytes reports whether the library in a checkout has what the bytes study is about.
func hasBytes(baseline string) bool {
	_, err := os.Stat(filepath.Join(baseline, "bytes.go"))
	return err == nil
}

// writeBaselineModule writes a go.mod that takes the library from the baseline, with
// its go.sum.
func writeBaselineModule(dir, baseline string) (string, error) {
	const around = "replace github.com/warmpage/pool => ../\n"
	path, err := filepath.Abs(baseline)
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return "", err
	}
	replaced := strings.Replace(string(mod), around, fmt.Sprintf("replace github.com/warmpage/pool => %q\n", path), 1)
	if replaced == string(mod) {
		return "", fmt.Errorf("go.mod does not have %q", around)
	}
	modfile := filepath.Join(dir, "baseline.mod")
	return modfile, errors.Join(
		os.WriteFile(modfile, []byte(replaced), 0o666),
		os.WriteFile(filepath.Join(dir, "baseline.sum"), sum, 0o666),
	)
}

// A child is a process that answers each line with a line.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

func startChild(ctx context.Context, path string, args ...string) (*child, error) {
	c := &child{cmd: command(ctx, path, args...)}
	c.cmd.Stderr = &c.errors
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewReader(out)
	return c, c.cmd.Start()
}

// ask sends a line and reads the answer.
func (c *child) ask(ctx context.Context, line []byte, answer any) error {
	_, err := c.in.Write(append(line, '\n'))
	if err == nil {
		var text []byte
		if text, err = c.out.ReadBytes('\n'); err == nil {
			return json.Unmarshal(text, answer)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w", filepath.Base(c.cmd.Path), errors.Join(err, c.stop()))
}

// stop ends the child, which has nothing left to do.
func (c *child) stop() error {
	_ = c.in.Close()
	err := c.cmd.Wait()
	if err != nil && c.errors.Len() > 0 {
		return fmt.Errorf("%w\n%s", err, c.errors.Bytes())
	}
	return err
}

// once runs a worker for one answer.
func once[R any](ctx context.Context, worker, verb string, spec any) (R, error) {
	var result R
	line, err := json.Marshal(spec)
	if err != nil {
		return result, err
	}
	cmd := command(ctx, worker, verb, string(line))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return result, ctx.Err()
	case err != nil:
		return result, fmt.Errorf("worker %s %s: %w\n%s", verb, line, err, errs.Bytes())
	}
	return result, json.Unmarshal(out, &result)
}
