// Package columns prints the tables of results: a row for each number, and a column for each side.
package columns

import (
	"fmt"
	"io"
)

// Rows returns a function that prints a row. Its label is on the left and has that many columns of
// text, and each result has a cell of that width, with its text on the right.
func Rows[R any](out io.Writer, label, cell int, results []R) func(name string, text func(R) string) {
	return func(name string, text func(R) string) {
		fmt.Fprintf(out, "%-*s", label, name)
		for _, r := range results {
			fmt.Fprintf(out, "%*s", cell, text(r))
		}
		fmt.Fprintln(out)
	}
}
