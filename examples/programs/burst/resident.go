package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
)

// readResident returns the resident memory of this process, in bytes. ok is false if the system
// does not report it.
func readResident() (n int64, ok bool) {
	if runtime.GOOS != "linux" {
		return 0, false
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false // this system has no /proc
	}
	n, err = parseStatm(text, os.Getpagesize())
	return n, err == nil
}

// parseStatm returns the resident memory in bytes. That is the second number of a statm file
// (proc_pid_statm(5)), which counts pages, times pageSize.
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
