package poolprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmpage/pool"
)

// A metric is one number of T, which is what is known of a pool or of the process.
// Those of pools have the labels pool and type.
type metric[T any] struct {
	name, help string
	of         func(*T) uint64
	// join makes one value of those of two pools with equal labels: gauges of pools
	// only, because counters are added.
	join func(a, b uint64) uint64
	// absentAtZero says that 0 means that there is no such thing.
	absentAtZero bool

	desc *prometheus.Desc // set by described
}

// described makes the descriptors of metrics.
func described[T any](metrics []metric[T], labels ...string) []metric[T] {
	for i := range metrics {
		m := &metrics[i]
		m.desc = prometheus.NewDesc(m.name, m.help, labels, nil)
	}
	return metrics
}

func sum(a, b uint64) uint64     { return a + b }
func largest(a, b uint64) uint64 { return max(a, b) }

// unlessNone adds limits: of pools together there is none if one of them has none.
func unlessNone(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a + b
}

// Counters of pools go on when a pool is gone: see collector. All the tables are set
// once, and only read from then on.
var poolCounters = described([]metric[pool.Stats]{
	{
		name: "warmpage_pool_gets_total",
		help: "Gets of all kinds, slots of GetBatch one by one, failed ones too.",
		of:   func(st *pool.Stats) uint64 { return st.Gets },
	}, {
		name: "warmpage_pool_failed_gets_total",
		help: "Gets that got no slot, for a limit or because the system refused memory.",
		of:   func(st *pool.Stats) uint64 { return st.FailedGets },
	}, {
		name: "warmpage_pool_slow_gets_total",
		help: "Gets that found no free slot ready, and got one all the same.",
		of:   func(st *pool.Stats) uint64 { return st.SlowGets },
	}, {
		name: "warmpage_pool_guarded_gets_total",
		help: "Gets that were served by a guarded slot, of WithGuardSampling.",
		of:   func(st *pool.Stats) uint64 { return st.GuardedGets },
	}, {
		name: "warmpage_pool_remote_puts_total",
		help: "Slots that were Put on another P than the one that owns their page, and sent there.",
		of:   func(st *pool.Stats) uint64 { return st.RemotePuts },
	}, {
		name: "warmpage_pool_promotions_total",
		help: "Times that an empty page was put in order, for the next Get to be fast.",
		of:   func(st *pool.Stats) uint64 { return st.Promotions },
	}, {
		name: "warmpage_pool_retirements_total",
		help: "Empty pages that were kept warm.",
		of:   func(st *pool.Stats) uint64 { return st.Retirements },
	}, {
		name: "warmpage_pool_revivals_total",
		help: "Pages kept warm that were seen used again.",
		of:   func(st *pool.Stats) uint64 { return st.Revivals },
	}, {
		name: "warmpage_pool_releases_total",
		help: "Empty pages given back by the pool, for other pools or the system.",
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
		help: "Open pools that have these labels.",
		of:   func(*pool.Stats) uint64 { return 1 },
		join: sum,
	}, {
		name: "warmpage_pool_live_slots",
		help: "Slots handed out and not yet Put.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.Live) },
		join: sum,
	}, {
		name: "warmpage_pool_pages",
		help: "Pages that the pool holds.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.Pages) },
		join: sum,
	}, {
		name: "warmpage_pool_warm_pages",
		help: "Empty pages among those of the pool, kept for the next Gets.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.WarmPages) },
		join: sum,
	}, {
		name: "warmpage_pool_mapped_bytes",
		help: "Address space of the pool's pages.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.MappedBytes) },
		join: sum,
	}, {
		name: "warmpage_pool_committed_bytes",
		help: "Memory of the pool's pages that slots were carved from, and that may be resident.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.CommittedBytes) },
		join: sum,
	}, {
		name:         "warmpage_pool_limit_bytes",
		help:         "What mapped bytes may be by WithLimit; absent if a pool has no limit.",
		of:           func(st *pool.Stats) uint64 { return uint64(st.LimitBytes) },
		join:         unlessNone,
		absentAtZero: true,
	}, {
		name: "warmpage_pool_slot_size_bytes",
		help: "Bytes from one slot to the next; the most of any of the pools.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.SlotSize) },
		join: largest,
	}, {
		name: "warmpage_pool_slots_per_page",
		help: "Slots on a page; the most of any of the pools.",
		of:   func(st *pool.Stats) uint64 { return uint64(st.SlotsPerPage) },
		join: largest,
	},
}, "pool", "type")

// poolInfo has what is no number of a pool as labels.
const (
	infoName = "warmpage_pool_info"
	infoHelp = "Always 1; off_heap says whether slots lie outside of the Go heap, pinned whether Get and Put pin rather than lock."
)

var poolInfo = prometheus.NewDesc(infoName, infoHelp, []string{"pool", "type", "off_heap", "pinned"}, nil)

// memory is what all pools of the process have together.
type memory struct {
	pool.Memory
	limit int64 // of SetProcessLimit; 0: none
}

var memoryCounters = described([]metric[memory]{
	{
		name: "warmpage_memory_purged_bytes_total",
		help: "Memory that all pools of the process have given back to the system.",
		of:   func(m *memory) uint64 { return uint64(m.Purged) },
	}, {
		name: "warmpage_memory_system_calls_total",
		help: "System calls for memory: reserve, commit and purge.",
		of:   func(m *memory) uint64 { return m.SystemCalls },
	},
})

var memoryGauges = described([]metric[memory]{
	{
		name: "warmpage_memory_reserved_bytes",
		help: "Address space reserved for all pools, most of it without memory behind it.",
		of:   func(m *memory) uint64 { return uint64(m.Reserved) },
	}, {
		name: "warmpage_memory_committed_bytes",
		help: "Pages that may have memory behind them: those in use and the warm ones.",
		of:   func(m *memory) uint64 { return uint64(m.Committed) },
	}, {
		name: "warmpage_memory_in_use_bytes",
		help: "Pages that pools hold, empty ones that they keep included.",
		of:   func(m *memory) uint64 { return uint64(m.InUse) },
	}, {
		name: "warmpage_memory_warm_bytes",
		help: "Pages that pools have released and that have not gone back to the system yet.",
		of:   func(m *memory) uint64 { return uint64(m.Warm) },
	}, {
		name:         "warmpage_memory_limit_bytes",
		help:         "What committed bytes may be by SetProcessLimit; absent if there is no limit.",
		of:           func(m *memory) uint64 { return uint64(m.limit) },
		absentAtZero: true,
	},
})
