package main

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/process"
)

// A sample is what /stats returns, and what the page draws.
type sample struct {
	Process  string // differs after a restart
	Sequence uint64 // number in the history, from 1; /stats returns the number of the last one there
	Time     int64  // in milliseconds since 1970
	Variant  variant

	Sources  [2]usage // of scratch and of sessions
	Memory   memory
	Resident process.Resident

	Answered, Refused uint64 // requests

	Collections process.Collections
	CPU         time.Duration // CPU time of the process; 0: unknown
}

// sample takes a sample, without Process and Sequence.
func (s *service) sample() sample {
	sources := [2]usage{s.scratch.usage(), s.sessions.usage()}
	return sample{
		Time:        time.Now().UnixMilli(),
		Variant:     s.variant,
		Sources:     sources,
		Memory:      readMemory(s.variant, sources[:]),
		Resident:    process.ReadResident(),
		Answered:    s.answered.Load(),
		Refused:     s.refused.Load(),
		Collections: process.ReadCollections(),
		CPU:         process.CPU(),
	}
}

// A history holds the samples of the last minutes, as JSON, and lets goroutines wait for the next
// one. Its methods are safe for concurrent use.
type history struct {
	process string
	keep    int // how many samples to keep

	mu    sync.Mutex // guards the fields below
	last  uint64     // sequence number of the last sample
	kept  [][]byte
	added chan struct{} // closed when the next sample is added
}

func newHistory(keep int) *history {
	return &history{
		process: strconv.FormatInt(time.Now().UnixNano(), 36),
		keep:    keep,
		added:   make(chan struct{}),
	}
}

// add adds a sample, with the next sequence number.
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

// label returns s with the process and the sequence number of the last sample in the history.
func (h *history) label(s sample) sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Process, s.Sequence = h.process, h.last
	return s
}

// after returns the samples that are still kept and have a higher sequence number than the given
// one. It also returns the number of the last one, and a channel that is closed when there is
// another one.
func (h *history) after(sequence uint64) (samples [][]byte, last uint64, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(h.last-min(sequence, h.last), uint64(len(h.kept)))
	return append(samples, h.kept[len(h.kept)-int(n):]...), h.last, h.added
}
