package poolprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmpage/pool"
)

// A metric is one number that is read from a T, the statistics of a pool or of the process. Metrics
// of pools have the labels pool and type.
type metric[T any] struct {
	name, help string
	of         func(*T) uint64
	// join combines the values of two pools with equal labels. Only gauges of pools have it,
	// because counters are always added.
	join func(a, b uint64) uint64
	// absentAtZero says that 0 means "none": no series is sent then.
	absentAtZero bool

	desc *prometheus.Desc // set by described
}

// described sets the descriptors of metrics, and returns metrics.
func described[T any](metrics []metric[T], labels ...string) []metric[T] {
	for i := range metrics {
		m := &metrics[i]
		m.desc = prometheus.NewDesc(m.name, m.help, labels, nil)
	}
	return metrics
}

func sum(a, b uint64) uint64     { return a + b }
func largest(a, b uint64) uint64 { return max(a, b) }

// unlessNone adds two limits, where 0 means no limit. If either pool has none, the two together
// have none.
func unlessNone(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a + b
}

// Counters of pools outlive the pools: see collector. All of these tables are read-only once they
// are initialized.
var poolCounters = described([]metric[pool.Stats]{
	{
		name: "warmpage_pool_gets_total",
		help: "Gets of all kinds, failed ones included; each slot of a GetBatch counts as one.",
		of:   func(st *pool.Stats) uint64 { return st.Gets },
	}, {
		name: "warmpage_pool_failed_gets_total",
		help: "Gets that returned no slot, because of a limit or because the system refused memory.",
		of:   func(st *pool.Stats) uint64 { return st.FailedGets },
	}, {
		name: "warmpage_pool_waits_total",
		help: "GetContexts that had to wait for a slot.",
		of:   func(st *pool.Stats) uint64 { return st.Waits },
	}, {
		name: "warmpage_pool_slow_gets_total",
		help: "Gets that had to take or carve a page, or to collect what other Ps have put.",
		of:   func(st *pool.Stats) uint64 { return st.SlowGets },
	}, {
		name: "warmpage_pool_guarded_gets_total",
		help: "Gets that returned a guarded slot (WithGuardSampling).",
		of:   func(st *pool.Stats) uint64 { return st.GuardedGets },
	}, {
		name: "warmpage_pool_remote_puts_total",
		help: "Slots Put on a P that does not own their page, and sent to the one that does.",
		of:   func(st *pool.Stats) uint64 { return st.RemotePuts },
	}, {
		name: "warmpage_pool_lost_slots_total",
		help: "Slots that the program forgot without a Put and that the garbage collector has taken (WithGoHeap).",
		of:   func(st *pool.Stats) uint64 { return st.Lost },
	}, {
		name: "warmpage_pool_promotions_total",
		help: "Times an empty page was put in order so that the next Get is fast.",
		of:   func(st *pool.Stats) uint64 { return st.Promotions },
	}, {
		name: "warmpage_pool_retirements_total",
		help: "Empty pages that were kept warm.",
		of:   func(st *pool.Stats) uint64 { return st.Retirements },
	}, {
		name: "warmpage_pool_revivals_total",
		help: "Warm pages that were seen in use again.",
		of:   func(st *pool.Stats) uint64 { return st.Revivals },
	}, {
		name: "warmpage_pool_releases_total",
		help: "Empty pages that the pool gave up, for other pools or the system.",
		of:   func(st *pool.Stats) uint64 { return st.Releases },
	}, {
		name: "warmpage_pool_purged_bytes_total",
		help: "Memory of released pages that went back to the system.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.PurgedBytes) },
	},
}, "pool", "type")

var poolGauges = described([]metric[pool.Stats]{
	{
		name: "warmpage_pool_open",
		help: "Open pools with these labels.",
		of:   func(*pool.Stats) uint64 { return 1 },
		join: sum,
	}, {
		name: "warmpage_pool_live_slots",
		help: "Slots handed out and not yet Put.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.Live) },
		join: sum,
	}, {
		name: "warmpage_pool_waiting_gets",
		help: "GetContexts that wait for a slot.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.Waiting) },
		join: sum,
	}, {
		name: "warmpage_pool_pages",
		help: "Pages that the pool holds.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.Pages) },
		join: sum,
	}, {
		name: "warmpage_pool_warm_pages",
		help: "Empty pages that the pool keeps for later Gets.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.WarmPages) },
		join: sum,
	}, {
		name: "warmpage_pool_mapped_bytes",
		help: "Address space of the pool's pages.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.MappedBytes) },
		join: sum,
	}, {
		name: "warmpage_pool_committed_bytes",
		help: "Memory of the pool's pages that slots were carved from and that may be resident.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.CommittedBytes) },
		join: sum,
	}, {
		name:         "warmpage_pool_limit_bytes",
		help:         "Upper bound on mapped bytes, set by WithLimit; absent if a pool with these labels has no limit.",
		of:           func(st *pool.Stats) uint64 { return uint64(st.LimitBytes) },
		join:         unlessNone,
		absentAtZero: true,
	}, {
		name:         "warmpage_pool_max_slots",
		help:         "Upper bound on live slots, set by WithMaxSlots; absent if a pool with these labels has no such bound.",
		of:           func(st *pool.Stats) uint64 { return uint64(st.MaxSlots) },
		join:         unlessNone,
		absentAtZero: true,
	}, {
		name: "warmpage_pool_slot_size_bytes",
		help: "Bytes from one slot to the next; the largest value of the pools with these labels.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.SlotSize) },
		join: largest,
	}, {
		name: "warmpage_pool_slots_per_page",
		help: "Slots on a full page; the largest value of the pools with these labels.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.SlotsPerPage) },
		join: largest,
	}, {
		name: "warmpage_pool_page_bytes",
		help: "Bytes of a page; the largest value of the pools with these labels.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.PageBytes) },
		join: largest,
	},
}, "pool", "type")

// The metric poolInfo has, as labels, the properties of a pool that are not numbers.
const (
	infoName = "warmpage_pool_info"
	infoHelp = "Always 1; off_heap says whether slots lie outside the Go heap, access how Get and Put get a part of the pool to themselves: nosplit, pinned or locked."
)

var poolInfo = prometheus.NewDesc(infoName, infoHelp, []string{"pool", "type", "off_heap", "access"}, nil)

// memory is what all pools of the process use together.
type memory struct {
	pool.Memory
	limit int64 // in bytes, set by SetProcessLimit; 0: none
}

var memoryCounters = described([]metric[memory]{
	{
		name: "warmpage_memory_purged_bytes_total",
		help: "Memory that the pools of the process have given back to the system.",
		of:   func(m *memory) uint64 { return uint64(m.Purged) },
	}, {
		name: "warmpage_memory_system_calls_total",
		help: "System calls that reserve, commit or purge memory.",
		of:   func(m *memory) uint64 { return m.SystemCalls },
	}, {
		name: "warmpage_memory_world_stops_total",
		help: "Stops of the world that took the place of a memory barrier that the system lacks or refuses.",
		of:   func(m *memory) uint64 { return m.WorldStops },
	},
})

var memoryGauges = described([]metric[memory]{
	{
		name: "warmpage_memory_reserved_bytes",
		help: "Address space reserved for all pools; most of it has no memory behind it.",
		of:   func(m *memory) uint64 { return uint64(m.Reserved) },
	}, {
		name: "warmpage_memory_committed_bytes",
		help: "Pages that may have memory behind them: those in use plus the warm ones.",
		of:   func(m *memory) uint64 { return uint64(m.Committed) },
	}, {
		name: "warmpage_memory_in_use_bytes",
		help: "Pages that pools hold, including the empty ones that they keep.",
		of:   func(m *memory) uint64 { return uint64(m.InUse) },
	}, {
		name: "warmpage_memory_warm_bytes",
		help: "Pages that pools have released but that have not gone back to the system yet.",
		of:   func(m *memory) uint64 { return uint64(m.Warm) },
	}, {
		name: "warmpage_memory_records_bytes",
		help: "The two bytes that the library keeps for each slot of a page; not part of the committed bytes.",
		of:   func(m *memory) uint64 { return uint64(m.Records) },
	}, {
		name: "warmpage_memory_go_heap_bytes",
		help: "Pages of pools with WithGoHeap; part of the Go heap, and not of the committed bytes.",
		of:   func(m *memory) uint64 { return uint64(m.GoHeap) },
	}, {
		name:         "warmpage_memory_limit_bytes",
		help:         "Upper bound on committed bytes, set by SetProcessLimit; absent if there is no limit.",
		of:           func(m *memory) uint64 { return uint64(m.limit) },
		absentAtZero: true,
	},
})
