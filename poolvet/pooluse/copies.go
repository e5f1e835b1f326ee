package pooluse

import (
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// Pools must not be copied: Put on a copy does not know the slots. And a Pool or Bytes that is
// declared as a value is not usable at all, because New returns pointers.

// copies looks for copies in one package.
type copies struct {
	pass *analysis.Pass
	info *types.Info
}

func checkCopies(pass *analysis.Pass, root inspector.Cursor) {
	c := &copies{pass, pass.TypesInfo}
	for cur := range root.Preorder((*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil), (*ast.CompositeLit)(nil), (*ast.ReturnStmt)(nil),
		(*ast.CallExpr)(nil), (*ast.RangeStmt)(nil), (*ast.FuncType)(nil), (*ast.FuncDecl)(nil), (*ast.StructType)(nil)) {
		c.check(cur.Node())
	}
}

func (c *copies) check(n ast.Node) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		c.assignment(n)
	case *ast.ValueSpec:
		c.declaration(n)
	case *ast.CompositeLit:
		c.elements(n)
	case *ast.ReturnStmt:
		c.values("return copies", n.Results)
	case *ast.CallExpr:
		c.call(n)
	case *ast.RangeStmt:
		if n.Value != nil && !isBlank(n.Value) {
			c.report("range copies", n.Value.Pos(), c.info.TypeOf(n.Value))
		}
	case *ast.FuncType:
		c.fieldList("an argument copies", n.Params)
	case *ast.FuncDecl:
		c.fieldList("the receiver copies", n.Recv)
	case *ast.StructType:
		c.fields(n)
	}
}

func (c *copies) assignment(n *ast.AssignStmt) {
	for i, value := range n.Rhs {
		if len(n.Lhs) != len(n.Rhs) || !isBlank(n.Lhs[i]) {
			c.value("assignment copies", value)
		}
	}
}

// declaration reports what is copied into variables, and variables that are pools without a value.
func (c *copies) declaration(n *ast.ValueSpec) {
	c.values("assignment copies", n.Values)
	if n.Type == nil || len(n.Values) != 0 {
		return
	}
	for _, id := range n.Names {
		if obj := c.info.Defs[id]; obj != nil && id.Name != "_" {
			c.unusable(id.Pos(), obj.Type(), "variable "+id.Name)
		}
	}
}

// fields reports fields that are pools and not pointers to one.
func (c *copies) fields(n *ast.StructType) {
	for _, f := range n.Fields.List {
		what := "the embedded field"
		if len(f.Names) != 0 {
			what = "field " + f.Names[0].Name
		}
		c.unusable(f.Pos(), c.info.TypeOf(f.Type), what)
	}
}

// makers are the functions that make what is not usable as a value. The zero Buffer is ready to
// use.
var makers = map[string]string{"Pool": "New", "Bytes": "NewBytes"}

// unusable reports a Pool or a Bytes that nothing can make usable.
func (c *copies) unusable(pos token.Pos, t types.Type, what string) {
	for name, maker := range makers {
		if gotype.IsNamed(t, gotype.PoolPath, name) {
			own := gotype.Name(t, c.pass.Pkg)
			c.pass.Reportf(pos, "%s is a zero %s, which is not usable: keep the *%s that pool.%s returns", what, own, own, maker)
		}
	}
}

func (c *copies) elements(n *ast.CompositeLit) {
	for _, elt := range n.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			elt = kv.Value
		}
		c.value("a literal copies", elt)
	}
}

func (c *copies) call(n *ast.CallExpr) {
	if c.info.Types[n.Fun].IsType() {
		return // a conversion; what it is assigned to counts
	}
	if b, ok := typeutil.Callee(c.info, n).(*types.Builtin); ok && b.Name() != "append" {
		return // len, unsafe.Sizeof, and such
	}
	c.values("a call copies", n.Args)
}

func (c *copies) values(what string, es []ast.Expr) {
	for _, e := range es {
		c.value(what, e)
	}
}

// value reports e if it is a pool that exists already. A literal is new, and so is what a function
// returns: its return statement copies.
func (c *copies) value(what string, e ast.Expr) {
	switch x := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		return
	case *ast.CallExpr:
		if !c.info.Types[x.Fun].IsType() {
			return
		}
	}
	if tv := c.info.Types[e]; tv.IsValue() {
		c.report(what, e.Pos(), tv.Type)
	}
}

func (c *copies) fieldList(what string, l *ast.FieldList) {
	if l == nil {
		return
	}
	for _, f := range l.List {
		c.report(what, f.Type.Pos(), c.info.TypeOf(f.Type))
	}
}

func (c *copies) report(what string, pos token.Pos, t types.Type) {
	if name := c.poolIn(t); name != "" {
		c.pass.Reportf(pos, "%s a %s, which must not be copied: use a pointer", what, name)
	}
}

// poolIn returns the name of the pool that t is or has as a part, without pointers.
func (c *copies) poolIn(t types.Type) string {
	if t == nil {
		return ""
	}
	for _, name := range []string{"Pool", "Bytes", "Buffer"} {
		if gotype.IsNamed(t, gotype.PoolPath, name) {
			return gotype.Name(t, c.pass.Pkg)
		}
	}
	if _, ok := types.Unalias(t).(*types.TypeParam); ok {
		return ""
	}
	switch u := t.Underlying().(type) {
	case *types.Array:
		return c.poolIn(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if name := c.poolIn(f.Type()); name != "" {
				return name
			}
		}
	}
	return ""
}

func isBlank(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "_"
}
