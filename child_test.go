package pool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Tests that crash, or that change what all pools of a process share, run in a
// process of their own: the test binary starts itself again, with one of these in
// its environment.
const (
	crashEnv = "WARMPAGE_POOL_CRASH" // the name of one of misuses, refusals or mistakes
	childEnv = "WARMPAGE_POOL_CHILD" // the name of a test that calls inChild
)

// TestMain makes the process do what crashEnv says instead of the tests. It is
// not a test that does it, because package testing would recover the panic, and
// then say so in the line that TestCrash compares.
func TestMain(m *testing.M) {
	name, ok := os.LookupEnv(crashEnv)
	if !ok {
		os.Exit(m.Run())
	}
	for _, c := range slices.Concat(misuses, refusals) {
		if c.name == name {
			c.do()
		}
	}
	for _, m := range append(mistakes, lateUse) {
		if m.name == name {
			m.do()
		}
	}
}

// runSelf runs the test binary. It skips the test where that cannot be done.
func runSelf(t *testing.T, env string, args ...string) (stdout, stderr string, code int) {
	self, err := os.Executable()
	if err != nil {
		t.Skip("the test binary cannot be found again: ", err)
	}
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), env, "GOTRACEBACK=single",
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // else a second at the end of each
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Skip("no process can be started: ", err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// goNeeds is how Go says that it dies for want of memory or threads of its own.
var goNeeds = regexp.MustCompile(`(fatal error: .*(out of memory|cannot allocate memory|new OS thread)|pthread_create failed).*` +
	`|SIGSEGV: .*\n(.*\n){1,4}runtime\.\(\*spanQueue\)`) // Go 1.26: a queue that could not grow

// inChild runs the calling test once more in a process of its own, and reports
// whether it is called there. The caller returns if not.
func inChild(t *testing.T) bool {
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	stdout, stderr, code := runSelf(t, childEnv+"="+t.Name(), "-test.run="+run, "-test.v", "-test.timeout=2m",
		"-test.short="+strconv.FormatBool(testing.Short()))
	if strings.Contains(stdout, "--- SKIP: "+t.Name()) {
		t.Skip(stdout)
	}
	if needy := goNeeds.FindString(stderr); needy != "" {
		t.Skip("Go itself was refused what it does not survive: ", needy)
	}
	require.Zero(t, code, "%s%s", stdout, stderr)
	require.Contains(t, stdout, "--- PASS: "+t.Name())
	t.Log(stdout)
	return false
}

// A group is a sync.WaitGroup with the Go of later releases: Go 1.24 has none.
type group struct{ sync.WaitGroup }

func (g *group) Go(f func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		f()
	}()
}
