package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A repository with a library and a module with a command that needs it.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module github.com/warmpage/pool\n\ngo 1.24\n",
		"pool.go":         "package pool\n\nconst Answer = 42\n",
		"CHANGELOG.md":    "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-11-28\n\n- All.\n",
		"LICENSE":         "Do what you like.\n",
		"programs/go.mod": "module github.com/warmpage/pool/programs\n\ngo 1.24\n\nrequire github.com/warmpage/pool v0.0.0\n\nreplace github.com/warmpage/pool => ../\n",
		"programs/lru/main.go": "package main\n\nimport \"github.com/warmpage/pool\"\n\n" +
			"func main() { println(pool.Answer) }\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	for _, args := range []string{
		"init -q -b main", "config user.name somebody", "config user.email somebody@example.com", "add .", "commit -q -m all",
	} {
		git(t, dir, strings.Fields(args)...)
	}
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	return strings.TrimSpace(string(text))
}

// The tags of a release are modules whose commands run by their paths. Main is as before.
func TestRelease(t *testing.T) {
	dir := repository(t)
	before := git(t, dir, "rev-parse", "main")
	var out strings.Builder
	require.NoError(t, run(&out, dir, "v0.2.0", []string{".", "programs"}, false))
	assert.Contains(t, out.String(), "github.com/warmpage/pool/programs@v0.2.0: can be required; its commands that go install has installed: 1\n")
	assert.Contains(t, out.String(), "git push --atomic origin main v0.2.0 programs/v0.2.0\n")
	assert.Equal(t, "programs/v0.2.0\nv0.2.0", git(t, dir, "tag"))
	assert.Equal(t, before, git(t, dir, "rev-parse", "v0.2.0^{commit}"))
	assert.Equal(t, before, git(t, dir, "rev-parse", "main"))
	assert.Empty(t, git(t, dir, "status", "--porcelain"))
	assert.NotContains(t, git(t, dir, "worktree", "list"), "\n")

	tagged := git(t, dir, "show", "programs/v0.2.0:programs/go.mod")
	assert.Contains(t, tagged, "require github.com/warmpage/pool v0.2.0")
	assert.NotContains(t, tagged, "replace")
	assert.Contains(t, git(t, dir, "show", "programs/v0.2.0:programs/go.sum"), "github.com/warmpage/pool v0.2.0 h1:")
}

func TestRehearsal(t *testing.T) {
	dir := repository(t)
	var out strings.Builder
	require.NoError(t, run(&out, dir, "v0.3.0", []string{".", "programs"}, true), "CHANGELOG.md does not have it")
	assert.Contains(t, out.String(), "no tags made")
	assert.Empty(t, git(t, dir, "tag"))
}

// What cannot be released is an error that says what to do, and leaves no tag.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		version, want string
		change        func(dir string)
	}{
		"version": {"0.2.0", "is no version such as v0.2.0", nil},
		"short":   {"v0.2", "is no version such as v0.2.0", nil},
		"changes": {"v0.2.0", "commit them first", func(dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "new.go"), []byte("package pool\n"), 0o600))
		}},
		"again":     {"v0.2.0", "programs/v0.2.0 already", func(dir string) { git(t, dir, "tag", "programs/v0.2.0") }},
		"changelog": {"v0.3.0", `move what is under "Unreleased" to "## 0.3.0 - DATE"`, nil},
		"compiler": {"v0.2.0", "module programs", func(dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "pool.go"), []byte("package pool\n"), 0o600))
			git(t, dir, "commit", "-q", "-a", "-m", "without the answer")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t)
			if c.change != nil {
				c.change(dir)
			}
			before := git(t, dir, "tag")
			require.ErrorContains(t, run(&strings.Builder{}, dir, c.version, []string{".", "programs"}, false), c.want)
			assert.Equal(t, before, git(t, dir, "tag"))
			assert.NotContains(t, git(t, dir, "worktree", "list"), "\n")
		})
	}
}
