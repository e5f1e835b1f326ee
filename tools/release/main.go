// Release makes the tags of a release, and tries first what users will do with them.
//
//	go run ./release [-n] v0.2.0
//
// The modules in a clone have replace directives, so that they use the library beside them. Go
// refuses to run or install a command of such a module by its path. So the root module is tagged as
// it is, and each of the others in a commit of its own, which is on no branch: without the
// directives, and with the versions of this release. A proxy in a temporary directory serves these
// versions; go mod tidy, go vet, and go install of each command see them there, as they will be on
// proxy.golang.org. Only if all of that works are the tags made, in this repository alone. The
// command that publishes them is printed.
//
// With -n, no tag is made, and CHANGELOG.md need not have the version.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

// published are the modules that users get by their paths, as directories. Each comes after those
// that it requires.
var published = []string{".", "poolprom", "poolvet", "examples/programs"}

// A release is what is under way.
type release struct {
	repo    string // the repository
	work    string // a work tree of it, in which commits are made
	version string
	temp    string
	proxy   string // a directory that is a module proxy
	tags    []tag
	out     io.Writer
}

// A tag is a version of a module, as Git has it.
type tag struct {
	name, commit string
	module       module.Version
}

func main() {
	rehearse := flag.Bool("n", false, "make no tags")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run ./release [-n] VERSION")
		os.Exit(2)
	}
	if err := run(os.Stdout, "..", flag.Arg(0), published, *rehearse); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run releases the modules of the repository at repo, which are in the directories dirs.
func run(out io.Writer, repo, version string, dirs []string, rehearse bool) (err error) {
	repo, err = filepath.Abs(repo)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	r := &release{
		repo: repo, version: version, temp: temp, out: out,
		work: filepath.Join(temp, "work"), proxy: filepath.Join(temp, "proxy"),
	}
	defer func() { err = errors.Join(err, r.clean()) }()
	if err := r.check(dirs, rehearse); err != nil {
		return err
	}
	if _, err := r.git(r.repo, "worktree", "add", "--quiet", "--detach", r.work); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := r.prepare(dir); err != nil {
			return fmt.Errorf("module %s: %w", dir, err)
		}
	}
	for i, dir := range dirs {
		if err := r.try(r.tags[i].module, dir); err != nil {
			return fmt.Errorf("module %s: %w", dir, err)
		}
	}
	if rehearse {
		_, err := fmt.Fprintln(out, "no tags made: this was with -n")
		return err
	}
	names := make([]string, 0, len(r.tags))
	for _, t := range r.tags {
		if _, err := r.git(r.repo, "tag", "-m", t.name, t.name, t.commit); err != nil {
			for _, name := range names { // all tags or none
				_, undo := r.git(r.repo, "tag", "--delete", name)
				err = errors.Join(err, undo)
			}
			return err
		}
		names = append(names, t.name)
	}
	_, err = fmt.Fprintln(out, "tagged; to publish:\n  git push --atomic origin main", strings.Join(names, " "))
	return err
}

// clean removes all that is temporary.
func (r *release) clean() error {
	_, _ = r.git(r.repo, "worktree", "remove", "--force", r.work) // it may not be there yet
	return errors.Join(r.goIn(r.temp, "clean", "-modcache"), os.RemoveAll(r.temp))
}

// check looks at the version and the state of the repository.
func (r *release) check(dirs []string, rehearse bool) error {
	if semver.Canonical(r.version) != r.version {
		return fmt.Errorf("%q is no version such as v0.2.0", r.version)
	}
	status, err := r.git(r.repo, "status", "--porcelain")
	if err != nil {
		return err
	}
	if status != "" {
		return fmt.Errorf("there are changes that are not committed; commit them first:\n%s", status)
	}
	for _, dir := range dirs {
		if found, err := r.git(r.repo, "tag", "--list", r.tagOf(dir)); err != nil {
			return err
		} else if found != "" {
			return fmt.Errorf("there is a tag %s already; a version is never tagged again: take the next", found)
		}
	}
	if rehearse {
		return nil
	}
	changes, err := os.ReadFile(filepath.Join(r.repo, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	newest := regexp.MustCompile(`(?m)^## \[?(\d[^] ]*)\]? - \d{4}-\d\d-\d\d$`).FindSubmatch(changes)
	if newest == nil || "v"+string(newest[1]) != r.version {
		return fmt.Errorf(`the newest version in CHANGELOG.md is not %s: move what is under "Unreleased" to "## %s - DATE"`,
			r.version, r.version[1:])
	}
	return nil
}

// tagOf returns the tag of the module in dir.
func (r *release) tagOf(dir string) string { return path.Join(dir, r.version) }

// prepare commits the module in dir as users will have it, and puts it into the proxy.
func (r *release) prepare(dir string) error {
	file := filepath.Join(r.work, dir, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return err
	}
	if len(mod.Replace) > 0 {
		for _, replace := range mod.Replace {
			replaced := replace.Old // which DropReplace clears
			if err := mod.DropReplace(replaced.Path, replaced.Version); err != nil {
				return err
			}
			if err := mod.AddRequire(replaced.Path, r.version); err != nil {
				return err
			}
		}
		mod.Cleanup()
		if text, err = mod.Format(); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		if err := r.goIn(filepath.Dir(file), "mod", "tidy"); err != nil {
			return err
		}
		if _, err := r.git(r.work, "add", "--all"); err != nil {
			return err
		}
		if _, err := r.git(r.work, "commit", "--quiet", "-m", r.tagOf(dir)+": without replace directives"); err != nil {
			return err
		}
	}
	if err := r.goIn(filepath.Dir(file), "vet", "./..."); err != nil {
		return err
	}
	commit, err := r.git(r.work, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	version := module.Version{Path: mod.Module.Mod.Path, Version: r.version}
	r.tags = append(r.tags, tag{r.tagOf(dir), commit, version})
	return r.serve(version, commit, dir)
}

// serve puts a version of a module into the proxy.
func (r *release) serve(m module.Version, commit, dir string) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	at := filepath.Join(r.proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	when, err := r.git(r.work, "show", "--no-patch", "--format=%cI", commit)
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(r.work, dir, "go.mod"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"list":              m.Version + "\n",
		m.Version + ".info": fmt.Sprintf(`{"Version":%q,"Time":%q}`, m.Version, when),
		m.Version + ".mod":  string(mod),
	} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(at, m.Version+".zip"))
	if err != nil {
		return err
	}
	if dir == "." {
		dir = ""
	}
	return errors.Join(zip.CreateFromVCS(archive, m, r.repo, commit, dir), archive.Close())
}

// try installs each command of a module by its path.
func (r *release) try(m module.Version, dir string) error {
	listed, err := r.output(filepath.Join(r.work, dir), "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	if err != nil {
		return err
	}
	commands := strings.Fields(listed)
	for _, command := range commands {
		if err := r.goIn(r.temp, "install", command+"@latest"); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(r.out, "%s@%s: can be required; its commands that go install has installed: %d\n", m.Path, m.Version, len(commands))
	return err
}

// goIn runs the go command.
func (r *release) goIn(dir string, args ...string) error {
	_, err := r.output(dir, "go", args...)
	return err
}

// git runs Git.
func (r *release) git(dir string, args ...string) (string, error) {
	return r.output(dir, "git", args...)
}

// output runs a command in dir, with the proxy before what is in the cache of modules, and that before
// the proxies that the user has. Modules get into a cache that goes at the end.
func (r *release) output(dir, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "GOMODCACHE="+filepath.Join(r.temp, "modules"), "GOBIN="+filepath.Join(r.temp, "bin"),
		"GOWORK=off", "GOFLAGS=", "GONOSUMDB="+own, "GONOPROXY=none", "GOPRIVATE=", "GOPROXY="+r.proxies())
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(text)), nil
}

// own matches the modules of this repository. The checksum database does not know their new versions.
const own = "github.com/warmpage/pool,github.com/warmpage/pool/*"

// proxies returns the proxies to ask, in their order.
func (r *release) proxies() string {
	list := "file://" + filepath.ToSlash(r.proxy)
	for _, variable := range []string{"GOMODCACHE", "GOPROXY"} {
		value, err := exec.Command("go", "env", variable).Output()
		if err != nil {
			continue // the go command says so itself when it is run
		}
		text := strings.TrimSpace(string(value))
		if variable == "GOMODCACHE" {
			text = "file://" + path.Join(filepath.ToSlash(text), "cache", "download")
		}
		list += "," + text
	}
	return list
}
