// Package gen writes the worker's loops, as concrete code for each side, size and mode. A
// loop over an interface or a type parameter would call Get and Put where a
// user's code has them inlined, which costs the fast sides the most.
package gen

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

//go:embed loops.tmpl
var loopsTemplate string

//go:embed bytes.tmpl
var bytesTemplate string

// overlayFile is the one that tells the go command about the others.
const overlayFile = "overlay.json"

// Write writes the files of package loops to dir, which it makes, and returns the overlay with
// which the go command sees them in the package: go build -overlay=FILE. module is the directory of
// the module.
func Write(dir, module string) (overlay string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if module, err = filepath.Abs(module); err != nil {
		return "", err
	}
	files, err := generate()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o666); err != nil {
			return "", err
		}
		replace[filepath.Join(module, "internal", "loops", name)] = path
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, overlayFile)
	return overlay, os.WriteFile(overlay, append(text, '\n'), 0o666)
}

// A variant is what the template sees of one side, size and mode.
type variant struct {
	Side  catalog.Side
	Size  int
	Mode  catalog.Mode
	Batch bool

	Type     string // its name
	T        string // what x points to
	H        string // what is handed out: x or h
	Handle   string // its type
	Find     string // x, from h; empty if x is handed out
	Common   string // what all loops have that hand out such a thing
	Table    string // its type
	PoolType string
	Make     string
	Close    string
	Local    string // makes p
	Get      string // makes x, and h, with the promised content
	Write    string
	Read     string
	Put      string
}

// generate returns the text of each file by its name.
func generate() (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, s := range sides {
		var variants []variant
		for _, size := range catalog.Sizes {
			for _, mode := range catalog.Modes {
				if s.batch && mode == catalog.Raw {
					continue
				}
				variants = append(variants, s.variant(size, mode))
			}
		}
		text, err := execute(loopsTemplate, map[string]any{"Imports": allImports(s), "Variants": variants})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		files[fileName(s.ident)] = text
	}
	return files, errors.Join(generateHeap(files), generateBytes(files))
}

func fileName(ident string) string { return "loops_" + strings.ToLower(ident) + "_gen.go" }

// generateBytes adds the file of the bytes study. Some baselines cannot build it.
func generateBytes(files map[string][]byte) error {
	text, err := execute(bytesTemplate, map[string]any{"Imports": bytesImports(), "Sides": bytesSides})
	if err != nil {
		return fmt.Errorf("bytes: %w", err)
	}
	files[fileName("bytes")] = text
	return nil
}

// generateHeap adds the file of the goheap study. Some baselines cannot build it.
func generateHeap(files map[string][]byte) error {
	var variants []variant
	for _, s := range heapSides {
		variants = append(variants, s.variant(catalog.HeapSize, catalog.Pointers))
	}
	text, err := execute(loopsTemplate, map[string]any{
		"Constraint": "//go:build !nogoheap\n\n", "Imports": allImports(heapSides...), "Variants": variants,
	})
	if err != nil {
		return fmt.Errorf("goheap: %w", err)
	}
	files[fileName("goheap")] = text
	return nil
}

func execute(text string, data any) ([]byte, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, data); err != nil {
		return nil, err
	}
	return format.Source(buf.Bytes())
}
