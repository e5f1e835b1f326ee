package wire

import (
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// The goheap study, apart from its cells: a pool on the Go heap, sync.Pool or new, with objects of
// catalog.HeapSize. Each of these has a process of its own.

// HeapSides are those of the specifications below: catalog.Pool is one with WithGoHeap and no other
// option.
var HeapSides = []catalog.Side{catalog.Pool, catalog.SyncPool, catalog.New}

// KeptWarm is the side of WarmSpec that keeps enough pages for all objects.
const KeptWarm catalog.Side = "kept, WithWarmPages"

// WarmSides are those of WarmSpec.
var WarmSides = []catalog.Side{catalog.Kept, KeptWarm, catalog.SyncPool}

// WarmSpec asks how many of the objects that were put are there still after some collections.
type WarmSpec struct {
	Side        catalog.Side  `json:"side"`
	Objects     int           `json:"objects"`
	Collections int           `json:"collections"`
	Pause       time.Duration `json:"pause"` // before each collection
}

// Warm is the answer.
type Warm struct {
	WarmSpec
	Made  int `json:"made"`  // of the next Objects, those that had to be made
	There int `json:"there"` // objects that were found again, by these Gets and some more
}

// ForgottenSpec asks what becomes of objects that the program drops instead of putting them.
type ForgottenSpec struct {
	Side    catalog.Side `json:"side"`
	Objects int          `json:"objects"`
}

// Forgotten is the answer: before the first Get, with all objects held, and after each of some
// collections when they have been dropped.
type Forgotten struct {
	ForgottenSpec
	States []HeapState `json:"states"`
}

// A HeapState is how much the Go heap has, and what Stats says.
type HeapState struct {
	MiB  float64 `json:"mib"`
	Live int     `json:"live"`
	Lost uint64  `json:"lost"`
}

// CollectionsSpec asks what collections cost while a []*T holds the objects.
type CollectionsSpec struct {
	Side    catalog.Side `json:"side"`
	Objects int          `json:"objects"`
	Rounds  int          `json:"rounds"`
}

// Collections is the answer: medians of the rounds, and the 10th percentile of the pauses. Beside
// other work, most pauses are those of the kernel's scheduler.
type Collections struct {
	CollectionsSpec
	Millis    float64 `json:"millis"`    // runtime.GC by the clock
	CPUMillis float64 `json:"cpuMillis"` // of all processors
	PauseUS   float64 `json:"pauseUS"`   // both pauses of a collection
	LowUS     float64 `json:"lowUS"`
}

// RetentionSpec asks how much stays in memory when a share of the objects is dropped, at random,
// and the program holds the others.
type RetentionSpec struct {
	Side    catalog.Side `json:"side"`
	Objects int          `json:"objects"`
	Buffer  int          `json:"buffer"` // bytes that each object has in a buffer of its own
	Share   float64      `json:"share"`
}

// Retention is the answer.
type Retention struct {
	RetentionSpec
	FullMiB float64 `json:"fullMiB"` // with all objects
	LeftMiB float64 `json:"leftMiB"`
}

// LossesSpec asks for rounds of replacements in a window of live objects. A share of what is
// replaced is dropped, and the rest is put.
type LossesSpec struct {
	Side         catalog.Side `json:"side"`
	Share        float64      `json:"share"`
	Live         int          `json:"live"`
	Rounds       int          `json:"rounds"`
	Gets         int          `json:"gets"`         // in a round
	CollectEvery int          `json:"collectEvery"` // rounds; no other collection runs
}

// Losses is the answer.
type Losses struct {
	LossesSpec
	MiB     []float64 `json:"mib"`     // of the Go heap after a collection: at the start, and at each tenth
	MostMiB float64   `json:"mostMiB"` // before a collection
	Records float64   `json:"records"` // MiB off the heap, at the end
	Lost    uint64    `json:"lost"`
	Forgot  uint64    `json:"forgot"` // how many objects were dropped
}
