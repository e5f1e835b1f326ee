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

// Each variant runs in a child process, which is this program again, so that the heap of one does
// not affect the other. A child finds its plan in the environment and writes its result to standard
// output.

// planVariable is the environment variable that makes a process a child. It holds the plan as JSON.
const planVariable = "WARMPAGE_ORDERBOOK_PLAN"

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
	var bad badInput
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted // the parent prints the reason
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, err)
		return exitBadInput
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

// runChild carries out p in a child process, which has ended when runChild returns. The error is
// context.Canceled if ctx ended, or if Ctrl-C, which goes to both processes, reached the child
// first. It is a badInput if the input file is to blame.
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
	cmd.WaitDelay = 2 * time.Second // then kill it: Windows cannot interrupt
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
		return r, fmt.Errorf("reading the output of the child: %w", err)
	}
	return r, nil
}
