package pool_test

import (
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docImports is what the code in documents may use without importing it.
var docImports = []string{"fmt", "io", "log", "net/netip", "runtime/debug", "sync", "time", "github.com/warmpage/pool"}

// docContext is what comes before a piece of code, by its beginning.
var docContext = map[string]string{
	"type Node struct": "var (\n\tnodes = pool.New[Node]()\n\tn *Node\n)\n",
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

// exportData returns the files with which the compiler imports the packages that docs may use.
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

// The Go code in the README and docs/ compiles, but for variables that it does not use.
func TestDocumentsCompile(t *testing.T) {
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
			_, _ = check.Check("doc", fset, []*ast.File{f}, nil) // Error has it all
		}
	}
	assert.NotZero(t, blocks)
}
