// Mutants breaks the library on purpose, one place at a time, and expects the tests to fail. A
// mutant that survives is a hole in the tests.
//
//	go run ./tools/mutants [-run regexp] [-j 2] [-timeout 3m]
//
// It works on copies of the module. For each mutant it prints a test that failed, and at the end
// how many mutants were killed. It exits with status 1 if one survived.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// apply returns source with the mutation made. It is an error if old is not there exactly once.
func (m mutation) apply(source string) (string, error) {
	if n := strings.Count(source, m.old); n != 1 {
		return "", fmt.Errorf("%s: %s contains the text to replace %d times, not once: update tools/mutants", m.name, m.file, n)
	}
	return strings.Replace(source, m.old, m.new, 1), nil
}

// try runs the tests on the copy of the module at dir, with the mutation made. It returns what
// killed the mutant, or "" if it survived.
func (m mutation) try(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	mutant, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(mutant), 0o600); err != nil {
		return "", err
	}
	defer func() { _ = os.WriteFile(path, source, 0o600) }()
	if m.tests != nil {
		return m.test(ctx, dir, m.tests)
	}
	killer, err := m.test(ctx, dir, everyday)
	if killer == "" && err == nil {
		killer, err = m.test(ctx, dir, steps)
	}
	return killer, err
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// test runs go test in dir. It returns the name of a test that failed, "timed out" if ctx ended
// before the tests did, "crashed" if they failed without naming a test, and "" if they passed.
func (m mutation) test(ctx context.Context, dir string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "timed out", nil
	case !errors.As(err, &exit):
		return "", err
	case strings.Contains(string(out), "[build failed]"):
		return "", fmt.Errorf("%s does not compile:\n%s", m.name, out)
	}
	if tests := failed.FindAllStringSubmatch(string(out), -1); tests != nil {
		return tests[len(tests)-1][1], nil
	}
	return "crashed", nil
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
	timeout := flag.Duration("timeout", 3*time.Minute, "time for each mutant; one that takes longer counts as killed")
	flag.Parse()
	if _, err := os.Stat("arena.go"); err != nil {
		return errors.New("no arena.go here: run this in the root of the module, as go run ./tools/mutants")
	}
	chosen, err := regexp.Compile(*pattern)
	if err != nil {
		return err
	}
	queue := make(chan mutation)
	var mu sync.Mutex
	var errs []error
	killed, survived := 0, 0
	var wg sync.WaitGroup
	for range *workers {
		dir, err := os.MkdirTemp("", "mutants")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := copyModule(dir); err != nil {
			return err
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for m := range queue {
				ctx, cancel := context.WithTimeout(context.Background(), *timeout)
				killer, err := m.try(ctx, dir)
				cancel()
				mu.Lock()
				switch {
				case err != nil:
					errs = append(errs, err)
				case killer == "":
					survived++
					fmt.Printf("SURVIVED %s\n", m.name)
				default:
					killed++
					fmt.Printf("killed   %s: %s\n", m.name, killer)
				}
				mu.Unlock()
			}
		}()
	}
	for _, m := range mutations {
		if chosen.MatchString(m.name) {
			queue <- m
		}
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
