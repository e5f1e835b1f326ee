package group

import "testing"

func TestNumbers(t *testing.T) {
	if s := Numbers(); s != "1 2 3 text!\n" {
		t.Error(s)
	}
}
