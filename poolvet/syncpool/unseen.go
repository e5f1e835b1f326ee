package syncpool

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Files that the fix does not see: those of other platforms and, where the package is loaded
// without them, its tests. They have no types, so names must do.

// checkUnseen looks for files that this build leaves out and that use the variable.
func (r *rewrite) checkUnseen() string {
	pass := r.f.g.pass
	if name := unseenWith(pass, r.v.Name()); name != "" {
		return name + ", which is not part of this build, uses the name"
	}
	return ""
}

// unseenWith returns a file of the package that this build leaves out and that has an identifier.
// It may be one that cannot be read.
func unseenWith(pass *analysis.Pass, name string) string {
	dir := ""
	seen := make(map[string]bool)
	for _, f := range pass.Files {
		file := pass.Fset.File(f.FileStart).Name()
		if dir != "" && dir != filepath.Dir(file) {
			return "a file of cgo"
		}
		dir = filepath.Dir(file)
		seen[filepath.Base(file)] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "the directory"
	}
	for _, e := range entries {
		file := e.Name()
		if e.IsDir() || seen[file] || !strings.HasSuffix(file, ".go") {
			continue
		}
		if mentions(filepath.Join(dir, file), pass.Pkg.Name(), name) {
			return file
		}
	}
	return ""
}

// mentions reports whether a file of the named package has an identifier, or cannot be read.
func mentions(file, pkg, name string) (found bool) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return true
	}
	if f.Name.Name != pkg {
		return false
	}
	ast.Inspect(f, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}

// checkFiles looks for files that must not be changed, and comments that a fix would delete.
func (r *rewrite) checkFiles() string {
	pass := r.f.g.pass
	ranges := []ast.Node{r.value}
	for _, get := range r.gets {
		ranges = append(ranges, get)
	}
	for _, n := range ranges {
		file := fileOf(pass, n.Pos())
		if file == nil || ast.IsGenerated(file) || usesCgo(file) {
			return "a file is generated, or uses cgo"
		}
		for _, group := range file.Comments {
			if n.Pos() <= group.Pos() && group.Pos() < n.End() {
				return "a comment would be lost"
			}
		}
	}
	return ""
}

func usesCgo(file *ast.File) bool {
	for _, spec := range file.Imports {
		if spec.Path.Value == `"C"` {
			return true
		}
	}
	return false
}
