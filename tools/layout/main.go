// Layout prints where the runtime's structures have the fields that the fast paths of the library read
// (own_nosplit.go), and compares that with the constants of the library (own_layout_*.go).
//
//	go run ./layout [-go go1.26.8,go1.27.3] [GOOS/GOARCH ...]
//
// It builds a small program for each platform with each release of Go, and reads the offsets in the
// debugging information of the program. Without arguments it does so for all platforms that may have the
// fast paths, with the release in use. It prints one line for each. It exits with status 1 if the library
// has another offset than a program. It does not mind that the library has no fast paths there: this is how
// to find the offsets for a new release.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
)

// fields are the fields whose offsets count.
var fields = [...]string{"m.curg", "m.p", "p.id", "p.status", "p.m", "g.stack.lo", "g.stack.hi", "g.stackguard0"}

// A layout has the offset in bytes of each of fields.
type layout [len(fields)]int64

// A platform is a system and a processor for which Go builds programs.
type platform struct{ goos, goarch string }

func (p platform) String() string { return p.goos + "/" + p.goarch }

// platforms are those for which the library has fast paths, by itself or with the build tag poolfast.
var platforms = func() []platform {
	var all []platform
	for _, goarch := range []string{"amd64", "arm64", "riscv64", "ppc64le", "s390x", "loong64"} {
		all = append(all, platform{"linux", goarch})
	}
	for _, goos := range []string{"darwin", "windows", "freebsd", "netbsd", "openbsd"} {
		all = append(all, platform{goos, "amd64"}, platform{goos, "arm64"})
	}
	return all
}()

// currentRelease returns the release of the go command in use.
func currentRelease() (string, error) {
	out, err := exec.Command("go", "env", "GOVERSION").Output()
	return strings.TrimSpace(string(out)), err
}

var goMinor = regexp.MustCompile(`go1\.(\d+)`)

// minorOf returns N of a release called go1.N, or go1.N with something before or after.
func minorOf(release string) (int, error) {
	m := goMinor.FindStringSubmatch(release)
	if m == nil {
		return 0, fmt.Errorf("%q is no release of Go, such as go1.26.8", release)
	}
	return strconv.Atoi(m[1])
}

// differences says in which offsets the library differs from the runtime, or "" if in none.
func differences(runtime, library layout) string {
	var diffs []string
	for i, field := range fields {
		if runtime[i] != library[i] {
			diffs = append(diffs, fmt.Sprintf("%s %d", field, library[i]))
		}
	}
	return strings.Join(diffs, ", ")
}

// compare returns where a program for p, built with a release, has the fields, and what is to be said of
// the library in the directory root: "same", its own offsets where they differ, or that it has none.
func compare(root, release string, p platform) (found layout, verdict string, err error) {
	if found, err = runtimeLayout(release, p); err != nil {
		return found, "", fmt.Errorf("%s with %s: %w", p, release, err)
	}
	library, err := libraryLayout(root, release, p)
	switch {
	case errors.Is(err, errNoFastPaths):
		return found, err.Error(), nil
	case err != nil:
		return found, "", fmt.Errorf("the library for %s with %s: %w", p, release, err)
	}
	if diffs := differences(found, library); diffs != "" {
		return found, "differs: " + diffs, nil
	}
	return found, same, nil
}

const same = "same"

func run() error {
	list := flag.String("go", "", "build with these `releases` of Go, separated by commas; the default is the one in use")
	flag.Parse()
	const root = ".."
	if _, err := os.Stat(filepath.Join(root, "own_nosplit.go")); err != nil {
		return errors.New("the library is not in the directory above: run this in tools, as go run ./layout")
	}
	releases := strings.Split(*list, ",")
	if *list == "" {
		release, err := currentRelease()
		if err != nil {
			return err
		}
		releases[0] = release
	}
	chosen := platforms
	if flag.NArg() > 0 {
		chosen = nil
		for _, arg := range flag.Args() {
			goos, goarch, ok := strings.Cut(arg, "/")
			if !ok {
				return fmt.Errorf("%q is not of the form GOOS/GOARCH", arg)
			}
			chosen = append(chosen, platform{goos, goarch})
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "release\tplatform\t%s\tlibrary\n", strings.Join(fields[:], "\t"))
	wrong := 0
	for _, release := range releases {
		for _, p := range chosen {
			found, verdict, err := compare(root, release, p)
			if err != nil {
				return err
			}
			fmt.Fprintf(table, "%s\t%s\t", release, p)
			for _, offset := range found {
				fmt.Fprintf(table, "%d\t", offset)
			}
			fmt.Fprintln(table, verdict)
			if verdict != same && verdict != errNoFastPaths.Error() {
				wrong++
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("the library differs in %d of these", wrong)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
