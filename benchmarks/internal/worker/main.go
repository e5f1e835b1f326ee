// Worker is the process in which things are measured. The driver builds it, several
// times with its functions in different order, and talks to it as package wire
// describes.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warmpage/pool/benchmarks/internal/loops"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if loops.Variants() == 0 {
		return errors.New("built without its loops, which the driver generates: go run . in the module's directory")
	}
	if len(args) == 1 && args[0] == wire.VerbCells {
		return serveCells(in, out)
	}
	if len(args) != 2 {
		return fmt.Errorf("started by the driver only: go run . in the module's directory")
	}
	spec := []byte(args[1])
	switch args[0] {
	case wire.VerbGoroutines:
		return answer(spec, out, measureGoroutines)
	case wire.VerbLive:
		return answer(spec, out, measureLive)
	case wire.VerbMemory:
		return answer(spec, out, measureMemory)
	case wire.VerbStops:
		return answer(spec, out, measureStops)
	case wire.VerbPromotion:
		return answer(spec, out, measurePromotion)
	}
	for _, verbs := range []map[string]func([]byte, io.Writer) error{heapVerbs, largeVerbs, bytesVerbs} {
		if study := verbs[args[0]]; study != nil {
			return study(spec, out)
		}
	}
	return fmt.Errorf("no study %q", args[0])
}

// answer does what spec asks for and writes the result as one line.
func answer[S, R any](spec []byte, out io.Writer, measure func(S) (R, error)) error {
	var s S
	if err := json.Unmarshal(spec, &s); err != nil {
		return err
	}
	r, err := measure(s)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// serveCells answers until the driver has no more questions, or is gone.
func serveCells(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := answer(lines.Bytes(), out, measureCell); err != nil {
			return err
		}
	}
	return lines.Err()
}
