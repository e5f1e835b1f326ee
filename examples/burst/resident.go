package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
)

// readResident returns how many bytes of this process are in memory. Not ok: the
// system does not tell.
func readResident() (n int64, ok bool) {
	if runtime.GOOS != "linux" {
		return 0, false
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false // no /proc here
	}
	n, err = parseStatm(text, os.Getpagesize())
	return n, err == nil
}

// parseStatm returns the second number of a statm file (proc_pid_statm(5)), the
// resident pages, in bytes.
func parseStatm(text []byte, pageSize int) (int64, error) {
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm has %d fields, not 7: %q", len(fields), text)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil || pages < 0 {
		return 0, fmt.Errorf("statm: %q is not a number of pages", fields[1])
	}
	return pages * int64(pageSize), nil
}
