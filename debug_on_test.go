//go:build pooldebug

package pool

import "testing"

// noQuarantine makes what is put free at once, for tests that count pages.
func noQuarantine(t testing.TB) {
	before := quarantineBytes
	quarantineBytes = 0
	t.Cleanup(func() { quarantineBytes = before })
}
