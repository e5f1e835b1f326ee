//go:build pooldebug

package pool

import "testing"

func init() {
	noQuarantine = func(t testing.TB) {
		before := quarantineBytes
		quarantineBytes = 0
		t.Cleanup(func() { quarantineBytes = before })
	}
	forgetPast = func(c *core, x uintptr) {
		c.watches.mu.Lock()
		defer c.watches.mu.Unlock()
		delete(c.watches.history.slots, x)
	}
}
