//go:build !linux && !windows

package pool

// osBarrier reports that the system has no barrier: see barrier in own_pin.go.
func osBarrier() bool { return false }
