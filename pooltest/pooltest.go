// Package pooltest finds slots that tests have not put. [New] makes a pool for one test, and fails the
// test if slots are out at its end. [VerifyNone] does so for all pools at the end of all tests of a
// package:
//
//	func TestMain(m *testing.M) { pooltest.VerifyNone(m) }
//
// Both list the slots by the stacks that got them. Those of New's pools are always known. Other pools
// know them if they have [pool.WithProfile](1), and in tests with -tags pooldebug all of them do.
package pooltest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warmpage/pool"
)

// New makes a pool for a test, and closes it when the test and its subtests have ended. If slots are
// out then, it waits for a moment for goroutines that are about to put them, and then the test fails.
// The test may close the pool itself.
//
// The pool has the name of the test, and the stack of each Get is kept, which takes a microsecond. (In
// benchmarks no stack is kept.) Options in opts come after that, so [pool.WithName] and
// [pool.WithProfile] replace these two. New panics where [pool.New] does. It is safe for concurrent
// use, in parallel tests, and in bubbles of testing/synctest.
//
// Slots of a pool with [pool.WithGoHeap] that the garbage collector has taken fail the test, too: the
// test has forgotten them.
func New[T any](t testing.TB, opts ...pool.Option) *pool.Pool[T] {
	t.Helper()
	ours := []pool.Option{pool.WithName(t.Name())}
	if _, ok := t.(*testing.B); !ok {
		ours = append(ours, pool.WithProfile(1))
	}
	p := pool.New[T](append(ours, opts...)...)
	t.Cleanup(func() {
		t.Helper()
		var text string
		settle(func() bool {
			text = describe(p.Stats())
			return text == ""
		})
		if text != "" {
			t.Error(text)
			reported.add(p.Stats().ID)
		}
		if err := closeQuietly(p.Close); err != nil && text == "" && !errors.Is(err, pool.ErrClosed) {
			t.Error(err)
		}
	})
	return p
}

// closeQuietly returns what Close returns, or what it panics with: with -tags pooldebug, that a slot
// is damaged.
func closeQuietly(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok {
				panic(r)
			}
		}
	}()
	return f()
}

// reported are the pools whose slots have been listed.
var reported poolSet

// A poolSet is a set of pools, by their ids.
type poolSet struct {
	mu  sync.Mutex
	ids map[uint64]bool
}

func (s *poolSet) add(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[uint64]bool)
	}
	s.ids[id] = true
}

func (s *poolSet) has(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// An Option changes what [VerifyNone] looks at.
type Option func(*verifier)

// Ignore leaves pools with these names out: those that hold slots on purpose, as a cache does.
func Ignore(names ...string) Option {
	return func(v *verifier) { v.ignored = append(v.ignored, names...) }
}

type verifier struct{ ignored []string }

// VerifyNone runs the tests of a package and ends the process, as [os.Exit] does. If slots are in use
// after the tests, it waits for a moment for goroutines that are about to put them. Then it writes to
// stderr which pools have slots in use, or have lost some to the garbage collector, and the process
// ends with a code that is not 0, as if a test had failed. It lists nothing again that [New] has.
//
// It looks at all open pools of the process, those of a [pool.Bytes] included. A pool with
// [pool.WithGoHeap] that the program has forgotten is gone. Call VerifyNone in TestMain, and nowhere
// else.
func VerifyNone(m *testing.M, opts ...Option) { os.Exit(verify(m.Run, os.Stderr, opts)) }

// verify is VerifyNone without the end.
func verify(run func() int, stderr io.Writer, opts []Option) (code int) {
	var v verifier
	for _, opt := range opts {
		opt(&v)
	}
	code = run()
	var texts []string
	settle(func() bool {
		texts = v.leaking()
		return len(texts) == 0
	})
	if len(texts) == 0 {
		return code
	}
	fmt.Fprintf(stderr, "pooltest: slots are in use after the tests:\n\n%s\n", strings.Join(texts, "\n\n"))
	return max(code, 1)
}

// leaking describes the pools with slots in use.
func (v *verifier) leaking() (texts []string) {
	for _, st := range pool.ReadStats() {
		if slices.Contains(v.ignored, st.Name) || reported.has(st.ID) {
			continue
		}
		if text := describe(st); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// longestPause makes settle give up after about a second. Tests change it.
var longestPause = time.Second / 2

// settle calls done until it reports true, or until it has taken long enough.
func settle(done func() bool) {
	for pause := time.Millisecond; !done() && pause <= longestPause; pause *= 2 {
		runtime.Gosched()
		time.Sleep(pause)
	}
}

// describe lists what a pool has in use, or returns "" if that is nothing.
func describe(st pool.Stats) string {
	if st.Live == 0 && st.Lost == 0 {
		return ""
	}
	var b strings.Builder
	name := st.Type
	if st.Name != "" {
		name = fmt.Sprintf("%q (%s)", st.Name, st.Type)
	}
	fmt.Fprintf(&b, "pool %s: %s not put", name, slots(st.Live))
	if st.Lost != 0 {
		fmt.Fprintf(&b, ", and %s forgotten, which the garbage collector has taken", slots(int(st.Lost)))
	}
	byStack := make(map[string]int)
	for _, leak := range pool.Leaks() {
		if leak.ID == st.ID {
			byStack[leak.Stack()]++
		}
	}
	stacks := slices.SortedFunc(maps.Keys(byStack), func(a, b string) int {
		return cmp.Or(byStack[b]-byStack[a], strings.Compare(a, b))
	})
	known := 0
	for _, stack := range stacks {
		known += byStack[stack]
		fmt.Fprintf(&b, "\n%d got at:\n%s", byStack[stack], strings.TrimSuffix(stack, "\n"))
	}
	if st.Live > known {
		fmt.Fprintf(&b, "\n%d got at places that are not known: test with -tags pooldebug, or make the pool with WithProfile(1)", st.Live-known)
	}
	return b.String()
}

// slots returns n with the verb that follows.
func slots(n int) string {
	if n == 1 {
		return "1 slot was"
	}
	return fmt.Sprintf("%d slots were", n)
}
