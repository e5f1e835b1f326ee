package syncpool

import (
	"go/ast"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// imports is what the fix does about the imports of one file: it adds that of the pool package, and
// drops sync if what is removed were its last uses.
type imports struct {
	pass    *analysis.Pass
	file    *ast.File
	removed []ast.Expr
}

func newImports(pass *analysis.Pass, file *ast.File) *imports {
	return &imports{pass: pass, file: file}
}

// find returns the import of a package, or nil.
func (im *imports) find(path string) *ast.ImportSpec {
	for _, spec := range im.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && p == path {
			return spec
		}
	}
	return nil
}

// poolName returns the name under which the file imports the pool package, or will do.
func (im *imports) poolName() (name, reason string) {
	if spec := im.find(gotype.PoolPath); spec != nil {
		if spec.Name == nil {
			return "pool", ""
		}
		if spec.Name.Name != "." && spec.Name.Name != "_" {
			return spec.Name.Name, ""
		}
		return "", "the file imports the pool package under the name " + spec.Name.Name
	}
	for _, name := range []string{"pool", "warmpool"} {
		if !im.isTaken(name) {
			return name, ""
		}
	}
	return "", "the names pool and warmpool are taken"
}

// isTaken reports whether anything in the file, or in the package, in any build, may have the name.
func (im *imports) isTaken(name string) (taken bool) {
	if im.pass.Pkg.Scope().Lookup(name) != nil {
		return true
	}
	for _, spec := range im.file.Imports { // whose names need not be written
		if obj := im.pass.TypesInfo.PkgNameOf(spec); obj != nil && obj.Name() == name {
			return true
		}
	}
	ast.Inspect(im.file, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		taken = taken || ok && id.Name == name && id != im.file.Name
		return !taken
	})
	return taken || unseenWith(im.pass, name) != ""
}

// dropsSync reports whether all uses of the import of sync are in what is removed.
func (im *imports) dropsSync(spec *ast.ImportSpec) bool {
	obj := im.pass.TypesInfo.PkgNameOf(spec)
	for id, used := range im.pass.TypesInfo.Uses {
		if used != types.Object(obj) {
			continue
		}
		if !slices.ContainsFunc(im.removed, func(e ast.Expr) bool { return e.Pos() <= id.Pos() && id.Pos() < e.End() }) {
			return false
		}
	}
	return true
}

// edits returns the edits of the imports. The pool package gets the name.
func (im *imports) edits(name string) (edits []analysis.TextEdit, reason string) {
	sync := im.find("sync")
	if sync == nil || sync.Doc != nil || sync.Comment != nil {
		return nil, "the import of sync has a comment"
	}
	line := strconv.Quote(gotype.PoolPath)
	if name != "pool" {
		line = name + " " + line
	}
	if im.find(gotype.PoolPath) != nil {
		line = ""
	}
	drops := im.dropsSync(sync)
	decl := im.declOf(sync)
	switch {
	case !decl.Lparen.IsValid():
		return im.editSingle(decl, sync, line, drops)
	case drops && len(decl.Specs) == 1 && line != "":
		return []analysis.TextEdit{replace(sync, line)}, ""
	}
	if drops {
		edits = append(edits, im.deleteLine(sync))
	}
	if line != "" {
		edits = append(edits, im.insert(decl, line))
	}
	return edits, ""
}

// editSingle is edits for import "sync" without parentheses.
func (im *imports) editSingle(decl *ast.GenDecl, sync *ast.ImportSpec, line string, drops bool) ([]analysis.TextEdit, string) {
	switch {
	case drops && line != "":
		return []analysis.TextEdit{replace(sync, line)}, ""
	case drops:
		return []analysis.TextEdit{im.deleteLine(decl)}, ""
	case line != "":
		return []analysis.TextEdit{{Pos: decl.End(), End: decl.End(), NewText: []byte("\nimport " + line)}}, ""
	}
	return nil, ""
}

func replace(n ast.Node, text string) analysis.TextEdit {
	return analysis.TextEdit{Pos: n.Pos(), End: n.End(), NewText: []byte(text)}
}

// declOf returns the declaration that has an import.
func (im *imports) declOf(spec *ast.ImportSpec) *ast.GenDecl {
	for _, d := range im.file.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Pos() <= spec.Pos() && spec.End() <= d.End() {
			return d
		}
	}
	return nil
}

// deleteLine deletes the line of n, and the empty one after it if the line is alone.
func (im *imports) deleteLine(n ast.Node) analysis.TextEdit {
	file := im.pass.Fset.File(n.Pos())
	from := file.Line(n.Pos())
	to := file.Line(n.End()) + 1
	if im.isEmpty(from-1) && im.isEmpty(to) {
		to++
	}
	return analysis.TextEdit{Pos: file.LineStart(from), End: file.LineStart(to)}
}

// isEmpty reports whether a line has no import, nor the end of a declaration.
func (im *imports) isEmpty(line int) bool {
	file := im.pass.Fset.File(im.file.FileStart)
	text, err := im.pass.ReadFile(file.Name())
	if err != nil || line >= file.LineCount() {
		return false
	}
	begin, end := file.Offset(file.LineStart(line)), file.Offset(file.LineStart(line+1))
	got := strings.TrimSpace(string(text[begin:end]))
	return got == "" || strings.HasSuffix(got, "(")
}

// insert adds a line: in order after the first import of another module, or in a group of its own
// at the end.
func (im *imports) insert(decl *ast.GenDecl, line string) analysis.TextEdit {
	file := im.pass.Fset.File(decl.Pos())
	var before, after *ast.ImportSpec // after: the last one of the group of other modules
	for _, s := range decl.Specs {
		spec := s.(*ast.ImportSpec)
		path, _ := strconv.Unquote(spec.Path.Value)
		first, _, _ := strings.Cut(path, "/")
		isNear := after == nil || file.Line(spec.Pos()) == file.Line(after.End())+1
		if !strings.Contains(first, ".") || !isNear {
			continue
		}
		if after = spec; path > gotype.PoolPath {
			before = spec
			break
		}
	}
	text := "\t" + line + "\n"
	at := file.Line(decl.Rparen)
	switch {
	case before != nil:
		at = file.Line(before.Pos())
	case after != nil:
		at = file.Line(after.End()) + 1
	default:
		text = "\n" + text
	}
	pos := file.LineStart(at)
	return analysis.TextEdit{Pos: pos, End: pos, NewText: []byte(text)}
}
