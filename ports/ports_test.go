package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool/ports/internal/rewrite"
)

// toy is a port of a module that the test makes itself. With a broken change, it puts twice.
func toy(t *testing.T, put string) (p port, before, after side) {
	cached, work := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/toy\n\ngo 1.20\n",
		"toy.go": `package toy

import "sync"

type object struct{ n int }

var objects = sync.Pool{New: func() any { return new(object) }}

func get() *object { return objects.Get().(*object) }

func put(x *object) { objects.Put(x) }
`,
		"toy_test.go": `package toy

import "testing"

func TestObjects(t *testing.T) {
	for range make([]int, 10) {
		put(get())
	}
	get() // and no Put
}

func TestBroken(t *testing.T) { t.Fatal("as before") }

func BenchmarkObjects(b *testing.B) {
	for i := 0; i < b.N; i++ {
		put(get())
	}
}
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(cached, name), []byte(text), 0o444))
	}
	p = port{name: "toy", module: "example.com/toy", packages: []string{"."}, bench: ".", change: func(m *sources) {
		m.edit("toy.go", func(f *rewrite.File) {
			f.Value("objects", "warmpool.New[object]()")
			f.Gets("objects")
			f.Body("put", put)
		})
	}}
	before, after = side{"before", filepath.Join(work, "before")}, side{"after", filepath.Join(work, "after")}
	library, err := filepath.Abs("..")
	require.NoError(t, err)
	for _, s := range []side{before, after} {
		require.NoError(t, copyModule(t.Context(), s.dir, cached, p.module, library))
	}
	m := &sources{dir: after.dir}
	p.change(m)
	require.NoError(t, m.err)
	return p, before, after
}

func TestPortOfToy(t *testing.T) {
	p, before, after := toy(t, "objects.Put(x)")
	removed, added := linesChanged(t.Context(), before, after)
	assert.Equal(t, 4, removed) // the import, the variable, and two functions
	assert.Equal(t, 8, added)   // gofmt has the body and the import on lines of their own
	require.NoError(t, addWatcher(after, "."))
	report := filepath.Join(t.TempDir(), "report")
	t.Setenv("PORTS_REPORT", report)

	was := runTests(t.Context(), p, before)
	is := runTests(t.Context(), p, after, "-tags=pooldebug")
	assert.Equal(t, 1, was.passed)
	assert.Equal(t, []string{". TestBroken"}, was.failed)
	assert.Equal(t, 2, is.passed, is.output) // with the watcher
	assert.Empty(t, newFailures(was, is), "it failed before")
	found, err := findings(report)
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "toy.object: 1 of 11 never put (1 open pools)", found[0])
	assert.Contains(t, found[1], "1 got by toy.get < toy.TestObjects")

	c, err := compare(t.Context(), p, before, after, 1)
	require.NoError(t, err)
	assert.Equal(t, 1, c.benchmarks)
	assert.Positive(t, c.ns)
}

func TestPortThatPutsTwice(t *testing.T) {
	p, before, after := toy(t, "objects.Put(x)\nobjects.Put(x)")
	was, is := runTests(t.Context(), p, before), runTests(t.Context(), p, after)
	broken := newFailures(was, is)
	assert.Equal(t, []string{". TestObjects"}, broken)
	assert.Equal(t, []string{". TestObjects"}, again(t.Context(), p, after, broken))
	require.NotEmpty(t, misuses(is.output))
	assert.Contains(t, misuses(is.output)[0], "slot is not in use")
	r := result{tests: []outcome{{build: "plain", before: was, after: is, broken: broken}}}
	r.port.name = "toy"
	assert.ErrorContains(t, verdict([]result{r}), "toy")
	var text strings.Builder
	require.NoError(t, printTable(&text, []result{r}))
	assert.Contains(t, text.String(), "toy: plain: fails after the change: . TestObjects")
}

// Every port names what it needs, and no two have the same name.
func TestPortsAreComplete(t *testing.T) {
	kinds := make(map[string]int)
	seen := make(map[string]bool)
	for _, p := range allPorts() {
		assert.False(t, seen[p.name])
		seen[p.name] = true
		kinds[p.kind]++
		for _, text := range []string{p.module, p.version, p.kind, p.holds} {
			assert.NotEmpty(t, text, p.name)
		}
		assert.NotEmpty(t, p.packages, p.name)
		assert.NotNil(t, p.change, p.name)
		_, err := regexp.Compile(p.bench)
		assert.NoError(t, err)
	}
	assert.GreaterOrEqual(t, len(seen), 12)
	assert.GreaterOrEqual(t, kinds[byteSize], 2)
	quick := 0
	for name := range seen {
		if regexp.MustCompile(quickPorts).MatchString(name) {
			quick++
		}
	}
	assert.Equal(t, 2, quick)
}

func TestReadTrace(t *testing.T) {
	var m measured
	m.readTrace([]byte("gc 1 @0.020s 2%: 0.25+1.5+0.5 ms clock, 0.04+0.10/0.9/0+0.01 ms cpu, 4->4->1 MB\nother\n"))
	assert.Equal(t, 1, m.gcs)
	assert.Equal(t, []float64{0.75}, m.pauses)
	assert.Zero(t, median(nil))
	assert.EqualValues(t, 3, median([]float64{5, 1, 3}))
	assert.EqualValues(t, 5, quantile([]float64{5, 1, 3}, 0.99))
}

func TestSpeaksGenerics(t *testing.T) {
	for text, want := range map[string]bool{
		"module x\n": false, "module x\n\ngo 1.17\n": false, "go 1.24.0\n": true, "go 1.26\n": true,
	} {
		assert.Equal(t, want, speaksGenerics(text), text)
	}
}
