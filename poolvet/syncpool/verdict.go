package syncpool

import (
	"fmt"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// judge fills in what the pool holds, and the verdict.
func (c *content) judge(pass *analysis.Pass, p *Pool) {
	p.Verdict = Stay
	switch {
	case len(c.concrete) > 1:
		p.Holds = c.names(c.concrete)
		c.judgeSeveral(pass, p)
	case len(c.concrete) == 1:
		p.Holds = c.name(c.concrete[0])
		c.judgeType(pass, p, c.concrete[0])
	case len(c.abstract) != 0:
		p.Holds = c.names(c.abstract)
		c.holder(p, c.abstract[0])
	default:
		p.Note = "what it holds is not in sight in this package"
	}
}

// judgeSeveral judges a pool of several types. If it is an array of pools, and the same fits all of
// its types, then each type takes a pool of its own.
func (c *content) judgeSeveral(pass *analysis.Pass, p *Pool) {
	p.Note = "several types in one pool: make one pool for each"
	if slices.ContainsFunc(c.concrete, gotype.HasTypeParam) {
		p.Holds, p.Note = c.name(c.concrete[0]), dependsOnParam
		return
	}
	if !c.isContainer {
		return
	}
	first := *p
	c.judgeType(pass, &first, c.concrete[0])
	for _, t := range c.concrete[1:] {
		other := *p
		if c.judgeType(pass, &other, t); other.Verdict != first.Verdict {
			return
		}
	}
	p.Verdict, p.Use, p.Note = first.Verdict, first.Use, "one pool for each of the types"
}

const dependsOnParam = "the type depends on a type parameter: choose a pool where it is known"

func (c *content) names(ts []types.Type) string {
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = c.name(t)
	}
	return strings.Join(names, ", ")
}

// judgeType judges a pool that holds values of one type.
func (c *content) judgeType(pass *analysis.Pass, p *Pool, t types.Type) {
	elem := deref(t)
	if gotype.HasTypeParam(elem) {
		p.Note = dependsOnParam
		return
	}
	if gotype.IsNamed(elem, "bytes", "Buffer") {
		p.Verdict, p.Use, p.Note = Bytes, "pool.Buffer", "if it is only written to; it has no Read"
		return
	}
	switch u := elem.Underlying().(type) {
	case *types.Slice:
		c.judgeSlice(p, u)
	case *types.Signature:
		p.Note = "a func keeps what it captures"
	case *types.Map, *types.Chan, *types.Pointer, *types.Interface:
		c.holder(p, elem)
	case *types.Basic:
		if u.Info()&types.IsString != 0 || u.Kind() == types.UnsafePointer {
			p.Note = "there is nothing to reuse behind a string or an unsafe.Pointer"
			return
		}
		c.judgeObject(pass, p, elem)
	default:
		c.judgeObject(pass, p, elem)
	}
}

// judgeSlice judges a pool of slices.
func (c *content) judgeSlice(p *Pool, s *types.Slice) {
	if b, ok := s.Elem().Underlying().(*types.Basic); !ok || b.Kind() != types.Uint8 {
		p.Note = "slices of " + c.name(s.Elem()) + " grow, and a slot does not; for a fixed length, pool an array"
		return
	}
	p.Verdict, p.Use = Bytes, "pool.NewBytes()"
	if n := c.length; n > 0 && n <= gotype.MaxSlotSize {
		p.Note = fmt.Sprintf("or pool.New[[%d]byte](), if no slice grows", n)
	}
}

// judgeObject judges a pool of structs, arrays or numbers of type t, or of pointers to these.
func (c *content) judgeObject(pass *analysis.Pass, p *Pool, t types.Type) {
	p.Size = pass.TypesSizes.Sizeof(t)
	_, culprit := gotype.FindPointer(t, "")
	switch {
	case p.Size == 0:
		p.Note = "the type has size 0: there is nothing to pool"
	case p.Size > gotype.MaxSlotSize:
		p.Note = fmt.Sprintf("a slot has at most %d bytes: pool its parts", gotype.MaxSlotSize)
	case c.isForeign(t):
		c.holder(p, types.NewPointer(t))
	case c.finalized:
		c.holder(p, types.NewPointer(t))
		p.Note += ", because slots take no finalizers"
	case culprit == nil:
		p.Verdict, p.Use = OffHeap, fmt.Sprintf("pool.New[%s]()", c.name(t))
		if c.makes.more {
			p.Use = fmt.Sprintf("pool.New[%s](pool.WithInit(...))", c.name(t))
			p.Note = "WithInit does what New does, and WithReset what runs before each Put"
		}
	case c.makes.more:
		p.Verdict, p.Use = GoHeapInit, fmt.Sprintf("pool.New[%s](pool.WithGoHeap(), pool.WithInit(...))", c.name(t))
		p.Note = "WithInit does what New does, and WithReset what runs before each Put"
	default:
		p.Verdict, p.Use = GoHeap, fmt.Sprintf("pool.New[%s](pool.WithGoHeap())", c.name(t))
		if c.keeps(t) {
			p.Note = "with WithInit if buffers or maps in it are to survive a Put"
		}
	}
}

// isForeign reports whether objects of t come from a constructor of another package, so that a pool
// can only hold pointers to them.
func (c *content) isForeign(t types.Type) bool {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg() == c.pkg {
		return false
	}
	if _, ok := t.Underlying().(*types.Struct); !ok {
		return false
	}
	return c.makes.calls || !c.makes.known && hasHidden(t)
}

// hasHidden reports whether a struct has fields that only its package can fill in.
func hasHidden(t types.Type) bool {
	for f := range t.Underlying().(*types.Struct).Fields() {
		if !f.Exported() {
			return true
		}
	}
	return false
}

// keeps reports whether a struct has a slice or a map, which clearing would drop, or may have.
func (c *content) keeps(t types.Type) bool {
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	if named, ok := types.Unalias(t).(*types.Named); ok && named.Obj().Pkg() != c.pkg && hasHidden(t) {
		return true
	}
	for f := range s.Fields() {
		switch f.Type().Underlying().(type) {
		case *types.Slice, *types.Map:
			return true
		}
	}
	return false
}

// holder judges a pool of what only a field can hold: t is an interface, a map, a channel, or what
// a constructor returns.
func (c *content) holder(p *Pool, t types.Type) {
	p.Verdict = GoHeapInit
	p.Use = "pool.New[holder](pool.WithGoHeap(), pool.WithInit(...))"
	p.Note = "type holder struct{ " + field(t, c.name(t)) + " }"
}

// field returns the declaration of a field of type t, embedded if that is possible.
func field(t types.Type, name string) string {
	if _, ok := types.Unalias(deref(t)).(*types.Named); ok {
		return name
	}
	return "v " + name
}
