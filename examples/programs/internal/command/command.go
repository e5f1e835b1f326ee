// Package command is the frame of each program: flags, Ctrl-C, exit codes, and what is said on
// standard error.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// The exit codes.
const (
	ExitFailed      = 1
	ExitUsage       = 2   // bad flags, a bad file, or a system that lacks something
	ExitInterrupted = 130 // what a shell reports for Ctrl-C
)

// Program returns a program as Main wants it, with arguments that tests can replace: parse reads the
// command line, and show does what it asks for. An error of parse is a UsageError.
func Program[Options any](name string, parse func(args []string, stderr io.Writer) (Options, error),
	show func(ctx context.Context, opts Options, stdout, stderr io.Writer) error,
) func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		opts, err := parse(args, stderr)
		if err != nil {
			return Code(name, BadUsage(err), stderr)
		}
		return Code(name, show(ctx, opts, stdout, stderr), stderr)
	}
}

// Main runs a program and exits with the code that it returns. Ctrl-C ends its context.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// A UsageError is an error that the user can mend, and not the program.
type UsageError struct{ error }

// Unwrap returns the error itself.
func (e UsageError) Unwrap() error { return e.error }

// BadUsage makes a UsageError of err.
func BadUsage(err error) error { return UsageError{err} }

// Code returns the exit code for what became of the program with that name, and says what went
// wrong. A UsageError is said without what it is wrapped in.
func Code(name string, err error, stderr io.Writer) int {
	var usage UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted, no results\n", name)
		return ExitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\n", name, usage)
		return ExitUsage
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return ExitFailed
}

// Parse parses a command line that has only flags. For -h it prints what flags there are, and
// returns flag.ErrHelp. It prints no errors, which are for Code. usage is the line for -h, without
// the program's name.
func Parse(flags *flag.FlagSet, args []string, usage string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage:", flags.Name(), usage)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return err
}

// Defaults calls set, which sets other defaults after Parse, as for -quick. Flags that are on the
// command line keep their values.
func Defaults(flags *flag.FlagSet, set func()) {
	given := make(map[string]string)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() })
	set()
	for name, value := range given {
		_ = flags.Set(name, value) // it was right before
	}
}

// Given reports whether a flag is on the command line.
func Given(flags *flag.FlagSet, name string) (found bool) {
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
