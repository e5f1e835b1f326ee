package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
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

// buildWorker builds the worker with its functions in an order that seed decides:
// where a loop lies in memory is worth several per cent, for or against a side,
// and is nobody's merit.
func buildWorker(ctx context.Context, dir string, seed int) (string, error) {
	path := filepath.Join(dir, "worker-"+strconv.Itoa(seed))
	cmd := command(ctx, "go", "build", "-o", path, "-ldflags=-randlayout="+strconv.Itoa(seed), workerPackage)
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("building the worker (run this in the module's directory): %w\n%s", err, out)
	}
	return path, nil
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
