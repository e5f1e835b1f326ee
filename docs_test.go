package pool_test

import (
	"cmp"
	"errors"
	"go/ast"
	"go/build"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docImports is what the code in documents may use without importing it.
var docImports = []string{
	"bytes", "compress/gzip", "context", "crypto/sha256", "errors", "fmt", "hash", "io", "log", "math/rand/v2", "net/netip", "runtime/debug",
	"sync", "sync/atomic", "testing", "time", "github.com/warmpage/pool", "github.com/warmpage/pool/pooltest",
}

// docContext has the declarations that a piece of code needs, by how the code begins.
var docContext = map[string]string{
	"type Node struct":       "var (\n\tnodes = pool.New[Node]()\n\tn *Node\n)\n",
	"func TestFill":          "type Order struct{}\n\nfunc fill(*pool.Pool[Order], int) {}\n",
	"// A server does tasks": "type task struct{ n int }\n\nfunc send(context.Context, *pool.Pool[task], chan<- *task, int) error { return nil }\n",
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// sourceOf makes a file of a piece of code: a file itself, or declarations, statements, or
// statements after declarations, with blank lines between the two.
func sourceOf(code string) string {
	if strings.HasPrefix(code, "package ") {
		return code
	}
	head := "package doc\nimport (\n\"" + strings.Join(docImports, "\"\n\"") + "\"\n)\n"
	for start, context := range docContext {
		if strings.HasPrefix(code, start) {
			head += context
		}
	}
	paragraphs := strings.SplitAfter(code, "\n\n")
	for n := len(paragraphs); ; n-- {
		declarations := head + strings.Join(paragraphs[:n], "")
		if _, err := parser.ParseFile(token.NewFileSet(), "", declarations, 0); err == nil || n == 0 {
			return declarations + "func _() {\n" + strings.Join(paragraphs[n:], "") + "}\n"
		}
	}
}

// exportData returns the files from which the compiler imports the packages that documents may use.
func exportData(t *testing.T) map[string]string {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command: ", err)
	}
	list := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, docImports...)...)
	out, err := list.Output()
	require.NoError(t, err)
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return files
}

// The Go code in the README and docs/ compiles. It may leave variables and imports unused.
func TestDocumentsCompile(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	if documents == nil {
		t.Skip("the documents are not here")
	}
	exports := exportData(t)
	blocks := 0
	for _, name := range append(documents, "README.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, at := range goBlock.FindAllSubmatchIndex(text, -1) {
			code := string(text[at[2]:at[3]])
			line := strings.Count(string(text[:at[2]]), "\n") + 1
			blocks++
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "code", sourceOf(code), 0)
			if !assert.NoError(t, err, "%s:%d", name, line) {
				continue
			}
			check := types.Config{
				Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
				Error: func(err error) {
					var e types.Error
					if errors.As(err, &e) && !e.Soft { // soft: unused variables and imports
						t.Errorf("%s: code at line %d: %s", name, line, e.Msg)
					}
				},
			}
			_, _ = check.Check("doc", fset, []*ast.File{f}, nil) // check.Error gets all errors
		}
	}
	assert.NotZero(t, blocks)
}

// noExample says why an exported name has no Example.
var noExample = map[string]string{
	"Buffer.Cap":         "ExampleBuffer_Truncate and ExampleBuffer_Free have it",
	"Buffer.Grow":        "ExampleBuffer_Free has it",
	"Buffer.Len":         "ExampleBuffer_Truncate has it",
	"Buffer.Reset":       "ExampleBuffer_Truncate has it",
	"Buffer.String":      "most examples of Buffer have it",
	"Buffer.WriteByte":   "ExampleBuffer_Write has it",
	"Buffer.WriteString": "ExampleBuffer_Write has it",
	"BytesClassStats":    "ExampleBytes_Stats has them",
	"BytesStats":         "ExampleBytes_Stats has them",
	"ErrCorrupt":         "only -tags pooldebug finds it; docs/debugging.md shows it",
	"Leak":               "ExampleLeaks has them",
	"Leak.Stack":         "ExampleLeaks has it",
	"Leak.String":        "ExampleLeaks prints them, with stacks that differ; docs/debugging.md shows one",
	"Memory":             "ExampleReadMemory has one",
	"Ref.MarshalJSON":    "it returns an error",
	"Ref.UnmarshalJSON":  "it returns an error",
	"TypeError.Error":    "ExampleTypeError prints it",
}

// parsePackage parses the package as pkg.go.dev does, including the test files whose examples it
// shows.
func parsePackage(t *testing.T) *doc.Package {
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Skip("the source is not here: ", cmp.Or(err, os.ErrNotExist))
	}
	shown := build.Default
	shown.GOOS, shown.GOARCH, shown.BuildTags = "linux", "amd64", nil
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if ok, err := shown.MatchFile(".", name); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/warmpage/pool")
	require.NoError(t, err)
	return pkg
}

// exported is a name that users see.
type exported struct {
	name     string
	doc      string
	examples []*doc.Example // nil if go/doc attaches none to a name of this kind
	isValue  bool           // a constant or an error: go/doc attaches no examples to those
}

// exportedNames returns what pkg exports, methods as in Pool.Get.
func exportedNames(pkg *doc.Package) (all []exported) {
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			for _, spec := range v.Decl.Specs {
				s := spec.(*ast.ValueSpec)
				text := s.Doc.Text()
				if !v.Decl.Lparen.IsValid() {
					text = v.Doc
				}
				for _, name := range s.Names {
					all = append(all, exported{name.Name, text, nil, true})
				}
			}
		}
	}
	funcs := func(fs []*doc.Func, prefix string) {
		for _, f := range fs {
			all = append(all, exported{prefix + f.Name, f.Doc, f.Examples, false})
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	funcs(pkg.Funcs, "")
	for _, typ := range pkg.Types {
		all = append(all, exported{typ.Name, typ.Doc, typ.Examples, false})
		values(typ.Consts)
		values(typ.Vars)
		funcs(typ.Funcs, "")
		funcs(typ.Methods, typ.Name+".")
	}
	return all
}

func TestEveryNameHasADocComment(t *testing.T) {
	pkg := parsePackage(t)
	for _, e := range exportedNames(pkg) {
		assert.NotEmpty(t, e.doc, e.name)
	}
	for _, typ := range pkg.Types {
		s, ok := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				assert.NotEmpty(t, f.Doc.Text()+f.Comment.Text(), "%s.%s", typ.Name, name)
			}
		}
	}
}

// For a constant or an error, the example of another name that uses it will do.
func TestEveryNameHasAnExample(t *testing.T) {
	pkg := parsePackage(t)
	names := exportedNames(pkg)
	attached := slices.Clone(pkg.Examples)
	for _, e := range names {
		attached = append(attached, e.examples...)
	}
	used := make(map[string]bool)
	for _, example := range attached {
		assert.True(t, example.Output != "" || example.EmptyOutput, "Example %s has no output, so it does not run", example.Name)
		ast.Inspect(example.Code, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "pool" {
					used[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	reasons := maps.Clone(noExample)
	for _, e := range names {
		has := len(e.examples) > 0 || e.isValue && used[e.name]
		reason := reasons[e.name]
		delete(reasons, e.name)
		assert.False(t, !has && reason == "", "%s has no Example; write one, or say in noExample why not", e.name)
		assert.False(t, has && reason != "", "%s has an Example by now; take it out of noExample", e.name)
	}
	assert.Empty(t, reasons, "in noExample, but not exported")
}
