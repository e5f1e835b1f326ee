//go:build pooldebug

package pool

import "testing"

// noQuarantine makes what is put free at once, for tests that count pages.
func noQuarantine(t testing.TB) {
	before := quarantineBytes
	quarantineBytes = 0
	t.Cleanup(func() { quarantineBytes = before })
}

// forgetPast makes a slot that simulated shards hand out one that was never put.
func forgetPast(c *core, x uintptr) {
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	delete(c.watches.history.slots, x)
}
