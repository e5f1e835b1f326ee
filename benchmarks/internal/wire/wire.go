// Package wire is what the driver and its child processes tell each other, as
// JSON lines.
package wire

import (
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// The studies of a worker: its first argument. The second is the specification
// as JSON, except for VerbCells.
const (
	VerbCells      = "cells"      // reads a CellSpec a line until the end of its input
	VerbGoroutines = "goroutines" // GoroutinesSpec, answers Goroutines
	VerbLive       = "live"       // LiveSpec, answers Live
	VerbMemory     = "memory"     // MemorySpec, answers Memory
	VerbPromotion  = "promotion"  // PromotionSpec, answers Promotion
	VerbStops      = "stops"      // StopsSpec, answers Stops

	VerbWarm        = "warm"        // WarmSpec, answers Warm
	VerbForgotten   = "forgotten"   // ForgottenSpec, answers Forgotten
	VerbCollections = "collections" // CollectionsSpec, answers Collections
	VerbRetention   = "retention"   // RetentionSpec, answers Retention
	VerbLosses      = "losses"      // LossesSpec, answers Losses

	VerbLarge       = "large"       // LargeSpec, answers Large
	VerbLargeMemory = "largememory" // LargeMemorySpec, answers LargeMemory

	VerbBytes       = "bytes"       // BytesSpec, answers Bytes
	VerbBytesMemory = "bytesmemory" // BytesMemorySpec, answers BytesMemory
	VerbBytesWaste  = "byteswaste"  // BytesWasteSpec, answers BytesWaste
)

// A CellSpec asks for one workload with one size and mode.
type CellSpec struct {
	Workload string         `json:"workload"`
	Size     int            `json:"size"`
	Mode     catalog.Mode   `json:"mode"`
	Sides    []catalog.Side `json:"sides"`
	Timing
	Turn     int           `json:"turn"`     // which side is first
	Quickest time.Duration `json:"quickest"` // probe so far
}

// A Timing is how long each side is measured: in slices, or in rounds where
// catalog.NeedsRounds says so.
type Timing struct {
	Slices int           `json:"slices"` // quiet ones, of twice as many at most
	Slice  time.Duration `json:"slice"`
	Limit  time.Duration `json:"limit"` // for all slices of all sides, should a processor be hard to get
	Rounds int           `json:"rounds"`
	Round  time.Duration `json:"round"`
}

// MostGarbage is how many bytes of garbage the sides of the large study and of the bytes study may
// leave until it is collected. No other collection runs in slices.
const MostGarbage = 512 << 20

// A Cell is the answer, in ns a pair: the 10th percentile of the slices, or the median
// of the rounds.
type Cell struct {
	NS       map[catalog.Side]float64 `json:"ns"`
	Quiet    bool                     `json:"quiet"` // enough slices were; else NS is of all of them
	Quickest time.Duration            `json:"quickest"`
}

// A MimallocCell is that of the C program: the rounds, ns a pair.
type MimallocCell struct {
	NS []float64 `json:"ns"`
}

// GoroutinesSpec asks for one workload on a number of goroutines.
type GoroutinesSpec struct {
	Workload   string        `json:"workload"`
	Procs      int           `json:"gomaxprocs"`
	Goroutines []int         `json:"goroutines"`
	Rounds     int           `json:"rounds"`
	Target     time.Duration `json:"target"`
}

// Goroutines has the median of the rounds, ns a pair by the clock on the wall,
// for each of the numbers of goroutines.
type Goroutines struct {
	NS map[catalog.Side][]float64 `json:"ns"`
}

// A Holder is where the live objects of LiveSpec come from and who knows them.
type Holder string

const (
	PoolOffHeap Holder = "pool"               // this pool's, known to an array off the heap
	PoolOnHeap  Holder = "pool, held in []*T" // this pool's, known to a slice
	HeapOnHeap  Holder = "new, held in []*T"  // the heap's, known to a slice
	SyncHeld    Holder = "sync.Pool, in []*T" // sync.Pool's, known to a slice
)

// Holders are all of them.
var Holders = []Holder{PoolOffHeap, PoolOnHeap, HeapOnHeap, SyncHeld}

// LiveSpec asks what a number of live 64-byte objects costs.
type LiveSpec struct {
	Holder  Holder `json:"holder"`
	Objects int    `json:"objects"`
}

// Live is the answer.
type Live struct {
	Holder        Holder  `json:"holder"`
	Objects       int     `json:"objects"`
	FillNS        float64 `json:"fillNS"`        // a Get, from the first object to the last
	WarmGetNS     float64 `json:"warmGetNS"`     // a Get, of all, when each object has been put once
	ChurnNS       float64 `json:"churnNS"`       // a pair, when all are got and all put again
	ResidentBytes float64 `json:"residentBytes"` // an object, its pointer not counted
	GCMillis      float64 `json:"gcMillis"`      // runtime.GC with all of them live, the shortest
}

// MemorySpec asks for resident memory over time: a burst, idleness, a burst.
type MemorySpec struct {
	Side    catalog.Side  `json:"side"` // Pool or SyncPool
	Objects int           `json:"objects"`
	Idle    time.Duration `json:"idle"`
}

// Memory is the answer.
type Memory struct {
	Side    catalog.Side `json:"side"`
	Samples []Sample     `json:"samples"`
	Bursts  []Interval   `json:"bursts"`
	// BurstNS is ns a pair of the first burst and of the second.
	BurstNS []float64 `json:"burstNS"`
}

// A Sample is what was resident then.
type Sample struct {
	Seconds float64 `json:"s"`
	MiB     float64 `json:"mib"`
}

// An Interval is in seconds since the first sample.
type Interval struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// GoroutineSides are those of GoroutinesSpec.
var GoroutineSides = []catalog.Side{catalog.Pool, catalog.SyncPool, catalog.Syncx}

// Idle is the side of StopsSpec on which nobody else runs.
const Idle catalog.Side = "idle"

// StopsSpec asks how long it takes to stop the world while Sides are at work.
type StopsSpec struct {
	Sides []catalog.Side `json:"sides"`
	Turns int            `json:"turns"` // of each side
	Stops int            `json:"stops"` // in a turn
}

// Stops is the answer.
type Stops struct {
	Sides map[catalog.Side]StopTimes `json:"sides"` // Idle is one of them
}

// StopTimes are in microseconds.
type StopTimes struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
}

// A PromotionMode is what a pool does with a page that empties while it is kept:
// a constant of internal/hook.
type PromotionMode string

const (
	Reset PromotionMode = "reset" // all its slots in address order: what users get
	Move  PromotionMode = "move"  // the list of slots put last, as it is
	None  PromotionMode = "none"  // nothing, and few pages are kept: what mimalloc does
)

// PromotionModes are all of them.
var PromotionModes = []PromotionMode{Reset, Move, None}

// PromotionSpec asks for a churn over whole pages, in all modes.
type PromotionSpec struct {
	Size   int           `json:"size"` // 64 or 1024
	Pages  int           `json:"pages"`
	Order  catalog.Order `json:"order"`
	Rounds int           `json:"rounds"` // for each mode
	Target time.Duration `json:"target"` // of a round
	Turn   int           `json:"turn"`   // which mode is first
}

// Promotion is the answer.
type Promotion struct {
	Modes map[PromotionMode]PromotionCost `json:"modes"`
}

// A PromotionCost is that of one mode.
type PromotionCost struct {
	NS     float64         `json:"ns"`     // a pair, the median of the rounds
	Counts PromotionCounts `json:"counts"` // what most rounds had
	Odd    int             `json:"odd"`    // rounds that had others
}

// PromotionCounts are differences of pool.Stats in a round by how often all slots
// were got and put in it.
type PromotionCounts struct {
	SlowGets   float64 `json:"slowGets"`
	Releases   float64 `json:"releases"`
	Promotions float64 `json:"promotions"`
}
