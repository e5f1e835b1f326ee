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
	"time"
)

// Each side runs in a child process, which is this program again, so that the heap and the pages of
// one side do not affect the other. The child finds its plan in the environment, and writes the
// result to standard output.

// planVariable is the environment variable that makes a process a child. It holds the plan as JSON.
const planVariable = "WARMPAGE_LRU_PLAN"

// beChild is the main function of a child. It returns the exit code.
func beChild(ctx context.Context, text string, stdout, stderr io.Writer) int {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", planVariable, err)
		return exitUsage
	}
	r, err := measure(ctx, p)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(r)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted // the parent prints the reason
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

// runChild carries out p in a child process, which has ended when runChild returns. The error is
// context.Canceled if ctx ended, or if Ctrl-C, which goes to both processes, reached the child
// first.
func runChild(ctx context.Context, p plan) (result, error) {
	var r result
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return r, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second // time to stop by itself before it is killed
	err = cmd.Run()
	switch {
	case ctx.Err() != nil || cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitInterrupted:
		return r, context.Canceled
	case err != nil:
		return r, fmt.Errorf("child: %w\n%s", err, stderr.Bytes())
	}
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return r, fmt.Errorf("reading the output of the child: %w", err)
	}
	return r, nil
}
