package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// resident is what the system says about this process's resident memory, in bytes.
type resident struct {
	Now, Peak int64
	Known     bool // false if the system does not report it
}

func readResident() resident {
	if runtime.GOOS != "linux" {
		return resident{}
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return resident{} // this system has no /proc
	}
	now, err1 := parseStatus(text, "VmRSS")
	peak, err2 := parseStatus(text, "VmHWM")
	return resident{Now: now, Peak: peak, Known: err1 == nil && err2 == nil}
}

// parseStatus returns the size with the given name from a status file (proc_pid_status(5)), in
// bytes.
func parseStatus(text []byte, name string) (int64, error) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != name+":" {
			continue
		}
		n, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil || n < 0 || string(fields[2]) != "kB" {
			return 0, fmt.Errorf("status: %q is not a size", line)
		}
		return n * 1024, nil
	}
	return 0, fmt.Errorf("status: no %s", name)
}

// readCPU returns the CPU time that the process has used, or 0 if the system does not report it.
func readCPU() time.Duration {
	if runtime.GOOS != "linux" {
		return 0
	}
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	d, _ := parseStat(text)
	return d
}

// parseStat returns the sum of user and system time in a stat file (proc_pid_stat(5)). The file has
// them in hundredths of a second.
func parseStat(text []byte) (time.Duration, error) {
	// The second field, the name of the program, may contain blanks. It ends with the last ")".
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields after the name, not 50", len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("stat: %q is not a time", f)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
