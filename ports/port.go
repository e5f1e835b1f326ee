package main

import (
	"path/filepath"

	"github.com/warmpage/pool/ports/internal/rewrite"
)

// A port is a module that uses sync.Pool, and the change that has it use this library instead.
type port struct {
	name            string // as in the table
	module, version string
	kind            string            // of pool, as in the table
	holds           string            // what the pools hold
	packages        []string          // whose tests run; the first is the one whose pools are looked at
	flags           []string          // for go test
	bench           string            // which benchmarks run, a regular expression
	benchIn         string            // in which package; "" is the first one
	unfit           map[string]string // builds, and a regular expression for the tests that cannot pass there: see note
	note            string            // what the port shows, or what did not fit
	change          func(m *sources)
}

// Kinds of pools.
const (
	offHeap  = "off the heap"
	goHeap   = "Go heap"
	goKept   = "Go heap, kept"
	byteSize = "Bytes"
)

// sources are the files of a module that a port changes.
type sources struct {
	dir string
	err error
}

// imports are the packages that the changed code may use, by the names that it has for them.
var imports = map[string]string{
	"warmpool": "github.com/warmpage/pool",
	"context":  "context",
	"sync":     "sync",
}

// edit changes a file, named from the module's root.
func (m *sources) edit(file string, change func(f *rewrite.File)) {
	f := rewrite.Open(filepath.Join(m.dir, filepath.FromSlash(file)))
	change(f)
	if err := f.Save(imports); err != nil && m.err == nil {
		m.err = err
	}
}

func allPorts() []port {
	var all []port
	for _, ports := range [][]port{withoutPointers, withPointers, ofBytes} {
		all = append(all, ports...)
	}
	return all
}
