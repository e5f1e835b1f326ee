//go:build unix

package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the CPU time that the process has used, or 0 if the system does not say.
func CPU() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
