package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A side is a copy of a port's module, as it is or changed, in a directory of its own.
type side struct {
	name string // before or after
	dir  string
}

// errNoProxy says that the module proxy is out of reach.
var errNoProxy = errors.New("the module proxy is out of reach")

// goIn runs the go command in dir, for at most some minutes. It returns what the command prints.
func goIn(ctx context.Context, dir string, args ...string) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local")
	cmd.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.Bytes(), errs.Bytes(), err
}

// fetch has the module cache hold the port's module, and returns where.
func fetch(ctx context.Context, p port) (dir string, err error) {
	stdout, stderr, err := goIn(ctx, os.TempDir(), "mod", "download", "-json", p.module+"@"+p.version)
	var result struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(stdout, &result); jsonErr != nil || result.Error != "" || err != nil {
		return "", fmt.Errorf("%w: %s %s%s", errNoProxy, p.module, result.Error, stderr)
	}
	return result.Dir, nil
}

// prepare makes both sides of a port below work; library is where this library is.
func prepare(ctx context.Context, p port, work, library string) (before, after side, err error) {
	cached, err := fetch(ctx, p)
	if err != nil {
		return before, after, err
	}
	before, after = side{"before", filepath.Join(work, p.name, "before")}, side{"after", filepath.Join(work, p.name, "after")}
	for _, s := range []side{before, after} {
		if err = copyModule(ctx, s.dir, cached, p.module, library); err != nil {
			return before, after, err
		}
	}
	m := &sources{dir: after.dir}
	p.change(m)
	if m.err != nil {
		return before, after, fmt.Errorf("%s: the change: %w", p.name, m.err)
	}
	return before, after, nil
}

// copyModule copies a module, and has it require the library. Both sides do, so that they differ in
// nothing else.
func copyModule(ctx context.Context, dir, from, module, library string) error {
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return err
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error { // the cache is read-only
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		return err
	}
	mod := filepath.Join(dir, "go.mod")
	if _, err = os.Stat(mod); errors.Is(err, os.ErrNotExist) {
		if err = os.WriteFile(mod, []byte("module "+module+"\n"), 0o644); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(mod)
	if err != nil {
		return err
	}
	args := []string{
		"mod", "edit", "-require=github.com/warmpage/pool@v0.0.0", "-replace=github.com/warmpage/pool=" + library,
	}
	if !speaksGenerics(string(text)) {
		args = append(args, "-go=1.24")
	}
	_, stderr, err := goIn(ctx, dir, args...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, stderr)
	}
	return nil
}

// speaksGenerics reports whether the module's language version is that of the library or later.
func speaksGenerics(mod string) bool {
	for line := range strings.Lines(mod) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "go 1."); ok {
			minor, _, _ := strings.Cut(version, ".")
			n, err := strconv.Atoi(minor)
			return err == nil && n >= 24
		}
	}
	return false
}

// linesChanged counts the lines that the change has removed and added.
func linesChanged(ctx context.Context, before, after side) (removed, added int) {
	out, _ := exec.CommandContext(ctx, "git", "diff", "--no-index", "--numstat", "--", before.dir, after.dir).Output()
	for line := range strings.Lines(string(out)) {
		var a, r int
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasSuffix(line, ".go\n") || strings.Contains(line, ".go}") {
			a, _ = strconv.Atoi(fields[0])
			r, _ = strconv.Atoi(fields[1])
		}
		removed, added = removed+r, added+a
	}
	return removed, added
}
