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

// Each side runs in a child process, which is this program again, so that the heap of one side does
// not affect the other. A child finds its plan in the environment and writes its result to standard
// output.

// planVariable is the environment variable that makes a process a child. It holds the plan as JSON.
const planVariable = "WARMPAGE_PACKETS_PLAN"

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
	case errors.Is(err, errSockets):
		fmt.Fprintln(stderr, err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

// runChild carries out p in a child process, which has ended when runChild returns. The error is
// context.Canceled if ctx ended, or if Ctrl-C, which goes to both processes, reached the child
// first. It wraps errSockets if the system refused the child a socket.
func runChild(ctx context.Context, p plan) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return result{}, err
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second // then kill it: Windows cannot interrupt
	err = cmd.Run()
	said := strings.TrimSpace(errs.String())
	code := -1
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	switch {
	case ctx.Err() != nil || code == exitInterrupted:
		return result{}, context.Canceled
	case code == exitUsage && strings.HasPrefix(said, errSockets.Error()):
		return result{}, fmt.Errorf("%w%s", errSockets, strings.TrimPrefix(said, errSockets.Error()))
	case err != nil:
		return result{}, fmt.Errorf("child: %w\n%s", err, said)
	}
	var r result
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		return result{}, fmt.Errorf("reading the output of the child: %w", err)
	}
	return r, nil
}
