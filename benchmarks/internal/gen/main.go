// Gen writes the worker's loops, as concrete code for each side, size and mode. A
// loop over an interface or a type parameter would call Get and Put where a
// user's code has them inlined, which costs the fast sides the most.
//
//	go run ./internal/gen [-out internal/worker]
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
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

//go:embed registry.tmpl
var registryTemplate string

func main() {
	out := flag.String("out", filepath.Join("internal", "worker"), "`directory` to write to")
	flag.Parse()
	files, err := generate()
	if err == nil {
		err = write(*out, files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(dir string, files map[string][]byte) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// A variant is what the templates see of one side, size and mode.
type variant struct {
	Side  catalog.Side
	Size  int
	Mode  catalog.Mode
	Batch bool

	Type     string // its name
	T        string // what x points to
	PoolType string
	Make     string
	Close    string
	Local    string // makes p
	Get      string // makes x, with the promised content
	Write    string
	Read     string
	Put      string
}

// generate returns the text of each file by its name.
func generate() (map[string][]byte, error) {
	files := make(map[string][]byte)
	var all []variant
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
		all = append(all, variants...)
		text, err := execute(loopsTemplate, map[string]any{"Imports": allImports(s), "Variants": variants})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		files["loops_"+strings.ToLower(s.ident)+"_gen.go"] = text
	}
	text, err := execute(registryTemplate, map[string]any{"Makers": "makers", "Sizes": catalog.Sizes, "Variants": all})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	files["registry_gen.go"] = text
	return files, errors.Join(generateHeap(files), generateBytes(files))
}

// generateBytes adds the file of the bytes study. Some baselines cannot build it.
func generateBytes(files map[string][]byte) error {
	text, err := execute(bytesTemplate, map[string]any{"Imports": bytesImports(), "Sides": bytesSides})
	if err != nil {
		return fmt.Errorf("bytes: %w", err)
	}
	files["loops_bytes_gen.go"] = text
	return nil
}

// generateHeap adds the files of the goheap study. Some baselines cannot build them.
func generateHeap(files map[string][]byte) error {
	const constraint = "//go:build !nogoheap\n\n"
	var variants []variant
	for _, s := range heapSides {
		variants = append(variants, s.variant(catalog.HeapSize, catalog.Pointers))
	}
	loops, err := execute(loopsTemplate, map[string]any{
		"Constraint": constraint, "Imports": allImports(heapSides...), "Variants": variants,
	})
	if err != nil {
		return fmt.Errorf("goheap: %w", err)
	}
	registry, err := execute(registryTemplate, map[string]any{
		"Constraint": constraint, "Makers": "heapMakers", "Variants": variants,
	})
	if err != nil {
		return fmt.Errorf("registry of goheap: %w", err)
	}
	files["loops_goheap_gen.go"], files["registry_goheap_gen.go"] = loops, registry
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
