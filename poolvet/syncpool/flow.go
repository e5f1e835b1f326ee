package syncpool

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/cfg"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// A flow is the life of one object from x := p.Get().(*T) on. All of it has to be in sight: x is a
// local variable that nothing else is assigned to, no alias of it stays, each way to the end of the
// function passes one Put of x, and nothing uses x after that. Then the Put gives back a slot of
// the pool, once, and no slot is left out.
type flow struct {
	r      *rewrite
	assert *ast.TypeAssertExpr
	define ast.Node // the statement or spec that defines x
	fn     inspector.Cursor
	x      *types.Var
	puts   []*ast.CallExpr
}

// The reasons for which a flow is not certain.
const (
	notDefined  = "the result of a Get is not asserted and kept in a local variable at once"
	otherType   = "a Get is asserted to be something else than *T"
	isCaptured  = "a closure uses what Get returned"
	isAliased   = "what Get returned is stored, returned, or otherwise kept"
	notPut      = "what Get returned is not put on some path; off the Go heap it would never come back"
	putTwice    = "what Get returned may be put twice"
	usedLater   = "what Get returned is used after Put"
	notPlainPut = "a Put is no statement of its own"
)

// newFlow returns the flow that begins at a call of Get.
func (r *rewrite) newFlow(get inspector.Cursor) (*flow, string) {
	info := r.f.g.info
	assert, ok := get.Parent().Node().(*ast.TypeAssertExpr)
	if !ok || assert.Type == nil {
		return nil, notDefined
	}
	f := &flow{r: r, assert: assert, define: get.Parent().Parent().Node()}
	var id *ast.Ident
	switch n := f.define.(type) {
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE && len(n.Lhs) == 1 && len(n.Rhs) == 1 {
			id, _ = n.Lhs[0].(*ast.Ident)
		}
	case *ast.ValueSpec:
		if len(n.Names) == 1 && len(n.Values) == 1 && n.Type == nil {
			id = n.Names[0]
		}
	}
	if id == nil {
		return nil, notDefined
	}
	f.x, _ = info.Defs[id].(*types.Var)
	if f.x == nil || f.x.Kind() != types.LocalVar {
		return nil, notDefined
	}
	if hasSelector(assert.Type) || !types.Identical(f.x.Type(), types.NewPointer(r.typ)) {
		return nil, otherType
	}
	for f.fn = range get.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		break
	}
	return f, ""
}

// check returns why the flow is not certain, or nothing.
func (f *flow) check() string {
	for _, c := range f.r.f.g.uses[f.x] {
		for fn := range c.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
			if fn != f.fn && !f.isDeferredPut(fn) {
				return isCaptured
			}
			break
		}
		if reason := f.checkUse(c); reason != "" {
			return reason
		}
	}
	return f.checkPaths()
}

// isDeferredPut reports whether fn is the function of defer func() { p.Put(x) }().
func (f *flow) isDeferredPut(fn inspector.Cursor) bool {
	d, ok := fn.Parent().Parent().Node().(*ast.DeferStmt)
	if !ok || d.Call.Fun != fn.Node() || !slices.Contains(f.puts, deferredCall(d)) {
		return false
	}
	for outer := range fn.Parent().Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		return outer == f.fn
	}
	return false
}

// deferredCall returns the call that is deferred, or the only one in the function that is.
func deferredCall(d *ast.DeferStmt) *ast.CallExpr {
	lit, ok := d.Call.Fun.(*ast.FuncLit)
	if !ok || len(lit.Body.List) != 1 {
		return d.Call
	}
	if s, ok := lit.Body.List[0].(*ast.ExprStmt); ok {
		if call, ok := s.X.(*ast.CallExpr); ok {
			return call
		}
	}
	return d.Call
}

// checkUse looks at one use of x: it must not leave an alias. It goes up from x as long as what it
// sees is x, points into it, or is a part of it.
func (f *flow) checkUse(c inspector.Cursor) string {
	isPointer := true // it is x, a slice of it, or the address of a part
	for {
		kind := c.ParentEdgeKind()
		c = c.Parent()
		switch n := c.Node().(type) {
		case *ast.ParenExpr:
		case *ast.SelectorExpr:
			if isPointer = f.r.f.g.isMethod(n); isPointer && c.ParentEdgeKind() != edge.CallExpr_Fun {
				return isAliased
			}
		case *ast.StarExpr:
			isPointer = false
		case *ast.IndexExpr:
			if kind != edge.IndexExpr_X {
				return ""
			}
			isPointer = false
		case *ast.SliceExpr:
			if kind != edge.SliceExpr_X {
				return ""
			}
			isPointer = true
		case *ast.UnaryExpr:
			isPointer = n.Op == token.AND
		case *ast.CallExpr:
			if !isPointer {
				return ""
			}
			var reason string
			if reason, isPointer = f.checkCall(c); reason != "" || !isPointer {
				return reason
			}
		case *ast.BinaryExpr, *ast.ExprStmt:
			return ""
		case *ast.RangeStmt:
			if kind == edge.RangeStmt_X {
				return "" // elements have no pointers
			}
			return isAliased
		default:
			if isPointer {
				return isAliased
			}
			return ""
		}
	}
}

// isMethod reports whether sel is a method.
func (g *graph) isMethod(sel *ast.SelectorExpr) bool {
	s := g.info.Selections[sel]
	return s != nil && s.Kind() != types.FieldVal
}

// checkCall looks at a call that is given x or a pointer into it, and tells whether its result may
// be one. What the function that is called keeps would be a mistake with sync.Pool as well, because
// others get the object.
func (f *flow) checkCall(c inspector.Cursor) (reason string, isPointer bool) {
	n := c.Node().(*ast.CallExpr)
	if slices.Contains(f.puts, n) {
		return "", false
	}
	switch c.Parent().Node().(type) {
	case *ast.GoStmt, *ast.DeferStmt:
		return usedLater, false
	}
	info := f.r.f.g.info
	if info.Types[n.Fun].IsType() {
		if b, ok := info.TypeOf(n).Underlying().(*types.Basic); ok && b.Info()&types.IsString != 0 {
			return "", false // a copy
		}
		return isAliased, false
	}
	switch callee := typeutil.Callee(info, n).(type) {
	case *types.Builtin:
		if callee.Name() == "append" && !n.Ellipsis.IsValid() {
			return isAliased, false
		}
	case *types.Func:
		if p := callee.Pkg(); p != nil && slices.Contains([]string{"runtime", "weak", "unique"}, p.Path()) {
			return "package " + p.Path() + " is given what Get returned", false
		}
	}
	return "", mayPoint(info.TypeOf(n))
}

// mayPoint reports whether a result of type t may be a pointer into what a function was given.
func mayPoint(t types.Type) bool {
	if results, ok := t.(*types.Tuple); ok {
		for v := range results.Variables() {
			if mayPoint(v.Type()) {
				return true
			}
		}
		return false
	}
	if types.Identical(t, types.Universe.Lookup("error").Type()) {
		return false
	}
	if gotype.HasTypeParam(t) {
		return true
	}
	_, culprit := gotype.FindPointer(t, "")
	return culprit != nil && !types.Identical(t, types.Typ[types.String])
}

// A state is what has happened to x on a path.
type state int

const (
	held     state = iota
	deferred       // defer p.Put(x)
	put
)

// A point is a place in the graph of the function, and what has happened before.
type point struct {
	b *cfg.Block
	s state
}

// checkPaths follows all paths from the Get to the end of the function.
func (f *flow) checkPaths() string {
	var body *ast.BlockStmt
	switch fn := f.fn.Node().(type) {
	case *ast.FuncDecl:
		body = fn.Body
	case *ast.FuncLit:
		body = fn.Body
	}
	graph := cfg.New(body, func(call *ast.CallExpr) bool { return !isPanic(f.r.f.g.info, call) })
	for _, b := range graph.Blocks {
		for i, n := range b.Nodes {
			if n == f.define {
				return f.follow(b, i+1)
			}
		}
	}
	return notDefined
}

func isPanic(info *types.Info, call *ast.CallExpr) bool {
	b, ok := typeutil.Callee(info, call).(*types.Builtin)
	return ok && b.Name() == "panic"
}

// follow follows all paths from node i of block b.
func (f *flow) follow(b *cfg.Block, i int) string {
	seen := make(map[point]bool)
	var visit func(b *cfg.Block, i int, s state) string
	visit = func(b *cfg.Block, i int, s state) string {
		for _, n := range b.Nodes[i:] {
			if n == f.define { // the next round of a loop, with another x
				return atEnd(s)
			}
			var reason string
			if s, reason = f.step(n, s); reason != "" {
				return reason
			}
		}
		if len(b.Succs) == 0 {
			return atEnd(s)
		}
		for _, next := range b.Succs {
			if p := (point{next, s}); !seen[p] {
				seen[p] = true
				if reason := visit(next, 0, s); reason != "" {
					return reason
				}
			}
		}
		return ""
	}
	return visit(b, i, held)
}

func atEnd(s state) string {
	if s == held {
		return notPut
	}
	return ""
}

// step returns the state after n.
func (f *flow) step(n ast.Node, s state) (state, string) {
	call, next := (*ast.CallExpr)(nil), put
	switch n := n.(type) {
	case *ast.ExprStmt:
		call, _ = n.X.(*ast.CallExpr)
	case *ast.DeferStmt:
		call, next = deferredCall(n), deferred
	}
	for _, p := range f.puts {
		switch {
		case p == call && s == held:
			return next, ""
		case p == call:
			return s, putTwice
		case n.Pos() <= p.Pos() && p.Pos() < n.End():
			return s, notPlainPut
		}
	}
	if s == put && f.uses(n) {
		return s, usedLater
	}
	return s, ""
}

// uses reports whether n uses x.
func (f *flow) uses(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && f.r.f.g.info.Uses[id] == f.x
		return !found
	})
	return found
}
