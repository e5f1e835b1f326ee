package pool

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
)

// A stack tells where a slot was got or put: return addresses, innermost first.
type stack []uintptr

// stackDepth is how many frames a stack has at most.
const stackDepth = 64

// callers returns the stack of the caller.
func callers() stack {
	var pcs [stackDepth]uintptr
	return slices.Clone(pcs[:runtime.Callers(2, pcs[:])])
}

// frames returns the frames of s without those of the library at its top. The first one is the
// function that called Get or Put.
func (s stack) frames() iter.Seq[runtime.Frame] {
	return func(yield func(runtime.Frame) bool) {
		frames, inside := runtime.CallersFrames(s), true
		for len(s) > 0 {
			f, more := frames.Next()
			inside = inside && isOurs(f.Function)
			if !inside && !yield(f) || !more {
				return
			}
		}
	}
}

// isOurs reports whether a function is a method of Pool, Bytes or Buffer, or of a type below them
// that takes stacks.
func isOurs(function string) bool {
	method, ok := strings.CutPrefix(function, "github.com/warmpage/pool.(*")
	receiver, _, _ := strings.Cut(method, ")")
	switch receiver {
	case "Bytes", "Buffer", "core", "watches", "guards":
		return ok
	}
	return ok && strings.HasPrefix(receiver, "Pool[")
}

// String returns two lines for each frame, as in a crash.
func (s stack) String() string {
	var b strings.Builder
	for f := range s.frames() {
		fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return b.String()
}
