package main

import (
	"os"
	"syscall"
)

// peakMiB is the most that an ended process had resident.
func peakMiB(s *os.ProcessState) float64 {
	usage, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / 1024
}
