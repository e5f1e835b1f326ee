package pooluse

import (
	"fmt"
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// A maker is a call of New or NewBytes.
type maker struct {
	pass    *analysis.Pass
	n       *ast.CallExpr
	name    string
	elem    types.Type // T of New; nil if it depends on a type parameter, and for NewBytes
	size    int64      // of T
	options []option
	all     bool // all options are known
}

// check reports what is wrong with the call. As New does, it names the first thing.
func (m *maker) check() {
	m.readOptions()
	if m.name == "New" {
		m.readType()
		if m.elem != nil && m.checkType() {
			return
		}
	}
	m.checkOptions()
}

// readType finds T and its size.
func (m *maker) readType() {
	t := typeArg(m.pass.TypesInfo, m.n.Fun)
	if t == nil || gotype.HasTypeParam(t) {
		return
	}
	m.elem, m.size = t, m.pass.TypesSizes.Sizeof(t)
}

// typeArg returns the first type argument of the generic function that e names.
func typeArg(info *types.Info, e ast.Expr) types.Type {
	switch x := ast.Unparen(e).(type) {
	case *ast.IndexExpr:
		return typeArg(info, x.X)
	case *ast.SelectorExpr:
		return typeArg(info, x.Sel)
	case *ast.Ident:
		if args := info.Instances[x].TypeArgs; args.Len() != 0 {
			return args.At(0)
		}
	}
	return nil
}

// checkType reports a T that New refuses. That it holds pointers is certain only if each option can
// be seen not to be WithGoHeap.
func (m *maker) checkType() (reported bool) {
	name := gotype.Name(m.elem, m.pass.Pkg)
	path, culprit := gotype.FindPointer(m.elem, name)
	var reason string
	switch {
	case culprit != nil && m.all && m.find("WithGoHeap") == nil:
		where := gotype.Name(culprit, m.pass.Pkg)
		if path != name {
			where = path + " " + where
		}
		reason = fmt.Sprintf("%s is or contains a Go pointer: add pool.WithGoHeap()", where)
	case m.size == 0:
		reason = "its size is 0: there is nothing to pool"
	case m.size > gotype.MaxSlotSize:
		reason = fmt.Sprintf("it has %d bytes, and a slot at most %d", m.size, gotype.MaxSlotSize)
	default:
		return false
	}
	m.pass.Reportf(m.n.Pos(), "pool.New[%s] panics: %s", name, reason)
	return true
}
