package simple

import (
	"strings"
	"testing"
)

func TestSimple(t *testing.T) {
	for range 3 {
		if n, err := Sum(strings.NewReader("\x01\x01\x01")); n != 6 || err != nil {
			t.Error(n, err)
		}
		var b strings.Builder
		if n := Copy(&b, "abc", "", "def"); n != 6 || b.String() != "abcdef" {
			t.Error(n, b.String())
		}
		if n := Count([]byte("abc")); n != 3 {
			t.Error(n)
		}
		if s := Upper("abc"); s != "ABC" {
			t.Error(s)
		}
	}
	// A test is a user as well.
	s := states.Get().(*state)
	s.n = 1
	states.Put(s)
}
