//go:build unix

package pool

import (
	"os"
	"syscall"
)

// interrupt sends the process the signal by which Go preempts goroutines.
func interrupt() { _ = syscall.Kill(os.Getpid(), syscall.SIGURG) }
