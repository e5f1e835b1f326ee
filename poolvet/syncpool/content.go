package syncpool

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// A content is what is known of what a pool holds.
type content struct {
	pkg         *types.Package
	isContainer bool // it is an array, a slice or a map of pools
	concrete    typeSet
	abstract    typeSet      // interfaces with methods, where nothing concrete is in sight
	makers      []ast.Expr   // what New returns, or, without New, what stands in for it
	makes       constructors // what that says of them
	length      int64        // of the slice that New makes, if it is constant
	finalized   bool         // the package gives objects finalizers, or the like
}

// A typeSet has each of several types once, in the order of the source.
type typeSet []types.Type

func (s *typeSet) add(t types.Type) {
	for _, old := range *s {
		if types.Identical(old, t) {
			return
		}
	}
	*s = append(*s, t)
}

// contents collects what New returns, what Get is asserted to be, and what is Put.
func (f *found) contents(pass *analysis.Pass) *content {
	c := &content{pkg: pass.Pkg}
	if v, ok := f.at.(*types.Var); ok {
		c.isContainer = !isPool(deref(v.Type()))
	}
	for _, value := range f.news {
		for _, e := range f.g.returns(value, 2) {
			c.makers = append(c.makers, e)
			c.add(f.g.info.TypeOf(e))
		}
	}
	for _, call := range f.calls {
		switch n := call.Node().(*ast.CallExpr); {
		case call.name == "Put" && len(n.Args) == 1:
			c.add(f.g.info.TypeOf(withoutConversion(f.g.info, n.Args[0])))
		case call.name != "Put":
			f.g.asserted(call.Cursor, c.add)
		}
	}
	if len(f.news) == 0 && len(c.concrete) == 1 {
		c.makers = f.substitutes(c.concrete[0])
	}
	c.makes = f.g.construct(c.makers)
	c.length = f.g.constantLength(c.makers)
	c.finalized = len(c.concrete) == 1 && f.g.finalizes(c.concrete[0])
	return c
}

// add takes note of one type that the pool holds.
func (c *content) add(t types.Type) {
	if b, ok := t.(*types.Basic); t == nil || ok && b.Info()&types.IsUntyped != 0 {
		return
	}
	if _, ok := types.Unalias(t).(*types.TypeParam); ok {
		c.concrete.add(t)
		return
	}
	switch i, ok := t.Underlying().(*types.Interface); {
	case !ok:
		c.concrete.add(t)
	case !i.Empty():
		c.abstract.add(t)
	}
}

// asserted calls add with each type that the result of c, a Get, is asserted to be.
func (g *graph) asserted(c inspector.Cursor, add func(types.Type)) {
	parent := c.Parent()
	for _, ok := parent.Node().(*ast.ParenExpr); ok; _, ok = parent.Node().(*ast.ParenExpr) {
		parent = parent.Parent()
	}
	switch n := parent.Node().(type) {
	case *ast.TypeAssertExpr:
		g.assertion(parent, n, add)
	case *ast.AssignStmt:
		if len(n.Lhs) == 1 && len(n.Rhs) == 1 {
			g.assertedLater(n.Lhs[0], add)
		}
	case *ast.ValueSpec:
		if len(n.Names) == 1 && len(n.Values) == 1 {
			g.assertedLater(n.Names[0], add)
		}
	}
}

// assertion calls add with the type of n, or with those of the switch that it is in.
func (g *graph) assertion(c inspector.Cursor, n *ast.TypeAssertExpr, add func(types.Type)) {
	if n.Type != nil {
		add(g.info.TypeOf(n.Type))
		return
	}
	for s := range c.Enclosing((*ast.TypeSwitchStmt)(nil)) {
		for _, clause := range s.Node().(*ast.TypeSwitchStmt).Body.List {
			for _, t := range clause.(*ast.CaseClause).List {
				add(g.info.TypeOf(t))
			}
		}
		return
	}
}

// assertedLater is asserted for a Get whose result is assigned to a local variable first.
func (g *graph) assertedLater(to ast.Expr, add func(types.Type)) {
	id, ok := to.(*ast.Ident)
	if !ok {
		return
	}
	v, ok := g.info.ObjectOf(id).(*types.Var)
	if !ok || v.Kind() == types.FieldVar || v.Kind() == types.PackageVar {
		return
	}
	for _, c := range g.uses[v] {
		if n, ok := c.Parent().Node().(*ast.TypeAssertExpr); ok {
			g.assertion(c.Parent(), n, add)
		}
	}
}

// returns returns what the function that e is returns, without conversions to an interface. Calls
// of functions of the package that return an interface are followed, up to depth of them.
func (g *graph) returns(e ast.Expr, depth int) (all []ast.Expr) {
	body := g.body(e)
	if body == nil || depth == 0 {
		return nil
	}
	for _, e := range returned(body) {
		e = withoutConversion(g.info, e)
		if call, ok := e.(*ast.CallExpr); ok && types.IsInterface(g.info.TypeOf(call)) {
			if more := g.returns(call.Fun, depth-1); len(more) != 0 {
				all = append(all, more...)
				continue
			}
		}
		all = append(all, e)
	}
	return all
}

// body returns the body of the function that e is, if the package has it.
func (g *graph) body(e ast.Expr) *ast.BlockStmt {
	if lit, ok := ast.Unparen(e).(*ast.FuncLit); ok {
		return lit.Body
	}
	var id *ast.Ident
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		id = e
	case *ast.SelectorExpr:
		id = e.Sel
	default:
		return nil
	}
	f, ok := g.info.Uses[id].(*types.Func)
	if !ok {
		return nil
	}
	if decl, ok := g.funcs[f.Origin()].(*ast.FuncDecl); ok {
		return decl.Body
	}
	return nil
}

// withoutConversion returns e without conversions to an interface.
func withoutConversion(info *types.Info, e ast.Expr) ast.Expr {
	e = ast.Unparen(e)
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 || !info.Types[call.Fun].IsType() || !types.IsInterface(info.TypeOf(call)) {
		return e
	}
	return withoutConversion(info, call.Args[0])
}

// substitutes returns what the functions that Get make of type t themselves, for a pool without
// New.
func (f *found) substitutes(t types.Type) (all []ast.Expr) {
	seen := make(map[ast.Node]bool)
	for _, call := range f.calls {
		for fn := range call.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
			if call.name == "Get" && !seen[fn.Node()] {
				seen[fn.Node()] = true
				all = append(all, f.g.made(fn, t)...)
			}
			break
		}
	}
	return all
}

// made returns the expressions of a function that make a value of type t.
func (g *graph) made(fn inspector.Cursor, t types.Type) (all []ast.Expr) {
	for c := range fn.Preorder((*ast.CallExpr)(nil), (*ast.UnaryExpr)(nil)) {
		e := c.Node().(ast.Expr)
		if u, ok := e.(*ast.UnaryExpr); ok {
			if _, ok := u.X.(*ast.CompositeLit); !ok {
				continue
			}
		}
		if types.Identical(g.resultType(e), t) {
			all = append(all, e)
		}
	}
	return all
}

// resultType returns the type of e, or of the first of its results.
func (g *graph) resultType(e ast.Expr) types.Type {
	t := g.info.TypeOf(e)
	if results, ok := t.(*types.Tuple); ok {
		if results.Len() == 0 {
			return results
		}
		return results.At(0).Type()
	}
	return t
}

// name returns a type as the package writes it.
func (c *content) name(t types.Type) string { return gotype.Name(t, c.pkg) }
