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

// Each side runs in a child process, which is this program again: what one has
// left in memory does not count for the other. A child finds its plan in the
// environment and writes its results to standard output as they come.

// planVariable makes a process a child.
const planVariable = "WARMPAGE_BURST_PLAN"

// A message is what a child writes: one of these.
type message struct {
	Sample *sample `json:",omitempty"`
	Totals *totals `json:",omitempty"` // the last one
}

// beChild is main of a child; it returns the exit code.
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
		return exitInterrupted // the parent says why
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return 0
}

// runChild carries out p in a process of its own, which has ended when runChild
// returns. The error is context.Canceled if Ctrl-C, which both get, reached the
// child first.
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
	cmd.WaitDelay = 2 * time.Second // then it is killed: a burst in a strained machine, or Windows, which cannot interrupt
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
		return fmt.Errorf("what the child wrote: %w", readErr)
	case !hasTotals:
		return errors.New("the child ended before it was done")
	}
	return nil
}

// readMessages reads to the end and reports whether the last message was there.
func readMessages(in io.Reader, got func(message)) (hasTotals bool, err error) {
	for d := json.NewDecoder(in); ; {
		var m message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return hasTotals, nil
		case err != nil:
			// Else the child would wait for somebody to read the rest.
			_, _ = io.Copy(io.Discard, in)
			return hasTotals, err
		}
		hasTotals = m.Totals != nil
		got(m)
	}
}
