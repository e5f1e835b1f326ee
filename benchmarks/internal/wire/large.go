package wire

import (
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// The large study: bursts of byte arrays, up to 1 MiB each.

// OnGoHeap is this pool WithGoHeap, in the large study and that of bytes.
const OnGoHeap catalog.Side = "pool, Go heap"

// LargeSides are those of the large study.
var LargeSides = []catalog.Side{catalog.Pool, OnGoHeap, catalog.SyncPool}

// LargeSpec asks for bursts of arrays of Size bytes. A burst gets some objects, writes each of them
// and puts them all. There is a process for each size.
type LargeSpec struct {
	Size    int   `json:"size"`
	Objects []int `json:"objects"` // of a burst
	// Steps say what is written: a byte at every multiple of one of them. Size stands for the first
	// byte only.
	Steps []int `json:"steps"`
	Timing
	Turn     int           `json:"turn"`     // which side is first
	Quickest time.Duration `json:"quickest"` // probe so far
}

// Large is the answer.
type Large struct {
	Cells    []LargeCell   `json:"cells"`
	Skipped  string        `json:"skipped"` // why there is none: the pool has no such slots
	Quickest time.Duration `json:"quickest"`
}

// A LargeCell is one kind of burst.
type LargeCell struct {
	Objects int                        `json:"objects"`
	Step    int                        `json:"step"`
	Quiet   bool                       `json:"quiet"` // enough slices were; else figures are of all of them
	Sides   map[catalog.Side]LargeCost `json:"sides"`
}

// A LargeCost is that of one side. Slow and Releases are of all that came after a warm-up, and zero
// for sync.Pool.
type LargeCost struct {
	NS       float64 `json:"ns"`       // an object
	Slow     float64 `json:"slow"`     // share of Gets
	Releases float64 `json:"releases"` // pages in each burst
}

// LargeMemorySpec asks for what is left of some bursts after a while.
type LargeMemorySpec struct {
	Side    catalog.Side  `json:"side"`
	Size    int           `json:"size"`
	Objects int           `json:"objects"`
	Bursts  int           `json:"bursts"`
	Idle    time.Duration `json:"idle"`
}

// LargeMemory is the answer, in MiB. Bursts write a byte on every page of the system.
type LargeMemory struct {
	LargeMemorySpec
	Skipped string `json:"skipped,omitempty"`
	// Resident is what the process has in memory: before the first burst, after the last Put, and
	// when the time is over.
	Resident [3]float64 `json:"resident"`
	// Heap is what objects of the Go heap have: after the last Put, and when the time is over and one
	// collection has run, and two.
	Heap      [3]float64 `json:"heap"`
	Committed float64    `json:"committed"` // of the pool when the time is over, without garbage of the Go heap
}
