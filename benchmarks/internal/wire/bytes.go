package wire

import (
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// The bytes study: slices of bytes, of one size or of many.

// The sides of the bytes study, besides catalog.SyncPool, which is one of *[]byte here, and
// catalog.ByteBuffer.
const (
	BytesOnHeap  catalog.Side = "Bytes"           // this library's, on the Go heap
	BytesOffHeap catalog.Side = "Bytes, off heap" // WithOffHeap
	Mcache       catalog.Side = "mcache"          // github.com/bytedance/gopkg/lang/mcache
	Make         catalog.Side = "make"            // no pool
)

// BytesSides are all of them, in the order of the tables.
var BytesSides = []catalog.Side{BytesOnHeap, BytesOffHeap, catalog.SyncPool, catalog.ByteBuffer, Mcache, Make}

// A BytesWorkload is what is done with slices.
type BytesWorkload string

const (
	BytesPingPong BytesWorkload = "ping-pong" // gets one and puts it
	BytesChurn    BytesWorkload = "churn"     // replaces random ones of BytesLive
	BytesAcross   BytesWorkload = "across"    // one goroutine gets, and another puts
)

// BytesWorkloads are all of them.
var BytesWorkloads = []BytesWorkload{BytesPingPong, BytesChurn, BytesAcross}

// BytesLive is how many slices are live in churn.
const BytesLive = 64

// BytesSpec asks for all workloads with one size.
type BytesSpec struct {
	Size int `json:"size"` // 0: those of catalog.MixSizes
	Timing
	Together int           `json:"together"` // slices of BytesAcross
	Turn     int           `json:"turn"`     // which side is first
	Quickest time.Duration `json:"quickest"` // probe so far
}

// Bytes is the answer.
type Bytes struct {
	Cells    []BytesCell   `json:"cells"`
	Quickest time.Duration `json:"quickest"`
}

// A BytesCell is one workload.
type BytesCell struct {
	Workload BytesWorkload            `json:"workload"`
	Quiet    bool                     `json:"quiet"`
	NS       map[catalog.Side]float64 `json:"ns"` // a slice
	// Capacity is that of the slices which are live in BytesChurn, for each byte that was asked for.
	Capacity map[catalog.Side]float64 `json:"capacity,omitempty"`
}

// BytesMemorySpec asks for what is left of a burst: so many slices of a size are got, written on every
// page of the system, and put.
type BytesMemorySpec struct {
	Side   catalog.Side  `json:"side"`
	Slices int           `json:"slices"`
	Size   int           `json:"size"`
	Idle   time.Duration `json:"idle"`
}

// BytesMemory is the answer, in MiB.
type BytesMemory struct {
	BytesMemorySpec
	Before BytesState `json:"before"`
	Burst  BytesState `json:"burst"` // when all have been put
	Idle   BytesState `json:"idle"`  // with a collection in each second
	Trim   BytesState `json:"trim"`  // the same as Idle, for sides that have no Trim
	Freed  BytesState `json:"freed"` // after debug.FreeOSMemory
}

// A BytesState is what a process has.
type BytesState struct {
	Resident  float64 `json:"resident"`
	Heap      float64 `json:"heap"`      // in objects of the Go heap, those included that were not swept yet
	Committed float64 `json:"committed"` // as a Bytes counts
}

// BytesWasteSpec asks for the classes of a Bytes, up to a size.
type BytesWasteSpec struct {
	Most int `json:"most"`
}

// BytesWaste is the answer.
type BytesWaste struct {
	Classes []BytesClass `json:"classes"`
}

// A BytesClass is a class of lengths.
type BytesClass struct {
	From  int       `json:"from"`  // the smallest length
	Size  int       `json:"size"`  // of a slot
	Pages [2]Paging `json:"pages"` // on the Go heap, off the Go heap
}

// Paging is how the slots of a class share a page.
type Paging struct {
	Bytes int `json:"bytes"`
	Slots int `json:"slots"`
}
