package loops

import "github.com/warmpage/pool/benchmarks/internal/catalog"

// A Variant is a side with one size and mode.
type Variant struct {
	Side catalog.Side
	Size int
	Mode catalog.Mode
}

// registry has a func() Loops[H] for each variant. H differs.
var registry = make(map[Variant]any)

// Register is called by generated files, before main.
func Register[H any](v Variant, newLoops func() Loops[H]) { registry[v] = newLoops }

// Variants returns how many there are. There are none in a program that was built without the
// generated files.
func Variants() int { return len(registry) }

// Maker returns the func() Loops[H] that makes the loops of v, or nil if there are none.
func Maker(v Variant) any { return registry[v] }

// New returns the loops of a variant that there is.
func New[H any](v Variant) Loops[H] { return registry[v].(func() Loops[H])() }
