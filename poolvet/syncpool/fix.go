package syncpool

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
)

// The fix is for one idiom: an unexported package variable whose New only allocates a T without
// pointers, and whose uses are x := p.Get().(*T) and p.Put(x). It makes the package compile and do
// what it did before. So it is refused wherever that is not certain:
//
//   - A slot off the Go heap that is not Put is never reclaimed, a second Put panics, and so does one
//     of another pointer. flow.go sees to that.
//   - Files that this build leaves out may use the variable. unseen.go sees to that.
//   - Names of imports may be taken. imports.go sees to that.

// A rewrite is what the fix does about one pool.
type rewrite struct {
	f      *found
	v      *types.Var
	value  ast.Expr // sync.Pool{...} or &sync.Pool{...}
	elem   ast.Expr // T
	typ    types.Type
	gets   []*ast.TypeAssertExpr
	reason string // why not; empty if it can be done
}

// fix returns the one fix of the package, and says in each pool whether it is in it.
func fix(pass *analysis.Pass, all []*found, pools []*Pool) []analysis.SuggestedFix {
	var (
		done []*rewrite
		to   []*Pool
	)
	for i, f := range all {
		if pools[i].Verdict != OffHeap {
			continue
		}
		r := &rewrite{f: f}
		if r.check(); r.reason != "" {
			pools[i].NoFix = r.reason
			continue
		}
		done, to = append(done, r), append(to, pools[i])
	}
	if len(done) == 0 {
		return nil
	}
	edits, reason := editsOf(pass, done)
	if slices.ContainsFunc(pools, func(p *Pool) bool { return strings.Contains(p.NoFix, "_test.go") }) {
		// The fix of the package with its tests has more pools. Edits of two fixes to one import do
		// not go together.
		reason = "the tests of the package, which are not part of this build, use another of its pools"
	}
	for _, p := range to {
		p.Fix, p.NoFix = reason == "", reason
	}
	if reason != "" {
		return nil
	}
	message := "replace sync.Pool by pool.New"
	if len(done) > 1 {
		message = fmt.Sprintf("replace %d sync.Pools of this package by pool.New", len(done))
	}
	return []analysis.SuggestedFix{{Message: message, TextEdits: edits}}
}

// check says in reason what is in the way.
func (r *rewrite) check() {
	for _, step := range []func() string{r.checkVariable, r.checkNew, r.checkUses, r.checkUnseen, r.checkFiles} {
		if r.reason = step(); r.reason != "" {
			return
		}
	}
}

// checkVariable finds the variable and its value.
func (r *rewrite) checkVariable() string {
	g := r.f.g
	if r.v, _ = r.f.at.(*types.Var); r.v == nil {
		for _, to := range g.to[r.f.at] {
			r.v, _ = to.(*types.Var)
		}
	}
	if r.v == nil || r.v.Kind() != types.PackageVar || !isPool(deref(r.v.Type())) {
		return "it is not a package variable, or not one pool"
	}
	if r.v.Exported() {
		return "other packages may use it"
	}
	if strings.HasSuffix(r.f.g.pass.Fset.File(r.v.Pos()).Name(), "_test.go") {
		return "it is in a test file"
	}
	spec := g.specOf(r.v)
	if spec == nil || len(spec.Names) != 1 || len(spec.Values) != 1 || spec.Type != nil {
		return "it is not declared as var " + r.v.Name() + " = sync.Pool{...}"
	}
	r.value = spec.Values[0]
	return ""
}

// specOf returns the declaration of a package variable.
func (g *graph) specOf(v *types.Var) *ast.ValueSpec {
	if def, ok := g.defs[v]; ok {
		spec, _ := def.Parent().Node().(*ast.ValueSpec)
		return spec
	}
	return nil
}

// checkNew finds T, in New: func() any { return new(T) }, or &T{}.
func (r *rewrite) checkNew() string {
	value := ast.Unparen(r.value)
	if u, ok := value.(*ast.UnaryExpr); ok && u.Op == token.AND {
		value = u.X
	}
	lit, ok := value.(*ast.CompositeLit)
	if !ok || len(lit.Elts) != 1 || newOf(lit) == nil {
		return "it is not declared with a New, and nothing else"
	}
	if r.elem = allocated(newOf(lit)); r.elem == nil {
		return "New is not func() any { return new(T) }"
	}
	if r.typ = r.f.g.info.TypeOf(r.elem); !r.f.g.info.Types[r.elem].IsType() {
		return "new is not that of Go"
	}
	switch t := types.Unalias(r.typ).(type) {
	case *types.Named:
		if t.TypeArgs() != nil || t.Obj().Pkg() != r.f.g.pass.Pkg {
			return "T is generic, or belongs to another package"
		}
	case *types.Array:
	default:
		return "T is neither a named type nor an array"
	}
	if hasSelector(r.elem) {
		return "T names another package, whose import may become unused"
	}
	return ""
}

// allocated returns T if e is func() any { return new(T) }, or the same with &T{}.
func allocated(e ast.Expr) ast.Expr {
	lit, ok := e.(*ast.FuncLit)
	if !ok || len(lit.Body.List) != 1 {
		return nil
	}
	ret, ok := lit.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return nil
	}
	switch e := ret.Results[0].(type) {
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name == "new" && len(e.Args) == 1 {
			return e.Args[0]
		}
	case *ast.UnaryExpr:
		if c, ok := e.X.(*ast.CompositeLit); ok && len(c.Elts) == 0 {
			return c.Type
		}
	}
	return nil
}

func hasSelector(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		_, ok := n.(*ast.SelectorExpr)
		found = found || ok
		return !found
	})
	return found
}

// checkUses finds the Gets. Each use of the variable is one, or a Put of what one has returned.
func (r *rewrite) checkUses() string {
	g := r.f.g
	flows := make(map[*types.Var]*flow)
	var puts []inspector.Cursor
	for _, c := range g.uses[r.v] {
		switch name, call := methodCall(c); name {
		case "Get":
			f, reason := r.newFlow(call)
			if reason != "" {
				return reason
			}
			flows[f.x] = f
			r.gets = append(r.gets, f.assert)
		case "Put":
			puts = append(puts, call)
		default:
			return "it is used for more than Get and Put"
		}
	}
	for _, c := range puts {
		id, ok := c.Node().(*ast.CallExpr).Args[0].(*ast.Ident)
		if !ok {
			return "Put is given an expression"
		}
		v, _ := g.info.Uses[id].(*types.Var)
		f := flows[v]
		if f == nil {
			return "Put is given what is not a Get of the same function: it may not be a slot of the pool"
		}
		f.puts = append(f.puts, c.Node().(*ast.CallExpr))
	}
	for _, f := range flows {
		if reason := f.check(); reason != "" {
			return reason
		}
	}
	return ""
}

// methodCall returns the call of a method of the variable that c is, and the method's name.
func methodCall(c inspector.Cursor) (string, inspector.Cursor) {
	sel, ok := c.Parent().Node().(*ast.SelectorExpr)
	if !ok || sel.X != c.Node() {
		return "", c
	}
	call, ok := c.Parent().Parent().Node().(*ast.CallExpr)
	if !ok || call.Fun != sel {
		return "", c
	}
	return sel.Sel.Name, c.Parent().Parent()
}

// editsOf returns the edits for all rewrites of the package, or why there are none.
func editsOf(pass *analysis.Pass, all []*rewrite) (edits []analysis.TextEdit, reason string) {
	declared := make(map[*ast.File][]*rewrite)
	var files []*ast.File
	for _, r := range all {
		file := fileOf(pass, r.value.Pos())
		if declared[file] == nil {
			files = append(files, file)
		}
		declared[file] = append(declared[file], r)
		for _, get := range r.gets {
			edits = append(edits, analysis.TextEdit{Pos: get.X.End(), End: get.End()})
		}
	}
	for _, file := range files {
		im := newImports(pass, file)
		name, reason := im.poolName()
		if reason != "" {
			return nil, reason
		}
		for _, r := range declared[file] {
			im.removed = append(im.removed, r.value)
			text := fmt.Sprintf("%s.New[%s]()", name, types.ExprString(r.elem))
			edits = append(edits, analysis.TextEdit{Pos: r.value.Pos(), End: r.value.End(), NewText: []byte(text)})
		}
		more, reason := im.edits(name)
		if reason != "" {
			return nil, reason
		}
		edits = append(edits, more...)
	}
	return edits, ""
}

// fileOf returns the file of a position.
func fileOf(pass *analysis.Pass, pos token.Pos) *ast.File {
	for _, f := range pass.Files {
		if f.FileStart <= pos && pos < f.FileEnd {
			return f
		}
	}
	return nil
}
