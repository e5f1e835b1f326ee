package syncpool

import (
	"go/ast"
	"go/constant"
	"go/types"
	"slices"

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
	if !ok || v.Kind() != types.LocalVar || len(g.uses[v]) != 1 {
		return false
	}
	if value := g.valueOf(v); value != nil {
		return g.isZero(value, depth)
	}
	def, ok := g.defs[v]
	if !ok {
		return false
	}
	spec, ok := def.Parent().Node().(*ast.ValueSpec)
	_, isMap := v.Type().Underlying().(*types.Map)
	return ok && len(spec.Values) == 0 && !isMap
}

// origin returns the expression that a local variable was defined by, if e is one, or e.
func (g *graph) origin(e ast.Expr) ast.Expr {
	e = ast.Unparen(e)
	if u, ok := e.(*ast.UnaryExpr); ok {
		e = ast.Unparen(u.X)
	}
	if id, ok := e.(*ast.Ident); ok {
		if value := g.valueOf(g.info.Uses[id]); value != nil {
			return value
		}
	}
	return e
}

// valueOf returns the expression by which a variable is defined, or nil. It may have more results.
func (g *graph) valueOf(v types.Object) ast.Expr {
	def, ok := g.defs[v]
	if !ok {
		return nil
	}
	var values []ast.Expr
	i := def.ParentEdgeIndex()
	switch n := def.Parent().Node().(type) {
	case *ast.AssignStmt:
		values = n.Rhs
	case *ast.ValueSpec:
		values = n.Values
	}
	if len(values) == 0 {
		return nil
	}
	return values[min(i, len(values)-1)]
}

var finalizers = []string{"runtime.SetFinalizer", "runtime.AddCleanup", "weak.Make"}

// finalizes reports whether the package calls runtime.SetFinalizer, runtime.AddCleanup or weak.Make
// with a t. These are for objects that are allocated on their own.
func (g *graph) finalizes(t types.Type) bool {
	for f, uses := range g.uses {
		f, ok := f.(*types.Func)
		if !ok || !slices.Contains(finalizers, f.FullName()) {
			continue
		}
		for _, c := range uses {
			for up := range c.Enclosing((*ast.CallExpr)(nil)) {
				args := up.Node().(*ast.CallExpr).Args
				if len(args) != 0 && types.Identical(g.info.TypeOf(args[0]), t) {
					return true
				}
				break
			}
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
