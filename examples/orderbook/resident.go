package main

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// readResident returns how many bytes of this process are in memory, and how many
// were at most. They are 0 where the system does not tell, which is everywhere but
// on Linux.
func readResident() (now, peak int64) {
	if runtime.GOOS != "linux" {
		return 0, 0
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0 // no /proc here
	}
	return statusBytes(text, "VmRSS"), statusBytes(text, "VmHWM")
}

// statusBytes returns a size from a status file (proc_pid_status(5)), in which
// they are in kB, or 0.
func statusBytes(text []byte, name string) int64 {
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
