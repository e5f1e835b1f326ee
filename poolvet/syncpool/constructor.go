package syncpool

import (
	"go/ast"
	"go/constant"
	"go/types"

	"golang.org/x/tools/go/types/typeutil"
)

// constructors says what kinds of expressions make the objects of a pool.
type constructors struct {
	known bool // there is at least one
	more  bool // one does more than allocate a zero T
	calls bool // one calls a function of another package that returns T
}

// construct looks at each of es.
func (g *graph) construct(es []ast.Expr) (c constructors) {
	for _, e := range es {
		c.known = true
		if !g.isZero(e, 2) {
			c.more = true
		}
		if call, ok := g.origin(e).(*ast.CallExpr); ok {
			f, ok := typeutil.Callee(g.info, call).(*types.Func)
			c.calls = c.calls || ok && f.Pkg() != g.pass.Pkg
		}
	}
	return c
}

// isZero reports whether e makes an object of zero memory: new(T), &T{}, or a function of the
// package that only returns that.
func (g *graph) isZero(e ast.Expr, depth int) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return g.isZeroVariable(e, depth)
	case *ast.UnaryExpr:
		return g.isZero(e.X, depth)
	case *ast.CompositeLit:
		if _, isMap := g.info.TypeOf(e).Underlying().(*types.Map); isMap {
			return false
		}
		return len(e.Elts) == 0
	case *ast.CallExpr:
		if b, ok := typeutil.Callee(g.info, e).(*types.Builtin); ok {
			return b.Name() == "new" && g.info.Types[e.Args[0]].IsType()
		}
		body := g.body(e.Fun)
		if body == nil || depth == 0 || len(body.List) != 1 {
			return false
		}
		ret, ok := body.List[0].(*ast.ReturnStmt)
		return ok && len(ret.Results) == 1 && g.isZero(withoutConversion(g.info, ret.Results[0]), depth-1)
	}
	return false
}

// isZeroVariable reports whether id is a local variable that is zero: it is defined as such, and
// used only once, which is here.
func (g *graph) isZeroVariable(id *ast.Ident, depth int) bool {
	v, ok := g.info.Uses[id].(*types.Var)
	if !ok || v.Kind() != types.LocalVar {
		return false
	}
	uses := 0
	for c := range g.root.Preorder((*ast.Ident)(nil)) {
		if g.info.Uses[c.Node().(*ast.Ident)] == v {
			uses++
		}
	}
	if uses != 1 {
		return false
	}
	if origin := g.origin(id); origin != ast.Expr(id) {
		return g.isZero(origin, depth)
	}
	_, isMap := v.Type().Underlying().(*types.Map)
	return !isMap
}

// origin returns the expression that a local variable was defined by, if e is one, or e.
func (g *graph) origin(e ast.Expr) ast.Expr {
	e = ast.Unparen(e)
	if u, ok := e.(*ast.UnaryExpr); ok {
		e = ast.Unparen(u.X)
	}
	id, ok := e.(*ast.Ident)
	if !ok {
		return e
	}
	v := g.info.ObjectOf(id)
	for c := range g.root.Preorder((*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil)) {
		switch n := c.Node().(type) {
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if l, ok := l.(*ast.Ident); ok && g.info.Defs[l] == v && v != nil {
					return n.Rhs[min(i, len(n.Rhs)-1)]
				}
			}
		case *ast.ValueSpec:
			for i, l := range n.Names {
				if g.info.Defs[l] == v && len(n.Values) != 0 {
					return n.Values[min(i, len(n.Values)-1)]
				}
			}
		}
	}
	return e
}

// finalizes reports whether the package calls runtime.SetFinalizer, runtime.AddCleanup or weak.Make
// with a t. These are for objects that are allocated on their own.
func (g *graph) finalizes(t types.Type) bool {
	for c := range g.root.Preorder((*ast.CallExpr)(nil)) {
		n := c.Node().(*ast.CallExpr)
		f, ok := typeutil.Callee(g.info, n).(*types.Func)
		if !ok || len(n.Args) == 0 || !types.Identical(g.info.TypeOf(n.Args[0]), t) {
			continue
		}
		switch f.FullName() {
		case "runtime.SetFinalizer", "runtime.AddCleanup", "weak.Make":
			return true
		}
	}
	return false
}

// constantLength returns n if each of es makes a slice of constant length or capacity n, and 0
// otherwise.
func (g *graph) constantLength(es []ast.Expr) (length int64) {
	for i, e := range es {
		call, ok := g.origin(e).(*ast.CallExpr)
		if !ok {
			return 0
		}
		b, ok := typeutil.Callee(g.info, call).(*types.Builtin)
		if !ok || b.Name() != "make" || len(call.Args) < 2 {
			return 0
		}
		v := g.info.Types[call.Args[len(call.Args)-1]].Value
		if v == nil {
			return 0
		}
		n, ok := constant.Int64Val(constant.ToInt(v))
		if !ok || i > 0 && n != length {
			return 0
		}
		length = n
	}
	return length
}
