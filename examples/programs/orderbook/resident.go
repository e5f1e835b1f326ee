package main

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// readResident returns how many bytes of this process are resident now, and how many were at the
// peak. Both are 0 if the system does not report them. Only Linux does.
func readResident() (now, peak int64) {
	if runtime.GOOS != "linux" {
		return 0, 0
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0 // this system has no /proc
	}
	return statusBytes(text, "VmRSS"), statusBytes(text, "VmHWM")
}

// statusBytes returns the size with the given name from a status file (proc_pid_status(5)), in
// bytes. The file has sizes in kB. It returns 0 if there is no such size.
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
