package syncpool

import (
	"go/ast"
	"go/types"
	"iter"

	"golang.org/x/tools/go/ast/inspector"
)

// Which nodes of the graph are pools. A variable of type sync.Pool is one, and so is an array or a
// map of them. Where a variable is a pointer, its pools are the literals that flow into it. Only if
// none is in sight, the variable stands for what it points to.

// makers adds the literals that make a pool, except those whose pool a variable is.
func (g *graph) makers() {
	names := make(map[node]*types.Var)
	for to, from := range g.from {
		v, ok := to.(*types.Var)
		for _, n := range from {
			if old := names[n]; ok && (old == nil || v.Pos() < old.Pos()) {
				names[n] = v
			}
		}
	}
	for c := range g.root.Preorder((*ast.CompositeLit)(nil), (*ast.CallExpr)(nil)) {
		e := c.Node().(ast.Expr)
		made := g.sources(e)
		if len(made) != 1 || made[0] != e || len(g.owners(e)) != 0 || g.isOverwrite(c) {
			continue
		}
		f := &found{g: g, at: e, pos: e.Pos(), name: "literal", kind: "literal"}
		if v := names[e]; v != nil {
			f.name, f.kind = v.Name(), kindOf(v)
			if v.Kind() == types.PackageVar || v.Kind() == types.LocalVar {
				f.pos = v.Pos()
			}
		}
		g.pools[e] = f
	}
}

// isOverwrite reports whether c is what a pool is set to through a pointer: a reset, and no new
// pool.
func (g *graph) isOverwrite(c inspector.Cursor) bool {
	n, ok := c.Parent().Node().(*ast.AssignStmt)
	if !ok || len(n.Lhs) != 1 {
		return false
	}
	_, ok = n.Lhs[0].(*ast.StarExpr)
	return ok
}

// isRoot reports whether v is a pool, or holds pools, itself.
func isRoot(v *types.Var) bool {
	switch v.Kind() {
	case types.PackageVar, types.LocalVar, types.FieldVar:
		_, isPointer := types.Unalias(v.Type()).(*types.Pointer)
		return !isPointer && isPoolish(v.Type())
	}
	return false
}

func kindOf(v *types.Var) string {
	switch v.Kind() {
	case types.PackageVar:
		return "package variable"
	case types.FieldVar:
		return "field"
	case types.LocalVar:
		return "local variable"
	}
	return "literal"
}

// variables adds the variables and fields that are pools.
func (g *graph) variables() {
	for v := range g.poolVars() {
		if isRoot(v) && (v.Kind() != types.LocalVar || !g.isAlias(v)) {
			g.add(v)
		}
	}
}

// pointers adds the variables and fields that point to a pool from elsewhere.
func (g *graph) pointers() {
	var all []*types.Var
	for v := range g.poolVars() {
		if !isRoot(v) && (v.Kind() == types.PackageVar || v.Kind() == types.FieldVar) && len(g.resolve(v)) == 0 {
			all = append(all, v)
		}
	}
	for _, v := range all {
		g.add(v)
	}
}

// poolVars returns the variables and fields that are, point to, or hold pools.
func (g *graph) poolVars() iter.Seq[*types.Var] {
	return func(yield func(*types.Var) bool) {
		for id, obj := range g.info.Defs {
			if v, ok := obj.(*types.Var); ok && id.Name != "_" && isPoolish(v.Type()) && !yield(v) {
				return
			}
		}
	}
}

func (g *graph) add(v *types.Var) {
	g.pools[v] = &found{g: g, at: v, pos: v.Pos(), name: v.Name(), kind: kindOf(v)}
}

// isAlias reports whether a local variable is a slice or a map of pools that are found elsewhere.
func (g *graph) isAlias(v *types.Var) bool {
	if isPool(v.Type()) {
		return false
	}
	for _, n := range g.from[v] {
		if _, ok := n.(*types.Var); ok {
			return true
		}
	}
	return false
}

// resolve returns the pools that a node may be.
func (g *graph) resolve(n node) (all []*found) {
	seen := make(map[node]bool)
	var visit func(n node)
	visit = func(n node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		f := g.pools[n]
		if f != nil {
			all = append(all, f)
		}
		if v, ok := n.(*types.Var); ok && f != nil && isRoot(v) {
			return // what flows into it becomes part of it
		}
		for _, from := range g.from[n] {
			visit(from)
		}
	}
	visit(n)
	return all
}

// members adds the calls of Get, Put and New, and what New is set to.
func (g *graph) members() {
	g.literalNews()
	for c := range g.root.Preorder((*ast.SelectorExpr)(nil)) {
		sel := c.Node().(*ast.SelectorExpr)
		s := g.info.Selections[sel]
		if s == nil || !isMember(s.Obj()) {
			continue
		}
		for _, f := range g.resolveReceiver(sel, s) {
			f.use(c, sel)
		}
	}
}

// use adds one selector of a method or field of the pool.
func (f *found) use(c inspector.Cursor, sel *ast.SelectorExpr) {
	switch parent := c.Parent().Node().(type) {
	case *ast.CallExpr:
		if parent.Fun == sel {
			f.calls = append(f.calls, call{c.Parent(), sel.Sel.Name})
		}
	case *ast.AssignStmt:
		if len(parent.Lhs) == len(parent.Rhs) {
			for i, l := range parent.Lhs {
				if l == sel {
					f.news = append(f.news, parent.Rhs[i])
				}
			}
		}
	}
}

// isMember reports whether obj is a method or field of sync.Pool.
func isMember(obj types.Object) bool {
	if obj.Pkg() == nil || obj.Pkg().Path() != "sync" {
		return false
	}
	switch obj := obj.(type) {
	case *types.Func:
		recv := obj.Signature().Recv()
		return recv != nil && isPool(deref(recv.Type()))
	case *types.Var:
		return obj.IsField() && obj.Name() == "New"
	}
	return false
}

// resolveReceiver returns the pools that sel selects from. They may be an embedded field.
func (g *graph) resolveReceiver(sel *ast.SelectorExpr, s *types.Selection) (all []*found) {
	if path := s.Index(); len(path) > 1 {
		t, field := s.Recv(), (*types.Var)(nil)
		for _, i := range path[:len(path)-1] {
			field = deref(t).Underlying().(*types.Struct).Field(i)
			t = field.Type()
		}
		return g.resolve(field.Origin())
	}
	for _, n := range g.sources(sel.X) {
		all = append(all, g.resolve(n)...)
	}
	return all
}

// literalNews adds the New of each literal to the pool that it makes, or that it becomes.
func (g *graph) literalNews() {
	for c := range g.root.Preorder((*ast.CompositeLit)(nil)) {
		lit := c.Node().(*ast.CompositeLit)
		value := newOf(lit)
		if value == nil || !isPool(deref(g.info.TypeOf(lit))) {
			continue
		}
		if f := g.pools[lit]; f != nil {
			f.news = append(f.news, value)
		}
		for _, v := range g.owners(lit) {
			g.pools[v].news = append(g.pools[v].news, value)
		}
	}
}

// owners returns the variables that are pools, or hold them, and into which a literal goes.
func (g *graph) owners(n node) (all []*types.Var) {
	seen := make(map[node]bool)
	var visit func(n node)
	visit = func(n node) {
		for _, to := range g.to[n] {
			if v, ok := to.(*types.Var); ok && isRoot(v) && g.pools[v] != nil {
				all = append(all, v)
			} else if !seen[to] {
				seen[to] = true
				visit(to)
			}
		}
	}
	visit(n)
	return all
}

// newOf returns the value of New in a literal of a sync.Pool, or nil.
func newOf(lit *ast.CompositeLit) ast.Expr {
	for _, elt := range lit.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "New" {
				return kv.Value
			}
		}
	}
	return nil
}
