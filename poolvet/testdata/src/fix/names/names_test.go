package names

import "testing"

func TestFill(t *testing.T) {
	if n := Fill(1); n != 136 {
		t.Error(n)
	}
}
