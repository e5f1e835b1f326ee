// Package catalog names what is measured: workloads, sides, sizes and modes. The
// driver, the worker and the generator of the worker's loops all read it.
package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Sizes are those of the objects, in bytes.
var Sizes = []int{16, 64, 256, 1024}

// HeapSize is that of the objects of the goheap study, which hold pointers.
const HeapSize = 96

// A Mode says what an object holds when it is handed out.
type Mode string

const (
	Zeroed Mode = "zeroed" // zeros: Get and new clear it, every other side's user does
	Raw    Mode = "raw"    // anything; new clears it all the same

	// Pointers is the mode of the goheap study. An object holds what the name of its side says.
	Pointers Mode = "pointers"
)

// Modes are those of the comparison.
var Modes = []Mode{Zeroed, Raw}

// The lengths that a workload fixes, here so that the C side can be given the
// same.
const (
	BatchLen    = 64    // of GetBatch and PutBatch, and of what a producer sends
	TableLen    = 1024  // places of exchange, and objects of a larson array
	LarsonRound = 4096  // replacements before a worker hands its array on
	BurstBase   = 10000 // objects live while a burst-after-idle is idle
	BurstLen    = 1000  // objects of the burst itself
	BurstRepeat = 4     // bursts in a round, however short: idleness is most of it
	BurstIdle   = 2 * time.Millisecond
	InFlight    = 128 // requests on their way
)

// A Kind is the shape of a workload; the worker has one function for each.
type Kind string

const (
	PingPong         Kind = "ping-pong"
	Churn            Kind = "churn"
	ProducerConsumer Kind = "producer-consumer"
	Exchange         Kind = "exchange"
	Larson           Kind = "larson"
	Burst            Kind = "burst-after-idle"
	Request          Kind = "request"
)

// LeastWorkers is how many goroutines it takes that get or put, whatever
// GOMAXPROCS is.
func (k Kind) LeastWorkers() int {
	if k == ProducerConsumer || k == Request {
		return 2
	}
	return 1
}

// An Order is the one in which the objects of a churn are put.
type Order string

const (
	FIFO     Order = "fifo"
	LIFO     Order = "lifo"
	Shuffled Order = "shuffled" // the same shuffle each time
)

// A Workload is a row of the tables.
type Workload struct {
	Name     string
	Kind     Kind
	Objects  int   // of a churn
	Order    Order // of a churn
	Parallel bool  // on GOMAXPROCS goroutines
}

// Workloads are all of them, in the order of the tables.
var Workloads = workloads()

func workloads() []Workload {
	all := []Workload{{Name: "ping-pong", Kind: PingPong}}
	lengths := []int{64, 1024, 4096}
	for _, n := range lengths {
		for _, o := range []Order{FIFO, LIFO, Shuffled} {
			all = append(all, Workload{Name: fmt.Sprintf("churn-%d-%s", n, o), Kind: Churn, Objects: n, Order: o})
		}
	}
	all = append(all, Workload{Name: "ping-pong-parallel", Kind: PingPong, Parallel: true})
	for _, n := range lengths {
		all = append(all, Workload{Name: fmt.Sprintf("churn-%d-parallel", n), Kind: Churn, Objects: n, Order: FIFO, Parallel: true})
	}
	return append(all,
		Workload{Name: "producer-consumer", Kind: ProducerConsumer, Parallel: true},
		Workload{Name: "exchange", Kind: Exchange, Parallel: true},
		Workload{Name: "larson", Kind: Larson, Parallel: true},
		Workload{Name: "burst-after-idle", Kind: Burst},
		Workload{Name: "request", Kind: Request, Parallel: true},
	)
}

// MostLive returns how many objects no workload has at the same time on so many goroutines.
func MostLive(workers int) int {
	most := BurstBase + BurstLen
	for _, w := range Workloads {
		most = max(most, w.Objects*workers)
	}
	return most + 1
}

// HeapWorkloads are those of the goheap study.
var HeapWorkloads = slices.DeleteFunc(slices.Clone(Workloads), func(w Workload) bool {
	switch w.Kind {
	case PingPong, Churn:
		return w.Parallel || w.Objects > 1024
	}
	return w.Kind != Exchange && w.Kind != Larson
})

// Find returns the workload of that name.
func Find(name string) (Workload, error) {
	i := slices.IndexFunc(Workloads, func(w Workload) bool { return w.Name == name })
	if i < 0 {
		return Workload{}, fmt.Errorf("no workload %q", name)
	}
	return Workloads[i], nil
}

// A Side is a way to get and put objects: a column of the tables.
type Side string

const (
	Pool        Side = "pool"       // Get, or GetNoZero in raw mode
	PoolBatch   Side = "pool batch" // GetBatch and PutBatch
	SyncPool    Side = "sync.Pool"
	Syncx       Side = "syncx"         // github.com/bytedance/gopkg/lang/syncx
	Modernc     Side = "modernc"       // modernc.org/memory, by one goroutine
	ModerncLock Side = "modernc+mutex" // the same for any goroutine
	ByteBuffer  Side = "bytebuffer"    // github.com/valyala/bytebufferpool
	FreeList    Side = "mutex+slice"
	Slab        Side = "slab"       // []T and free indexes, by one goroutine
	SlabLock    Side = "slab+mutex" // the same for any goroutine
	Channel     Side = "channel"
	New         Side = "new"
	Floor       Side = "floor"    // free list over mmap, by one goroutine
	Mimalloc    Side = "mimalloc" // in C; not a side of the worker
)

// The sides of the goheap study, besides SyncPool, whose objects keep what they hold, and New.
const (
	Kept            Side = "kept"               // pages of the Go heap, WithInit
	Reset           Side = "reset"              // the same, WithReset
	Cleared         Side = "cleared"            // pages of the Go heap, and no other option
	SyncPoolCleared Side = "sync.Pool, cleared" // *x = T{} before Put
)

// HeapSides are all of them, in the order of the tables.
var HeapSides = []Side{Kept, Reset, Cleared, SyncPool, SyncPoolCleared, New}

// SidesOf returns the sides that there are in mode m.
func SidesOf(m Mode) []Side {
	if m == Pointers {
		return HeapSides
	}
	return Sides
}

// GoSides are those that the worker has, in the order of the tables.
var GoSides = []Side{Pool, PoolBatch, SyncPool, Syncx, Modernc, ModerncLock, ByteBuffer, FreeList, Slab, SlabLock, Channel, New, Floor}

// Sides are all of them.
var Sides = append(slices.Clone(GoSides), Mimalloc)

// NeedsRounds says whether s in w is measured in rounds of milliseconds, not in slices:
// new is mostly what collections cost, of which a slice has none; a burst comes after
// idleness; and requests are passed on by the scheduler, which is not done in a slice.
func NeedsRounds(s Side, w Workload) bool {
	return s == New || w.Kind == Burst || w.Kind == Request
}

// FlagName returns the name of s on the command line: its letters.
func (s Side) FlagName() string {
	if s == PoolBatch {
		return "batch"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, string(s))
}

// TakesPart says whether side s can do w in mode m, and whether it means
// something there.
func TakesPart(s Side, w Workload, m Mode) bool {
	switch s {
	case PoolBatch: // one object at a time is not a batch, and GetBatch clears
		return m == Zeroed && w.Kind != PingPong && w.Kind != Request
	case Modernc, Slab, Floor: // none has a lock
		return !w.Parallel
	case ByteBuffer: // it is for one buffer for the time of a request
		return w.Kind == PingPong || w.Kind == Request
	case Mimalloc: // four threads and a queue in C would be a benchmark of the queue
		return w.Kind != Request
	}
	return true
}
