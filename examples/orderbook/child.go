package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Each variant runs in a child process, which is this program again: the heap of
// one is not the other's. A child finds its plan in the environment and writes its
// result to standard output.

// planVariable makes a process a child.
const planVariable = "WARMPAGE_ORDERBOOK_PLAN"

// beChild is main of a child; it returns the exit code.
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
	var bad badInput
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted // the parent says why
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, err)
		return exitBadInput
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

// runChild carries out p in a process of its own, which has ended when runChild
// returns. The error is context.Canceled if Ctrl-C, which both get, reached the
// child first, and a badInput if the file is to blame.
func runChild(ctx context.Context, p plan) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return r, err
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second // then it is killed: Windows cannot interrupt
	err = cmd.Run()
	switch {
	case ctx.Err() != nil || cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitInterrupted:
		return r, context.Canceled
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitBadInput:
		return r, badInput{errors.New(strings.TrimSpace(errs.String()))}
	case err != nil:
		return r, fmt.Errorf("child: %w\n%s", err, errs.String())
	}
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		return r, fmt.Errorf("what the child wrote: %w", err)
	}
	return r, nil
}
