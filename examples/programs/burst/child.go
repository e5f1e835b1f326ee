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

// Each side runs in a child process, which is this program again. That way, what one side leaves in
// memory does not count against the other. A child finds its plan in the environment and writes its
// results to standard output as they come.

// planVariable is the environment variable that makes a process a child. It holds the plan as JSON.
const planVariable = "WARMPAGE_BURST_PLAN"

// A message is one JSON value that a child writes. It has exactly one of these fields.
type message struct {
	Sample *sample `json:",omitempty"`
	Totals *totals `json:",omitempty"` // the last message has this
}

// beChild is the main function of a child. It returns the exit code.
func beChild(ctx context.Context, text string, stdout, stderr io.Writer) int {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", planVariable, err)
		return exitUsage
	}
	out := json.NewEncoder(stdout)
	t, err := measure(ctx, p, func(s sample) error { return out.Encode(message{Sample: &s}) })
	if err == nil {
		err = out.Encode(message{Totals: &t})
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

// runChild carries out p in a child process and passes each message to got. The child has ended
// when runChild returns. The error is context.Canceled if ctx ended, or if Ctrl-C, which goes to
// both processes, reached the child first.
func runChild(ctx context.Context, p plan, got func(message)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	cmd.Stderr = &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second // then kill it: the machine may be overloaded, and Windows cannot interrupt
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	hasTotals, readErr := readMessages(out, got)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil || cmd.ProcessState.ExitCode() == exitInterrupted:
		return context.Canceled
	case err != nil:
		return fmt.Errorf("child: %w\n%s", err, errs.String())
	case readErr != nil:
		return fmt.Errorf("reading the output of the child: %w", readErr)
	case !hasTotals:
		return errors.New("the child ended before it was done")
	}
	return nil
}

// readMessages reads messages until in ends, and passes each to got. hasTotals says whether the
// last one had the totals.
func readMessages(in io.Reader, got func(message)) (hasTotals bool, err error) {
	for d := json.NewDecoder(in); ; {
		var m message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return hasTotals, nil
		case err != nil:
			// Read the rest, so that the child does not block on its output.
			_, _ = io.Copy(io.Discard, in)
			return hasTotals, err
		}
		hasTotals = m.Totals != nil
		got(m)
	}
}
