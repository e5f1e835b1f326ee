package main

import (
	"encoding/json"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"
)

// A sample is what /stats tells, and the page draws.
type sample struct {
	Process  string // another one after a restart
	Sequence uint64 // of the samples in the history; that of /stats has the last one's
	Time     int64  // in milliseconds since 1970
	Variant  variant

	Sources  [2]usage // scratch, sessions
	Memory   memory
	Resident resident

	Answered, Refused uint64 // requests

	Collections collections
	CPU         time.Duration // that the process has taken; 0: the system does not tell
}

// sample takes one.
func (s *service) sample() sample {
	sources := [2]usage{s.scratch.usage(), s.sessions.usage()}
	return sample{
		Time:        time.Now().UnixMilli(),
		Variant:     s.variant,
		Sources:     sources,
		Memory:      readMemory(s.variant, sources[:]),
		Resident:    readResident(),
		Answered:    s.answered.Load(),
		Refused:     s.refused.Load(),
		Collections: readCollections(),
		CPU:         readCPU(),
	}
}

// collections is what the garbage collector has done since the process began. What
// it did for a collection that is not finished is not in CPU yet.
type collections struct {
	Cycles int64
	Pause  time.Duration
	CPU    time.Duration // of all processors together, idle ones included that helped
}

func readCollections() collections {
	cpu := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(cpu)
	var st debug.GCStats // in contrast to ReadMemStats, this does not stop the process
	debug.ReadGCStats(&st)
	return collections{
		Cycles: st.NumGC,
		Pause:  st.PauseTotal,
		CPU:    time.Duration(cpu[0].Value.Float64() * float64(time.Second)),
	}
}

func (c collections) since(before collections) collections {
	return collections{c.Cycles - before.Cycles, c.Pause - before.Pause, c.CPU - before.CPU}
}

// A history is the samples of the last minutes, as JSON, and whoever waits for the
// next.
type history struct {
	process string
	keep    int

	mu    sync.Mutex
	last  uint64 // sequence number
	kept  [][]byte
	added chan struct{} // closed with the next sample
}

func newHistory(keep int) *history {
	return &history{
		process: strconv.FormatInt(time.Now().UnixNano(), 36),
		keep:    keep,
		added:   make(chan struct{}),
	}
}

func (h *history) add(s sample) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Process, s.Sequence = h.process, h.last+1
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	h.last++
	if h.kept = append(h.kept, text); len(h.kept) > h.keep {
		h.kept = append(h.kept[:0], h.kept[1:]...)
	}
	close(h.added)
	h.added = make(chan struct{})
	return nil
}

// label gives s what says where in the history it belongs.
func (h *history) label(s sample) sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Process, s.Sequence = h.process, h.last
	return s
}

// after returns the samples after that of a sequence number, those that are kept, the
// number of the last, and what is closed when there is one more.
func (h *history) after(sequence uint64) (samples [][]byte, last uint64, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(h.last-min(sequence, h.last), uint64(len(h.kept)))
	return append(samples, h.kept[len(h.kept)-int(n):]...), h.last, h.added
}
