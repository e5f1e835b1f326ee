// Package process says what this process has in memory and what it has used.
package process

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// A Resident is what the system says of the process's resident memory, in bytes.
type Resident struct {
	Now, Peak int64
	Known     bool // false if the system does not say; only Linux does
}

var self = sync.OnceValues(procfs.Self)

// ReadResident reads what is resident.
func ReadResident() Resident {
	p, err := self()
	if err != nil {
		return Resident{} // this system has no /proc
	}
	st, err := p.NewStatus()
	if err != nil || st.VmRSS == 0 {
		return Resident{} // or another one
	}
	return Resident{Now: int64(st.VmRSS), Peak: int64(st.VmHWM), Known: true}
}

// ResidentNow is ReadResident without the peak. It allocates a quarter as often.
func ResidentNow() (n int64, ok bool) {
	p, err := self()
	if err != nil {
		return 0, false
	}
	st, err := p.Stat()
	return int64(st.ResidentMemory()), err == nil && st.RSS > 0
}

// Collections is what the garbage collector has done since the process began. CPU does not yet
// include a collection that is still under way.
type Collections struct {
	Cycles int64
	Pause  time.Duration // the sum of all pauses
	CPU    time.Duration // of all processors, including what it used of idle ones
}

// ReadCollections reads what the collector has done. It does not stop the program.
func ReadCollections() Collections {
	cpu := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(cpu)
	var st debug.GCStats
	debug.ReadGCStats(&st)
	return Collections{
		Cycles: st.NumGC,
		Pause:  st.PauseTotal,
		CPU:    time.Duration(cpu[0].Value.Float64() * float64(time.Second)),
	}
}

// Since returns what has come since before.
func (c Collections) Since(before Collections) Collections {
	return Collections{c.Cycles - before.Cycles, c.Pause - before.Pause, c.CPU - before.CPU}
}
