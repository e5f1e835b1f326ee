package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// resident is what the system says of this process's memory, in bytes.
type resident struct {
	Now, Peak int64
	Known     bool // else it does not say
}

func readResident() resident {
	if runtime.GOOS != "linux" {
		return resident{}
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return resident{} // no /proc here
	}
	now, err1 := parseStatus(text, "VmRSS")
	peak, err2 := parseStatus(text, "VmHWM")
	return resident{Now: now, Peak: peak, Known: err1 == nil && err2 == nil}
}

// parseStatus returns a size from a status file (proc_pid_status(5)) in bytes.
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

// readCPU returns the processor time that the process has taken, 0 where the system
// does not tell.
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

// parseStat adds up user and system time of a stat file (proc_pid_stat(5)), which are
// in hundredths of a second.
func parseStat(text []byte) (time.Duration, error) {
	// The program's name, the second field, may have blanks, and ends with the last ")".
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
