package pool

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func names(all []Stats) (names []string) {
	for _, st := range all {
		if st.Name != "" {
			names = append(names, st.Name)
		}
	}
	return names
}

func TestReadStats(t *testing.T) {
	before := len(names(ReadStats()))
	p := newStill[[64]byte](t, WithName("first"))
	q := New[[8]byte](WithName("second"))
	x := p.Get()
	all := ReadStats()
	assert.Equal(t, []string{"first", "second"}, names(all)[before:], "in the order of New")
	k := slices.IndexFunc(all, func(st Stats) bool { return st.Name == "first" })
	assert.Equal(t, p.Stats(), all[k])
	assert.Equal(t, 1, all[k].Live)
	assert.Equal(t, "[64]uint8", all[k].Type)
	assert.Less(t, all[k].ID, q.Stats().ID)
	p.Put(x)
	require.NoError(t, q.Close())
	assert.Equal(t, []string{"first"}, names(ReadStats())[before:])
}

// A pool without pages that nothing refers to is no longer one of the process.
func TestForgottenPool(t *testing.T) {
	func() { New[[8]byte](WithName("forgotten")) }()
	for range 100 {
		runtime.GC()
		if !slices.Contains(names(ReadStats()), "forgotten") {
			return
		}
	}
	t.Fatal("it is still there")
}

func TestLeaks(t *testing.T) {
	p := newStill[[64]byte](t, WithName("leaky"))
	x := p.Get()
	leaks := slices.DeleteFunc(Leaks(), func(l Leak) bool { return l.Pool != "leaky" })
	if debugging {
		require.Len(t, leaks, 1)
		assert.Equal(t, address(x), leaks[0].Addr)
		assert.Equal(t, "[64]uint8", leaks[0].Type)
		assert.Contains(t, leaks[0].String(), "registry_test.go:")
	} else {
		assert.Empty(t, leaks)
	}
	p.Put(x)
	assert.Contains(t, Leak{Pool: "p", Type: "T", Addr: 16, stack: callers()}.String(), "pool \"p\" (T): slot 0x10, got at:\n\tgithub.com/warmpage/pool.TestLeaks\n")
}
