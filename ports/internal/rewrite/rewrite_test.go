package rewrite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const before = `package p

import (
	"fmt"
	"sync"
)

// A comment that stays.
var (
	users = sync.Pool{New: func() any { return new(user) }} // and so does this
	names sync.Pool

	reads, writes sync.Pool
)

type cache struct {
	pool *sync.Pool
}

func get() *user { return users.Get().(*user) }

func (c *cache) put(u *user) {
	defer fmt.Println(u)
	c.pool.Put(u)
}

func make() *cache {
	c := &cache{pool: &sync.Pool{}}
	c.pool.New = func() any { return new(user) }
	return c
}

func has() bool {
	_, ok := users.Get().(*user)
	return ok
}

func gone2() { println() }

func gone() {}
`

const after = `package p

import (
	warm "example.com/pool"
)

// A comment that stays.
var (
	users = warm.New[user]() // and so does this
	names = warm.New[name]()

	reads, writes = 1, 2
)

type cache struct {
	pool *warm.Pool[user]
}

func get() *user { return users.Get() }

func (c *cache) put(u *user) {

	c.pool.Put(u)
}

func make() *cache {
	c := &cache{pool: nil}
	c.pool = users
	return c
}

func has() bool {
	_, ok := users.Get(), true
	return ok
}

func gone2() {
	return
}

type name [8]byte
`

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "p.go")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFile(t *testing.T) {
	path := write(t, before)
	f := Open(path)
	f.Value("users", "warm.New[user]()")
	f.Value("names", "warm.New[name]()")
	f.Value("reads", "1, 2")
	f.Field("cache", "pool", "*warm.Pool[user]")
	f.Gets("users")
	f.Undefer("fmt.Println(u)")
	f.Expr("&sync.Pool{}", "nil")
	f.Assign("c.pool.New", "c.pool = users")
	f.Body("gone2", "return")
	f.Remove("gone")
	f.Append("type name [8]byte")
	require.NoError(t, f.Save(map[string]string{"warm": "example.com/pool", "other": "example.com/other"}))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, after, string(got))
}

// A place that is not there is an error that names it, and the file stays as it is.
func TestNotFound(t *testing.T) {
	for want, change := range map[string]func(*File){
		"variable nobody":            func(f *File) { f.Value("nobody", "1") },
		"field cache.nobody":         func(f *File) { f.Field("cache", "nobody", "int") },
		"nobody.Get().(T)":           func(f *File) { f.Gets("nobody") },
		"defer nobody()":             func(f *File) { f.Undefer("nobody()") },
		"function nobody":            func(f *File) { f.Body("nobody", "") },
		"expression nobody":          func(f *File) { f.Expr("nobody", "1") },
		"assignment to nobody":       func(f *File) { f.Assign("nobody", "") },
		"two edits overlap at byte ": func(f *File) { f.Expr("new(user)", "2"); f.Value("users", "1") },
	} {
		path := write(t, before)
		f := Open(path)
		change(f)
		require.ErrorContains(t, f.Save(nil), want)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, string(got))
	}
	assert.Error(t, Open("nowhere.go").Save(nil))
	assert.Error(t, Open(write(t, "no go")).Save(nil))
}
