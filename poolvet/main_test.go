package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// output runs the command in a directory and returns what it prints, if it ends with the code.
func output(t *testing.T, code int, dir string, args ...string) string {
	var stdout, stderr bytes.Buffer
	require.Equal(t, code, run(args, dir, &stdout, &stderr), "%s%s", &stdout, &stderr)
	if code == exitFailed {
		return stderr.String()
	}
	require.Empty(t, stderr.String())
	return stdout.String()
}

// The README shows what the command prints for the example.
func TestText(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	text := output(t, exitOK, ".", "-quick", "./example")
	assert.Contains(t, string(readme), text)
	assert.Contains(t, text, "5 pools: 1 off-heap, 1 Go heap, 1 Go heap with WithInit, 1 bytes, 1 stay\n")
}

func TestJSON(t *testing.T) {
	var report jsonReport
	require.NoError(t, json.Unmarshal([]byte(output(t, exitOK, ".", "-json", "./example")), &report))
	require.Len(t, report.Pools, 5)
	p := report.Pools[0]
	assert.Equal(t, filepath.Join("example", "example.go"), p.File)
	assert.Equal(t, "points", p.Name)
	assert.Equal(t, "*point", p.Holds)
	assert.EqualValues(t, 16, p.Size)
	assert.EqualValues(t, "off-heap", p.Verdict)
	assert.Equal(t, "pool.New[point]()", p.Use)
	assert.True(t, p.Fix)
	assert.Empty(t, report.Mistakes)
	assert.True(t, strings.HasPrefix(report.Summary, "5 pools: 1 off-heap"))
}

func TestBadUse(t *testing.T) {
	assert.Contains(t, output(t, exitFailed, ".", "-quick", "-fix"), "-quick does not see test files")
	assert.Contains(t, output(t, exitFailed, ".", "-nonsense"), "usage: poolvet [flags] [packages]")
	assert.Contains(t, output(t, exitFailed, t.TempDir()), "main module")
	dir := moduleOf(t, map[string]string{"a.go": "package a\n\nvar x int = \"\"\n"})
	assert.Contains(t, output(t, exitFailed, dir), "cannot use")
}

// Mistakes are printed after the pools, and make the command fail.
func TestMistakes(t *testing.T) {
	dir := moduleOf(t, map[string]string{
		"a.go":      "package a\n\nimport \"github.com/warmpage/pool\"\n\nvar p = pool.New[string]()\n",
		"a_test.go": "package a\n\nimport \"sync\"\n\nvar inTest sync.Pool\n",
	})
	text := output(t, exitMistakes, dir)
	assert.Contains(t, text, "a.go:5: pool.New[string] panics")
	assert.Contains(t, text, "\n0 pools: 0 off-heap, 0 Go heap, 0 Go heap with WithInit, 0 bytes, 0 stay; 1 mistake\n")
	assert.Contains(t, output(t, exitMistakes, dir, "-tests"), "a_test.go:5: sync.Pool inTest")
	assert.Contains(t, output(t, exitMistakes, dir, "-json"), `"message": "pool.New[string] panics`)
}

// moduleOf makes a module of some files, with the pool package of the repository and the modules of
// testdata, and returns its directory.
func moduleOf(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(root, "pool.go")); err != nil {
		t.Skip("the pool package is not in the directory above")
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod")) // for the version of x/sys
	require.NoError(t, err)
	goMod = bytes.Replace(goMod, []byte("module github.com/warmpage/pool\n"), []byte("module example.com/a\n"), 1)
	goMod = append(goMod, "\nrequire github.com/warmpage/pool v0.0.0\n\nreplace github.com/warmpage/pool => "+root+"\n"...)
	for _, other := range []string{"example.com/ant", "zebra.example/zebra"} {
		at := filepath.Join("dep", filepath.FromSlash(other))
		require.NoError(t, os.CopyFS(filepath.Join(dir, at), os.DirFS(filepath.Join("testdata", "src", filepath.FromSlash(other)))))
		write(t, filepath.Join(dir, at, "go.mod"), "module "+other+"\n\ngo 1.24.0\n")
		goMod = append(goMod, "\nrequire "+other+" v0.0.0\n\nreplace "+other+" => ./"+filepath.ToSlash(at)+"\n"...)
	}
	write(t, filepath.Join(dir, "go.mod"), string(goMod))
	write(t, filepath.Join(dir, "go.sum"), string(sum))
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
}

// goCommand runs the go command in a directory.
func goCommand(t *testing.T, dir string, args ...string) string {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// What -fix makes of the packages in testdata/src/fix compiles, is in the format of gofmt, and does
// what it did before, with the pool package of the repository.
func TestFix(t *testing.T) {
	dir := moduleOf(t, nil)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "fix"), os.DirFS(filepath.Join("testdata", "src", "fix"))))
	goCommand(t, dir, "test", "./fix/...")
	text := output(t, exitOK, dir, "-fix")
	assert.Contains(t, text, "10 pools: 10 off-heap")
	assert.Contains(t, text, "; 10 fixed\n")
	goCommand(t, dir, "vet", "./...")
	assert.Contains(t, goCommand(t, dir, "test", "-count=1", "./fix/..."), "ok")
	assert.Contains(t, output(t, exitOK, dir), "0 pools")

	unformatted, err := exec.Command("gofmt", "-l", filepath.Join(dir, "fix")).CombinedOutput()
	require.NoError(t, err)
	assert.Empty(t, string(unformatted))
}

// A file that gofmt would change keeps its lines, apart from those of the fix.
func TestFixOfUnformatted(t *testing.T) {
	const before = "package a\n\nimport \"sync\"\n\ntype  odd   [8]int\n\n" +
		"var p = sync.Pool{New: func() any { return new(odd) }}\n"
	dir := moduleOf(t, map[string]string{"a.go": before})
	output(t, exitOK, dir, "-fix")
	after, err := os.ReadFile(filepath.Join(dir, "a.go"))
	require.NoError(t, err)
	const want = "package a\n\nimport \"github.com/warmpage/pool\"\n\ntype  odd   [8]int\n\nvar p = pool.New[odd]()\n"
	assert.Equal(t, want, string(after))
}

// The command works as a tool of go vet.
func TestVetTool(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "poolvet.exe")
	goCommand(t, ".", "build", "-o", tool, ".")
	cmd := exec.Command("go", "vet", "-vettool="+tool, "./example")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "sync.Pool points holds *point (16 bytes): off-heap: pool.New[point]()")

	out, err = exec.Command("go", "vet", "-vettool="+tool, "-pooluse", "./example").CombinedOutput()
	assert.NoError(t, err, "%s", out)
}
