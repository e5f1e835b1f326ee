// Package pooluse has an analyzer for programs that use github.com/warmpage/pool. It finds calls of
// New and NewBytes that panic whenever they run (types.go, options.go), and pools that are copied
// or that New has not made (copies.go). It reports only what is certain.
package pooluse

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// Analyzer reports mistakes in the use of pools that always show at run time.
var Analyzer = &analysis.Analyzer{
	Name:     "pooluse",
	Doc:      "report pools of github.com/warmpage/pool that New refuses, and copies of pools",
	URL:      "https://github.com/warmpage/pool/tree/main/poolvet",
	Requires: []*analysis.Analyzer{inspect.Analyzer},
	Run:      run,
}

func run(pass *analysis.Pass) (any, error) {
	if !usesPool(pass.Pkg) {
		return nil, nil
	}
	root := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root()
	for c := range root.Preorder((*ast.CallExpr)(nil)) {
		n := c.Node().(*ast.CallExpr)
		f := poolFunc(pass.TypesInfo, n)
		if f == "New" || f == "NewBytes" {
			m := &maker{pass: pass, n: n, name: f}
			if !expectsPanic(pass.TypesInfo, c) {
				m.check()
			}
		}
	}
	checkCopies(pass, root)
	return nil, nil
}

// usesPool reports whether a package imports the pool package. That package itself does not count.
func usesPool(p *types.Package) bool {
	if p.Path() == gotype.PoolPath {
		return false
	}
	for _, imported := range p.Imports() {
		if imported.Path() == gotype.PoolPath {
			return true
		}
	}
	return false
}

// poolFunc returns the name of the function of the pool package that n calls, or nothing.
func poolFunc(info *types.Info, n *ast.CallExpr) string {
	f, ok := typeutil.Callee(info, n).(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg().Path() != gotype.PoolPath || f.Signature().Recv() != nil {
		return ""
	}
	return f.Name()
}

// expectsPanic reports whether c is in a test of a panic: in what is given to a function such as
// assert.Panics, or in one that recovers.
func expectsPanic(info *types.Info, c inspector.Cursor) bool {
	for up := range c.Enclosing((*ast.CallExpr)(nil), (*ast.FuncLit)(nil), (*ast.FuncDecl)(nil)) {
		call, ok := up.Node().(*ast.CallExpr)
		if !ok {
			if recovers(info, up) {
				return true
			}
			continue
		}
		if obj := typeutil.Callee(info, call); obj != nil && strings.Contains(strings.ToLower(obj.Name()), "panic") {
			return true
		}
	}
	return false
}

// recovers reports whether recover is called in a function.
func recovers(info *types.Info, fn inspector.Cursor) bool {
	for c := range fn.Preorder((*ast.CallExpr)(nil)) {
		if b, ok := typeutil.Callee(info, c.Node().(*ast.CallExpr)).(*types.Builtin); ok && b.Name() == "recover" {
			return true
		}
	}
	return false
}
