// Mutants breaks the library on purpose, one place at a time, and expects the tests to fail. A
// mutant that survives is a hole in the tests.
//
//	go run ./mutants [-run regexp] [-j 2] [-timeout 10m] [-record]
//
// It works on copies of the module. For each mutant it prints a test that failed, and at the end
// how many mutants were killed. It exits with status 1 if one survived.
//
// To compile the tests takes longer than most mutants live. So most of them are compiled together:
// each changed function is there beside the original one, which calls it if the environment says
// so. (Untch, Offutt, Harrold: "Mutation Analysis Using Mutant Schemata", 1993.) A mutant that is no
// change of one ordinary function is compiled alone.
//
// The file killers.txt has for each mutant the test that killed it last time. That one runs first,
// and the others only if it passes. With -record, all run, and what kills a mutant goes to the file.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A mutation replaces old, which file contains exactly once, with new.
type mutation struct {
	name, file, old, new string
	tests                []string // arguments of go test; nil: everyday, then steps
}

var (
	everyday = []string{"-short", "-failfast", "-stress", "500ms", "."}
	steps    = []string{"-tags", "poolyield", "-run", "TestSteps", "-steptime", "20s", "."}
	hooked   = []string{"-tags", "pooldebug", "-run", "Mistakes|Leaks|Profile", "."}
)

// find returns where source has old. It is an error if it is not there exactly once.
func (m mutation) find(source string) (int, error) {
	if n := strings.Count(source, m.old); n != 1 {
		return 0, fmt.Errorf("%s: %s contains the text to replace %d times, not once: update tools/mutants", m.name, m.file, n)
	}
	return strings.Index(source, m.old), nil
}

// apply returns source with the mutation made.
func (m mutation) apply(source string) (string, error) {
	at, err := m.find(source)
	if err != nil {
		return "", err
	}
	return source[:at] + m.new + source[at+len(m.old):], nil
}

// runs returns the arguments of go test for all runs that may kill the mutant.
func (m mutation) runs() [][]string {
	if m.tests != nil {
		return [][]string{m.tests}
	}
	return [][]string{everyday, steps}
}

// only returns the arguments of go test for the one test that killed the mutant last time.
func (m mutation) only(test string) []string {
	args := slices.Clone(m.runs()[0])
	if m.tests == nil && strings.HasPrefix(test, "TestSteps") {
		args = slices.Clone(steps)
	}
	if k := slices.Index(args, "-run"); k >= 0 {
		args = slices.Delete(args, k, k+2)
	}
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return slices.Insert(args, len(args)-1, "-timeout", "1m", "-run", strings.Join(parts, "/"))
}

// killersFile has a line for each mutant: its name, a colon, and the test that killed it.
const killersFile = "tools/mutants/killers.txt"

//go:embed killers.txt
var recorded string

// killersIn returns the tests that text, the contents of killers.txt, has for each mutant.
func killersIn(text string) map[string]string {
	killers := make(map[string]string)
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, ": "); i >= 0 {
			killers[line[:i]] = strings.TrimSpace(line[i+2:])
		}
	}
	return killers
}

// writeKillers makes killers.txt anew, in the order of the mutations.
func writeKillers(killers map[string]string) error {
	var text strings.Builder
	for _, m := range mutations {
		if test := killers[m.name]; test != "" {
			fmt.Fprintf(&text, "%s: %s\n", m.name, test)
		}
	}
	return os.WriteFile(killersFile, []byte(text.String()), 0o600)
}

// selector is what the name of the environment variable begins with that selects one of the mutants
// that are compiled together, by its number.
const selector = "WARMPAGE_POOL_MUTANT"

// A schemata is a copy of the module that has many mutants.
type schemata struct {
	dir string
	has map[string]bool // by the mutants' names

	mu    sync.Mutex
	built map[string]string // test binaries by the flag -tags and the package
}

// newSchemata puts those of the mutants together that can be.
func newSchemata(dir string, mutants []mutation) (*schemata, error) {
	s := &schemata{dir: dir, has: make(map[string]bool), built: make(map[string]string)}
	byFile := make(map[string][]mutation)
	for _, m := range mutants {
		byFile[m.file] = append(byFile[m.file], m)
	}
	packages := make(map[string]string) // by directory
	for file, mutants := range byFile {
		path := filepath.Join(dir, file)
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, path, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		packages[filepath.Dir(path)] = syntax.Name.Name
		text := string(source)
		var functions strings.Builder
		for _, decl := range slices.Backward(syntax.Decls) {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			offset := func(p token.Pos) int { return set.Position(p).Offset }
			begin, end := offset(f.Pos()), offset(f.End())
			calls := ""
			for _, m := range mutants {
				at, err := m.find(string(source))
				if err != nil {
					return nil, err
				}
				if at < begin || at+len(m.old) > end {
					continue
				}
				name := fmt.Sprintf("mutant%d%s", numberOf(m), f.Name.Name) // not exported
				call, ok := callOf(f, name)
				if !ok {
					continue
				}
				s.has[m.name] = true
				calls += fmt.Sprintf(" if mutantNumber == %d { %s };", numberOf(m), call)
				mutant := string(source[begin:at]) + m.new + string(source[at+len(m.old):end])
				fmt.Fprintf(&functions, "\n%s\n", strings.Replace(mutant, f.Name.Name+"(", name+"(", 1))
			}
			body := offset(f.Body.Lbrace) + 1
			text = text[:body] + calls + text[body:]
		}
		if err := os.WriteFile(path, []byte(text+functions.String()), 0o600); err != nil {
			return nil, err
		}
	}
	for dir, name := range packages {
		text := fmt.Sprintf("package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar mutantNumber, _ = strconv.Atoi(os.Getenv(%q))\n", name, selector)
		if err := os.WriteFile(filepath.Join(dir, "mutant_number.go"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// numberOf returns the number of a mutation, from 1 on.
func numberOf(m mutation) int {
	return 1 + slices.IndexFunc(mutations, func(other mutation) bool { return other.name == m.name })
}

// callOf returns a statement by which f does what the function with the name does instead, which has
// the same parameters. It reports false if there is none.
func callOf(f *ast.FuncDecl, name string) (string, bool) {
	if isNosplit(f) || f.Type.TypeParams != nil || f.Recv == nil && f.Name.Name == "init" {
		return "", false
	}
	var args []string
	for _, field := range f.Type.Params.List {
		for _, id := range field.Names {
			arg := id.Name
			if _, ok := field.Type.(*ast.Ellipsis); ok {
				arg += "..."
			}
			args = append(args, arg)
		}
		if len(field.Names) == 0 {
			return "", false
		}
	}
	if f.Recv != nil {
		if len(f.Recv.List[0].Names) == 0 {
			return "", false
		}
		name = f.Recv.List[0].Names[0].Name + "." + name
	}
	call := fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
	if slices.Contains(args, "_") || strings.HasPrefix(name, "_.") {
		return "", false
	}
	if f.Type.Results == nil {
		return call + "; return", true
	}
	return "return " + call, true
}

// isNosplit reports whether f must not be preempted. There is no stack for one more such call.
func isNosplit(f *ast.FuncDecl) bool {
	return f.Doc != nil && slices.ContainsFunc(f.Doc.List, func(c *ast.Comment) bool { return c.Text == "//go:nosplit" })
}

// binary returns the test binary for the arguments of go test, which it compiles first if there is
// none, and the arguments for the binary.
func (s *schemata) binary(args []string) (path string, flags []string, err error) {
	pkg := args[len(args)-1]
	build := []string{"test", "-c", "-vet", "off"}
	for k := 0; k < len(args)-1; k++ {
		switch arg := args[k]; arg {
		case "-tags":
			k++
			build = append(build, arg, args[k])
		case "-short", "-failfast", "-run", "-timeout":
			flags = append(flags, "-test."+arg[1:])
		default:
			flags = append(flags, arg)
		}
	}
	key := strings.Join(append(build, pkg), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.built[key] != "" {
		return s.built[key], flags, nil
	}
	path = filepath.Join(s.dir, fmt.Sprintf("mutants%d.test", len(s.built)))
	cmd := exec.Command("go", append(build, "-o", path, pkg)...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("the mutants do not compile together: %w\n%s", err, out)
	}
	s.built[key] = path
	return path, flags, nil
}

// A killer is a test that failed, and how if it did not say so itself.
type killer struct{ test, how string }

func (k killer) String() string { return strings.TrimSpace(k.test + " " + k.how) }

// A worker tries mutants, one at a time.
type worker struct {
	dir      string // a copy of the module
	together *schemata
	timeout  time.Duration // for each run of tests
}

// try runs the tests with the mutation made. It returns what killed the mutant, or the zero killer
// if it survived. The test last runs first, if it is not "".
func (w *worker) try(m mutation, last string) (killer, error) {
	if !w.together.has[m.name] {
		path := filepath.Join(w.dir, m.file)
		source, err := os.ReadFile(path)
		if err != nil {
			return killer{}, err
		}
		mutant, err := m.apply(string(source))
		if err != nil {
			return killer{}, err
		}
		if err := os.WriteFile(path, []byte(mutant), 0o600); err != nil {
			return killer{}, err
		}
		defer func() { _ = os.WriteFile(path, source, 0o600) }()
	}
	runs := m.runs()
	if last != "" {
		runs = append([][]string{m.only(last)}, runs...)
	}
	for _, args := range runs {
		if k, err := w.test(m, args); k != (killer{}) || err != nil {
			return k, err
		}
	}
	return killer{}, nil
}

var (
	failed  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	started = regexp.MustCompile(`(?m)^=== (?:RUN|CONT|NAME)\s+(\S+)`)
)

// test runs tests. It returns one that failed, or the one that ran when they ended in another way. It
// returns the zero killer if they passed.
func (w *worker) test(m mutation, args []string) (killer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.timeout+time.Minute) // the tests end before that
	defer cancel()
	var cmd *exec.Cmd
	if w.together.has[m.name] {
		path, flags, err := w.together.binary(args)
		if err != nil {
			return killer{}, err
		}
		cmd = exec.CommandContext(ctx, path, append([]string{"-test.paniconexit0", "-test.v", "-test.timeout", w.timeout.String()}, flags...)...)
		cmd.Dir = filepath.Join(w.together.dir, args[len(args)-1])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", selector, numberOf(m)))
	} else {
		cmd = exec.CommandContext(ctx, "go", append([]string{"test", "-vet", "off", "-v", "-timeout", w.timeout.String()}, args...)...)
		cmd.Dir = w.dir
	}
	cmd.WaitDelay = time.Second
	b, err := cmd.CombinedOutput()
	out := string(b)
	last := func(names [][]string) string {
		if names == nil {
			return ""
		}
		return names[len(names)-1][1]
	}
	if test := last(failed.FindAllStringSubmatch(out, -1)); test != "" { // whatever TestMain makes of it
		return killer{test, ""}, nil
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return killer{}, nil
	case ctx.Err() == nil && !errors.As(err, &exit):
		return killer{}, err
	case strings.Contains(out, "[build failed]"):
		return killer{}, fmt.Errorf("%s does not compile:\n%s", m.name, out)
	case strings.Contains(out, "flag provided but not defined"):
		return killer{}, fmt.Errorf("%s: go test %q: %s", m.name, args, out)
	}
	how := "crashed"
	if ctx.Err() != nil || strings.Contains(out, "test timed out") {
		how = "timed out"
	}
	return killer{last(started.FindAllStringSubmatch(out, -1)), how}, nil
}

// copyModule copies the module in the working directory to the directory to. It leaves out hidden
// directories, and those that the tests do not need.
func copyModule(to string) error {
	return filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "benchmarks" || path == "examples" || path != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), b, 0o600)
	})
}

func run() error {
	pattern := flag.String("run", "", "run only the mutants whose names match this regular `expression`")
	workers := flag.Int("j", 2, "run this many mutants at a time")
	timeout := flag.Duration("timeout", 10*time.Minute, "time for each run of tests; one that takes longer has failed")
	record := flag.Bool("record", false, "run all tests of each mutant, and write what killed it to "+killersFile)
	flag.Parse()
	if err := os.Chdir(".."); err != nil {
		return err
	}
	if _, err := os.Stat("arena.go"); err != nil {
		return errors.New("the library is not in the directory above: run this in tools, as go run ./mutants")
	}
	matching, err := regexp.Compile(*pattern)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool { return !matching.MatchString(m.name) })
	temporary, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	copyTo := func(name string) (string, error) {
		dir := filepath.Join(temporary, name)
		return dir, copyModule(dir)
	}
	dir, err := copyTo("together")
	if err != nil {
		return err
	}
	together, err := newSchemata(dir, chosen)
	if err != nil {
		return err
	}

	killers, before := killersIn(recorded), killersIn(recorded)
	if *record {
		clear(before)
	}
	queue := make(chan mutation)
	var mu sync.Mutex
	var errs []error
	killed, survived := 0, 0
	report := func(m mutation, k killer, err error) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			return err
		case k == (killer{}):
			survived++
			fmt.Printf("SURVIVED %s\n", m.name)
		default:
			killed++
			fmt.Printf("killed   %s: %s\n", m.name, k)
		}
		if !*record {
			return nil
		}
		killers[m.name] = k.test
		return writeKillers(killers) // after each, for it takes long
	}
	var wg sync.WaitGroup
	for i := range *workers {
		dir, err := copyTo(fmt.Sprint(i))
		if err != nil {
			return err
		}
		w := &worker{dir, together, *timeout}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for m := range queue {
				k, err := w.try(m, before[m.name])
				if err = report(m, k, err); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		}()
	}
	for _, m := range chosen {
		queue <- m
	}
	close(queue)
	wg.Wait()
	fmt.Printf("killed %d of %d\n", killed, killed+survived)
	if survived > 0 {
		errs = append(errs, fmt.Errorf("%d mutants survived", survived))
	}
	return errors.Join(errs...)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
