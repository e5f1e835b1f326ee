// Package rewrite changes a few places in the Go source of a module, found by their syntax. Between
// them, the text stays as it is.
package rewrite

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/tools/go/ast/astutil"
)

// A File is a source file to change. The first call that does not find its place sets the error that
// Save returns; the calls after it do nothing.
type File struct {
	path  string
	text  []byte
	fset  *token.FileSet
	tree  *ast.File
	edits []edit
	err   error
}

// An edit replaces the bytes from begin to end.
type edit struct {
	begin, end int
	text       string
}

// Open reads the file at path.
func Open(path string) *File {
	f := &File{path: path, fset: token.NewFileSet()}
	if f.text, f.err = os.ReadFile(path); f.err == nil {
		f.tree, f.err = parser.ParseFile(f.fset, path, f.text, parser.ParseComments)
	}
	return f
}

func (f *File) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *File) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %s", filepath.Base(f.path), fmt.Sprintf(format, args...))
	}
}

// replace notes an edit of a node, if there is one.
func (f *File) replace(n ast.Node, what, text string) {
	if n == nil {
		f.fail("there is no %s", what)
		return
	}
	f.edits = append(f.edits, edit{f.offset(n.Pos()), f.offset(n.End()), text})
}

// Value gives the package-level variable another value, and lets its type follow from that. If it is
// declared with others that have one type, value is a list of them all.
func (f *File) Value(variable, value string) {
	var found *ast.ValueSpec
	f.inspect(func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && slices.ContainsFunc(spec.Names, func(id *ast.Ident) bool { return id.Name == variable }) {
			found = spec
		}
		_, isFunc := n.(*ast.FuncDecl)
		return !isFunc
	})
	if found == nil {
		f.fail("there is no variable %s", variable)
		return
	}
	f.edits = append(f.edits, edit{f.offset(found.Names[len(found.Names)-1].End()), f.offset(found.End()), " = " + value})
}

// Field gives the field of a struct type another type.
func (f *File) Field(structType, field, newType string) {
	var found ast.Node
	f.inspect(func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != structType {
			return true
		}
		ast.Inspect(spec, func(n ast.Node) bool {
			if fl, ok := n.(*ast.Field); ok && slices.ContainsFunc(fl.Names, func(id *ast.Ident) bool { return id.Name == field }) {
				found = fl.Type
			}
			return true
		})
		return false
	})
	f.replace(found, "field "+structType+"."+field, newType)
}

// Gets removes the type assertions after all calls of pool.Get; pool is an expression such as "c.pool".
// If the code asks whether the type is right, it is.
func (f *File) Gets(pool string) {
	n := 0
	asked := make(map[ast.Expr]bool)
	f.inspect(func(node ast.Node) bool {
		switch a := node.(type) {
		case *ast.AssignStmt:
			asked[a.Rhs[0]] = len(a.Lhs) == 2 && len(a.Rhs) == 1
		case *ast.TypeAssertExpr:
			if a.Type != nil && types.ExprString(a.X) == pool+".Get()" {
				answer := ""
				if asked[a] {
					answer = ", true"
				}
				f.edits = append(f.edits, edit{f.offset(a.X.End()), f.offset(a.End()), answer})
				n++
			}
		}
		return true
	})
	if n == 0 {
		f.fail("there is no %s.Get().(T)", pool)
	}
}

// Expr replaces every expression that reads old, with spaces as gofmt has them. What an earlier call
// has replaced does not count.
func (f *File) Expr(old, expr string) {
	n := 0
	f.inspect(func(node ast.Node) bool {
		e, ok := node.(ast.Expr)
		if !ok || types.ExprString(e) != old || f.isEdited(e) {
			return true
		}
		f.replace(e, old, expr)
		n++
		return false
	})
	if n == 0 {
		f.fail("there is no expression %s", old)
	}
}

// isEdited reports whether an edit takes n away.
func (f *File) isEdited(n ast.Node) bool {
	begin, end := f.offset(n.Pos()), f.offset(n.End())
	return slices.ContainsFunc(f.edits, func(e edit) bool { return e.begin <= begin && end <= e.end })
}

// Undefer removes the statement that defers the call.
func (f *File) Undefer(call string) {
	var found ast.Node
	f.inspect(func(n ast.Node) bool {
		if d, ok := n.(*ast.DeferStmt); ok && types.ExprString(d.Call) == call {
			found = d
		}
		return true
	})
	f.replace(found, "defer "+call, "")
}

// Assign replaces the statement that assigns to the expression target, by other statements.
func (f *File) Assign(target, statements string) {
	var found ast.Node
	f.inspect(func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && types.ExprString(a.Lhs[0]) == target {
			found = a
		}
		return true
	})
	f.replace(found, "assignment to "+target, statements)
}

// Body replaces the body of a function, or of a method, as in "T.Get".
func (f *File) Body(function, body string) {
	f.replace(f.function(function), "function "+function, "{\n"+body+"\n}")
}

// Remove takes a declaration of a function out.
func (f *File) Remove(function string) {
	f.inspect(func(n ast.Node) bool {
		if d, ok := n.(*ast.FuncDecl); ok && nameOf(d) == function {
			f.replace(d, function, "")
		}
		return true
	})
}

// Append adds declarations at the end of the file.
func (f *File) Append(declarations string) {
	f.edits = append(f.edits, edit{len(f.text), len(f.text), "\n" + declarations + "\n"})
}

func (f *File) function(name string) ast.Node {
	if f.err != nil {
		return nil
	}
	for _, d := range f.tree.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && nameOf(d) == name {
			return d.Body
		}
	}
	return nil
}

// nameOf returns the name of a function, after that of its receiver's type if it has one.
func nameOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	return types.ExprString(t) + "." + d.Name.Name
}

func (f *File) inspect(visit func(ast.Node) bool) {
	if f.err == nil {
		ast.Inspect(f.tree, visit)
	}
}

// Save makes the edits, imports packages by the given names where the new text uses them, drops
// imports that nothing uses any more, and writes the file.
func (f *File) Save(imports map[string]string) error {
	if f.err != nil {
		return f.err
	}
	text, err := f.edited()
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, f.path, text, parser.ParseComments)
	if err != nil {
		return err
	}
	for name, path := range imports {
		if name == path {
			name = "" // it goes without saying
		}
		if usesName(tree, cmp.Or(name, path)) {
			astutil.AddNamedImport(fset, tree, name, path)
		}
	}
	for _, spec := range f.tree.Imports { // those of before
		path, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name == nil && astutil.UsesImport(f.tree, path) && !astutil.UsesImport(tree, path) {
			astutil.DeleteImport(fset, tree, path)
		}
	}
	var out bytes.Buffer
	if err = format.Node(&out, fset, tree); err != nil {
		return err
	}
	return os.WriteFile(f.path, out.Bytes(), 0o644)
}

func (f *File) edited() ([]byte, error) {
	slices.SortStableFunc(f.edits, func(a, b edit) int { return a.begin - b.begin })
	var out []byte
	at := 0
	for _, e := range f.edits {
		if e.begin < at {
			return nil, fmt.Errorf("%s: two edits overlap at byte %d", filepath.Base(f.path), e.begin)
		}
		out = append(append(out, f.text[at:e.begin]...), e.text...)
		at = e.end
	}
	return append(out, f.text[at:]...), nil
}

// usesName reports whether there is a selector of the package called name.
func usesName(tree *ast.File, name string) (found bool) {
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			id, ok := s.X.(*ast.Ident)
			found = found || ok && id.Name == name
		}
		return !found
	})
	return found
}
