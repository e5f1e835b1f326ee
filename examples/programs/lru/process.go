package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
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

// resetPeak sets Peak to what is resident now. On systems where that is impossible, Peak counts
// from the start of the process.
func resetPeak() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
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

// collections is what the garbage collector has done since the process began. CPU does not yet
// include a collection that is still under way.
type collections struct {
	Cycles uint64
	Pause  time.Duration
	CPU    time.Duration // CPU time, summed over all processors
}

func readCollections() collections {
	values := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
	}
	metrics.Read(values)
	var m runtime.MemStats // runtime/metrics has a histogram of the pauses, but not their sum
	runtime.ReadMemStats(&m)
	return collections{
		Cycles: values[0].Value.Uint64(),
		Pause:  time.Duration(m.PauseTotalNs),
		CPU:    time.Duration(values[1].Value.Float64() * float64(time.Second)),
	}
}

func (c collections) since(before collections) collections {
	return collections{c.Cycles - before.Cycles, c.Pause - before.Pause, c.CPU - before.CPU}
}
