//go:build unix

package pool

import (
	"os"
	"syscall"
)

func init() {
	interrupt = func() { _ = syscall.Kill(os.Getpid(), syscall.SIGURG) }
}
