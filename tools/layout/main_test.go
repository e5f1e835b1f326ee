package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var all = flag.Bool("all", false, "test all platforms, not only those on which the fast paths are on by themselves")

// root is the library's directory.
var root = filepath.Join("..", "..")

// With the release in use, the library expects the runtime's fields where programs have them.
func TestLibraryAgrees(t *testing.T) {
	release, err := currentRelease()
	require.NoError(t, err)
	for _, p := range platforms {
		if !*all && p != (platform{"linux", "amd64"}) && p != (platform{"linux", "arm64"}) {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			found, verdict, err := compare(root, release, p)
			require.NoError(t, err)
			t.Log(found)
			if verdict == errNoFastPaths.Error() && isUnknown(t, release) {
				t.Skip("nobody has checked this release")
			}
			assert.Equal(t, same, verdict)
		})
	}
}

// isUnknown reports whether the library has fast paths nowhere with a release.
func isUnknown(t *testing.T, release string) bool {
	return !slices.ContainsFunc(platforms, func(p platform) bool {
		_, err := libraryLayout(root, release, p)
		if !errors.Is(err, errNoFastPaths) {
			require.NoError(t, err)
		}
		return err == nil
	})
}

// The library has fast paths on all platforms with all releases from go1.24 to the last that somebody has
// checked, and on other platforms and with later releases it has none.
func TestLibraryHasFastPaths(t *testing.T) {
	known := 0
	for _, release := range []string{"go1.24.13", "go1.25.8", "go1.26.8", "go1.27.3"} {
		for _, p := range platforms {
			found, err := libraryLayout(root, release, p)
			require.NoError(t, err, "%s with %s", p, release)
			assert.NotZero(t, found[0])
			assert.Greater(t, found[1], found[0])
			known++
		}
	}
	assert.Equal(t, 4*16, known)
	for _, release := range []string{"go1.28", "go1.28.1", "go1.99", "devel go1.28-0123456789"} {
		assert.True(t, isUnknown(t, release), release)
	}
	for _, p := range []platform{{"linux", "386"}, {"linux", "arm"}, {"windows", "386"}, {"dragonfly", "amd64"}, {"js", "wasm"}} {
		_, err := libraryLayout(root, "go1.26.8", p)
		assert.ErrorIs(t, err, errNoFastPaths, p)
	}
}

// A library that expects a field elsewhere is found out.
func TestDifferences(t *testing.T) {
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(root, "own*.go"))
	require.NoError(t, err)
	for _, change := range []struct{ from, to, want string }{ // from: a regular expression
		{"", "", ""},
		{`mCurg\s*= 184`, "mCurg = 192", "m.curg 192"},
		{`mP\s*= 208`, "mP = 200", "m.p 200"},
		{`const mShift\s*= 0`, "const mShift = 8", "m.curg 192, m.p 216"},
		{`pBackToM\s*= 48`, "pBackToM = 56", "p.m 56"},
		{`\tid\s+uint32\n\tstatus\b`, "\tstatus uint32\n\tid", "p.id 4, p.status 0"},
		{`stackLo, stackHi`, "stackHi, stackLo", "g.stack.lo 8, g.stack.hi 0"},
		{`\tstackguard0\s+uintptr`, "\t_, stackguard0 uintptr", "g.stackguard0 24"},
	} {
		from := regexp.MustCompile(change.from)
		changed := 0
		for _, file := range files {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			if change.from != "" {
				changed += len(from.FindAll(source, -1))
				source = from.ReplaceAll(source, []byte(change.to))
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), source, 0o600))
		}
		if change.from != "" {
			assert.Positive(t, changed, change.from)
		}
		right, err := libraryLayout(root, "go1.26.8", platform{"linux", "amd64"})
		require.NoError(t, err)
		wrong, err := libraryLayout(dir, "go1.26.8", platform{"linux", "amd64"})
		require.NoError(t, err)
		assert.Equal(t, change.want, differences(right, wrong))
	}
}

func TestMinorOf(t *testing.T) {
	for release, minor := range map[string]int{"go1.26.8": 26, "go1.27rc1": 27, "go1.28-devel_0123456789": 28, "devel go1.28-0123456789 X": 28} {
		got, err := minorOf(release)
		require.NoError(t, err)
		assert.Equal(t, minor, got)
	}
	_, err := minorOf("local")
	assert.Error(t, err)
}
