package syncpool

import (
	"cmp"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// A graph says where the pools of a package go: from the places that make them, through variables,
// fields, arguments and results, to the calls of their methods.
//
// A node is one of these: a *types.Var, which is a variable or a field; a *types.Func, which stands
// for its results; and an ast.Expr that makes a pool, which is a literal or a call of new.
type graph struct {
	pass  *analysis.Pass
	info  *types.Info
	root  inspector.Cursor
	from  map[node][]node // whose pools a node has
	to    map[node][]node // the reverse
	defs  map[types.Object]inspector.Cursor
	uses  map[types.Object][]inspector.Cursor
	funcs map[*types.Func]ast.Node // the declarations of the package, each a *ast.FuncDecl
	pools map[node]*found
}

type node any

// A found pool is a root of the graph, and what happens to it.
type found struct {
	g     *graph
	at    node
	pos   token.Pos
	name  string
	kind  string
	news  []ast.Expr // functions that are or become its New
	calls []call     // of Get, Put, and New
}

// A call is one of a method of a pool.
type call struct {
	inspector.Cursor
	name string
}

// findPools returns the pools of the package, in the order of the source.
func findPools(pass *analysis.Pass) []*found {
	g := &graph{
		pass:  pass,
		info:  pass.TypesInfo,
		root:  pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root(),
		from:  make(map[node][]node),
		to:    make(map[node][]node),
		defs:  make(map[types.Object]inspector.Cursor),
		uses:  make(map[types.Object][]inspector.Cursor),
		funcs: make(map[*types.Func]ast.Node),
		pools: make(map[node]*found),
	}
	g.index()
	g.flows()
	g.variables()
	g.makers()
	g.pointers()
	g.members()
	return slices.SortedFunc(maps.Values(g.pools), func(a, b *found) int { return cmp.Compare(a.pos, b.pos) })
}

// index fills defs, uses and funcs.
func (g *graph) index() {
	for c := range g.root.Preorder((*ast.Ident)(nil)) {
		id := c.Node().(*ast.Ident)
		if obj := g.info.Uses[id]; obj != nil {
			g.uses[obj] = append(g.uses[obj], c)
		}
		obj := g.info.Defs[id]
		if obj == nil {
			continue
		}
		g.defs[obj] = c
		if f, ok := obj.(*types.Func); ok && c.ParentEdgeKind() == edge.FuncDecl_Name {
			g.funcs[f] = c.Parent().Node()
		}
	}
}

// flows fills from and to.
func (g *graph) flows() {
	add := func(to node, value ast.Expr) {
		if to != nil && value != nil && isPoolish(g.info.TypeOf(value)) {
			for _, from := range g.sources(value) {
				g.from[to] = append(g.from[to], from)
				g.to[from] = append(g.to[from], to)
			}
		}
	}
	for c := range g.root.Preorder((*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil), (*ast.CallExpr)(nil),
		(*ast.CompositeLit)(nil), (*ast.ReturnStmt)(nil), (*ast.RangeStmt)(nil)) {
		switch n := c.Node().(type) {
		case *ast.AssignStmt:
			if len(n.Lhs) == len(n.Rhs) {
				for i, value := range n.Rhs {
					add(g.place(n.Lhs[i]), value)
				}
			}
		case *ast.ValueSpec:
			if len(n.Names) == len(n.Values) {
				for i, value := range n.Values {
					add(g.place(n.Names[i]), value)
				}
			}
		case *ast.CallExpr:
			g.arguments(n, add)
		case *ast.CompositeLit:
			g.fields(n, add)
		case *ast.ReturnStmt:
			if f := g.enclosing(c); f != nil && len(n.Results) == 1 {
				add(f, n.Results[0])
			}
		case *ast.RangeStmt:
			if n.Value != nil {
				add(g.place(n.Value), n.X)
			}
		}
	}
}

// arguments adds what flows into parameters of functions of the package.
func (g *graph) arguments(n *ast.CallExpr, add func(node, ast.Expr)) {
	f, _ := typeutil.Callee(g.info, n).(*types.Func)
	if f == nil {
		return
	}
	params := f.Origin().Signature().Params()
	for i, arg := range n.Args {
		if i < params.Len() {
			add(params.At(i), arg)
		}
	}
}

// fields adds what flows into the fields of a struct.
func (g *graph) fields(n *ast.CompositeLit, add func(node, ast.Expr)) {
	t, ok := deref(g.info.TypeOf(n)).Underlying().(*types.Struct)
	if !ok || isPool(deref(g.info.TypeOf(n))) {
		return
	}
	for i, elt := range n.Elts {
		switch elt := elt.(type) {
		case *ast.KeyValueExpr:
			if id, ok := elt.Key.(*ast.Ident); ok {
				add(g.variable(id), elt.Value)
			}
		default:
			add(t.Field(i).Origin(), elt)
		}
	}
}

// enclosing returns the function that c is in, or nil if that is a literal.
func (g *graph) enclosing(c inspector.Cursor) node {
	for f := range c.Enclosing((*ast.FuncLit)(nil), (*ast.FuncDecl)(nil)) {
		if decl, ok := f.Node().(*ast.FuncDecl); ok {
			return g.info.Defs[decl.Name].(*types.Func)
		}
		break
	}
	return nil
}

// variable returns the node of an identifier, or nil if it is no variable.
func (g *graph) variable(id *ast.Ident) node {
	if v, ok := g.info.ObjectOf(id).(*types.Var); ok {
		return v.Origin()
	}
	return nil
}

// place returns the variable or field that an expression is, points to, or is an element of.
func (g *graph) place(e ast.Expr) node {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return g.variable(e)
	case *ast.SelectorExpr:
		return g.variable(e.Sel)
	case *ast.IndexExpr:
		return g.place(e.X)
	case *ast.SliceExpr:
		return g.place(e.X)
	case *ast.StarExpr:
		return g.place(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.AND {
			return g.place(e.X)
		}
	}
	return nil
}

// sources returns the nodes whose pools an expression has.
func (g *graph) sources(e ast.Expr) []node {
	if at := g.place(e); at != nil {
		return []node{at}
	}
	switch e := ast.Unparen(e).(type) {
	case *ast.UnaryExpr:
		return g.sources(e.X)
	case *ast.KeyValueExpr:
		return g.sources(e.Value)
	case *ast.CompositeLit:
		if isPool(deref(g.info.TypeOf(e))) {
			return []node{e}
		}
		return g.elements(e.Elts)
	case *ast.CallExpr:
		return g.results(e)
	}
	return nil
}

// elements returns the nodes of several expressions.
func (g *graph) elements(es []ast.Expr) (all []node) {
	for _, e := range es {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			e = kv.Value
		}
		all = append(all, g.sources(e)...)
	}
	return all
}

// results returns the nodes whose pools a call returns.
func (g *graph) results(e *ast.CallExpr) (all []node) {
	if lit, ok := ast.Unparen(e.Fun).(*ast.FuncLit); ok {
		for _, r := range returned(lit.Body) {
			all = append(all, g.sources(r)...)
		}
		return all
	}
	switch f := typeutil.Callee(g.info, e).(type) {
	case *types.Builtin:
		if f.Name() == "append" {
			return g.elements(e.Args)
		}
		if f.Name() == "new" && isPool(deref(g.info.TypeOf(e))) {
			return []node{e}
		}
	case *types.Func:
		if _, ok := g.funcs[f.Origin()]; ok {
			return []node{f.Origin()}
		}
	}
	return nil
}

// returned returns the results of a function that returns one.
func returned(body *ast.BlockStmt) (all []ast.Expr) {
	ast.Inspect(body, func(n ast.Node) bool {
		if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) == 1 {
			all = append(all, ret.Results[0])
		}
		_, isFunc := n.(*ast.FuncLit)
		return !isFunc
	})
	return all
}

// isPool reports whether t is sync.Pool.
func isPool(t types.Type) bool { return gotype.IsNamed(t, "sync", "Pool") }

// deref returns what t points to, or t.
func deref(t types.Type) types.Type {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}

// isPoolish reports whether t is a pool, points to one, or has them as elements.
func isPoolish(t types.Type) bool {
	switch u := types.Unalias(t).(type) {
	case nil:
		return false
	case *types.Named:
		if isPool(u) {
			return true
		}
		switch u.Underlying().(type) {
		case *types.Slice, *types.Array, *types.Map:
			return isPoolish(u.Underlying())
		}
		return false
	case *types.Pointer:
		return isPoolish(u.Elem())
	case interface{ Elem() types.Type }:
		_, isChan := u.(*types.Chan)
		return !isChan && isPoolish(u.Elem())
	}
	return false
}
