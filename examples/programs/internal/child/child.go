// Package child does parts of a program's work in processes of their own, so that the heap of one
// does not affect another. A child is the same program again. It finds its plan in the environment
// and writes what it sends to standard output, both as JSON. It has to end when its standard input
// ends, which also happens when the parent dies.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
)

// variable is the environment variable that makes a process a child. It holds the plan.
const variable = "WARMPAGE_CHILD"

// exitUsage is what a child exits with after a command.UsageError. Go uses 2 for a panic.
const exitUsage = 3

// patience is how long a child may take to end. Then it is killed.
const patience = 10 * time.Second

// Main does the work and exits, if this process is a child. Otherwise it returns at once. A program
// and its TestMain call it first.
func Main[P, R any](work func(ctx context.Context, plan P, send func(R) error) error) {
	plan, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	os.Exit(do(ctx, plan, os.Stdout, os.Stderr, work))
}

// One is the work for Main that has one result.
func One[P, R any](measure func(context.Context, P) (R, error)) func(context.Context, P, func(R) error) error {
	return func(ctx context.Context, plan P, send func(R) error) error {
		r, err := measure(ctx, plan)
		if err != nil {
			return err
		}
		return send(r)
	}
}

// do does the work of a child, and returns its exit code.
func do[P, R any](ctx context.Context, text string, stdout, stderr io.Writer, work func(context.Context, P, func(R) error) error) int {
	var plan P
	err := json.Unmarshal([]byte(text), &plan)
	if err != nil {
		err = fmt.Errorf("%s: %w; leave it unset, and the program sets it for its children", variable, err)
	} else {
		out := json.NewEncoder(stdout)
		err = work(ctx, plan, func(r R) error { return out.Encode(r) })
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return command.ExitInterrupted // the parent says so
	}
	fmt.Fprintln(stderr, err)
	if errors.As(err, new(command.UsageError)) {
		return exitUsage
	}
	return command.ExitFailed
}

// A Process is a child that was started. It is for one goroutine.
type Process struct {
	ctx    context.Context
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	values *json.Decoder
	stderr strings.Builder
}

// Start starts a child. When ctx ends, the child is told to end as well.
func Start(ctx context.Context, plan any) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	p := &Process{ctx: ctx, cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), variable+"="+string(text))
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = patience
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.cmd.Cancel = p.stdin.Close
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.values = json.NewDecoder(p.stdout)
	return p, p.cmd.Start()
}

// Next reads the next value that the child sends. It returns io.EOF after the last one.
func (p *Process) Next(value any) error { return p.values.Decode(value) }

// Stop tells the child to end, and waits for that. The error is context.Canceled if ctx has ended,
// or if Ctrl-C, which goes to both processes, reached the child first. It is a command.UsageError
// if the child's is.
func (p *Process) Stop() error {
	_ = p.stdin.Close()
	return p.wait()
}

func (p *Process) wait() error {
	err := p.cmd.Wait()
	says, code := strings.TrimSpace(p.stderr.String()), p.cmd.ProcessState.ExitCode()
	switch {
	case p.ctx.Err() != nil || code == command.ExitInterrupted:
		return context.Canceled
	case code == exitUsage:
		return command.BadUsage(errors.New(says))
	case err != nil:
		return fmt.Errorf("child: %w\n%s", err, says)
	}
	return nil
}

// Run has a child do the whole plan, and passes each value that the child sends to got. The child
// has ended when Run returns. Errors are those of Stop.
func Run[R any](ctx context.Context, plan any, got func(R)) error {
	p, err := Start(ctx, plan)
	if err != nil {
		return err
	}
	var bad error
	for bad == nil {
		var r R
		if bad = p.Next(&r); bad == nil {
			got(r)
		}
	}
	_, _ = io.Copy(io.Discard, p.stdout) // so that the child does not block
	if err := p.wait(); err != nil || errors.Is(bad, io.EOF) {
		return err
	}
	return fmt.Errorf("reading the output of the child: %w", bad)
}

// Result is Run for a child with one result.
func Result[R any](ctx context.Context, plan any) (r R, err error) {
	err = Run(ctx, plan, func(value R) { r = value })
	return r, err
}
