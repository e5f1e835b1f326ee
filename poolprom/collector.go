// Package poolprom exports the statistics of all pools of the process as Prometheus metrics.
//
//	prometheus.MustRegister(poolprom.NewCollector())
//
// README.md has a table of the metrics, some alerts, and a dashboard for Grafana.
package poolprom

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmpage/pool"
)

// NewCollector returns a collector for all pools that are open in the process at the time of a
// Collect, and for the memory that they use together. A registry accepts only one such collector.
// Its methods are safe for concurrent use; Collects run one at a time.
//
// Each metric of pools has two labels: pool is the name given to WithName, and type is T. Pools
// whose labels are equal are added up, including those without a name; sizes of slots and pages
// report the largest value instead. Bytes that are not UTF-8 become U+FFFD in a label.
//
// Counters live on after a pool is closed, or collected as garbage: what the last Collect saw of
// the pool stays in the counters for its labels. What the pool did after that Collect is lost. A
// pool that no Collect saw between New and Close is never counted. Gauges cover open pools only,
// and are absent when no open pool has the labels.
//
// A collector remembers the labels of every pool it has seen, so use few names, not one for each
// connection or request. A Collect takes time in proportion to the pages of all pools. It delays
// Gets that need another page and, where Stats.Access is "locked", other calls too.
func NewCollector() prometheus.Collector {
	return newCollector(readProcess)
}

// A reading is what a Collect reads of the process and its pools.
type reading struct {
	pools  []pool.Stats
	memory memory
}

func readProcess() reading {
	return reading{pool.ReadStats(), memory{pool.ReadMemory(), pool.SetProcessLimit(-1)}}
}

// labels tell the series of pools apart.
type labels struct{ pool, typ string }

// counts are the values of poolCounters, in the same order.
type counts []uint64

func (c counts) add(d counts) {
	for i := range c {
		c[i] += d[i]
	}
}

// A collector keeps counters from going down. mu is also held during the reading. Otherwise, when
// one Collect finds a pool gone, another that read earlier could follow and take the pool for a new
// one.
//
// The counters for some labels are gone[labels] plus the counters of the open pools with these
// labels.
type collector struct {
	read func() reading

	mu   sync.Mutex
	open map[uint64]seen   // the pools of the last reading, by Stats.ID
	gone map[labels]counts // sums over the pools that are gone
}

// seen is what the last reading said of a pool.
type seen struct {
	labels labels
	counts counts
}

func newCollector(read func() reading) *collector {
	return &collector{read: read, gone: make(map[labels]counts)}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, poolCounters)
	describe(ch, poolGauges)
	ch <- poolInfo
	describe(ch, memoryCounters)
	describe(ch, memoryGauges)
}

func describe[T any](ch chan<- *prometheus.Desc, metrics []metric[T]) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now, groups := c.observe()
	for l, g := range groups {
		for i, value := range g.counts {
			poolCounters[i].send(ch, prometheus.CounterValue, value, l.pool, l.typ)
		}
		for i, value := range g.gauges {
			poolGauges[i].send(ch, prometheus.GaugeValue, value, l.pool, l.typ)
		}
		for b := range g.builds {
			ch <- prometheus.MustNewConstMetric(poolInfo, prometheus.GaugeValue, 1,
				l.pool, l.typ, strconv.FormatBool(b.offHeap), b.access)
		}
	}
	for _, m := range memoryCounters {
		m.send(ch, prometheus.CounterValue, m.of(&now.memory))
	}
	for _, m := range memoryGauges {
		m.send(ch, prometheus.GaugeValue, m.of(&now.memory))
	}
}

func (m *metric[T]) send(ch chan<- prometheus.Metric, t prometheus.ValueType, value uint64, labels ...string) {
	if value != 0 || !m.absentAtZero {
		ch <- prometheus.MustNewConstMetric(m.desc, t, float64(value), labels...)
	}
}

// A group is the sum over all pools with equal labels.
type group struct {
	counts counts
	gauges []uint64 // the values of poolGauges, in the same order; nil if no pool is open
	builds map[build]bool
}

// build is what poolInfo says of a pool.
type build struct {
	offHeap bool
	access  string
}

// observe takes a reading, remembers it for the next one, and sums it up.
func (c *collector) observe() (reading, map[labels]*group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	open := make(map[uint64]seen, len(now.pools))
	for i := range now.pools {
		st := &now.pools[i]
		open[st.ID] = seen{
			labels: labels{valid(st.Name), valid(st.Type)},
			counts: counted(st, c.open[st.ID].counts),
		}
	}
	for id, s := range c.open {
		if _, ok := open[id]; ok {
			continue
		}
		if c.gone[s.labels] == nil {
			c.gone[s.labels] = make(counts, len(poolCounters))
		}
		c.gone[s.labels].add(s.counts)
	}
	c.open = open

	groups := make(map[labels]*group)
	for l, sum := range c.gone {
		groups[l] = &group{counts: slices.Clone(sum)}
	}
	for i := range now.pools {
		st := &now.pools[i]
		s := open[st.ID]
		g := groups[s.labels]
		if g == nil {
			g = &group{counts: make(counts, len(poolCounters))}
			groups[s.labels] = g
		}
		g.include(st, s.counts)
	}
	return now, groups
}

// include adds a pool to the group.
func (g *group) include(st *pool.Stats, c counts) {
	g.counts.add(c)
	if g.gauges == nil {
		g.gauges = make([]uint64, len(poolGauges))
		for i, m := range poolGauges {
			g.gauges[i] = m.of(st)
		}
		g.builds = make(map[build]bool)
	} else {
		for i, m := range poolGauges {
			g.gauges[i] = m.join(g.gauges[i], m.of(st))
		}
	}
	g.builds[build{st.OffHeap, st.Access}] = true
}

// counted returns the counters of a pool. last holds the previous ones, or nil if the pool is new.
//
// While the pool is in use, its numbers come from slightly different moments. A number that is
// computed from several may thus be lower than before, or negative, in which case it wraps.
// Prometheus would take that for a counter that has restarted, so counted keeps the previous value.
func counted(st *pool.Stats, last counts) counts {
	now := make(counts, len(poolCounters))
	copy(now, last)
	for i, m := range poolCounters {
		if value := m.of(st); int64(value-now[i]) > 0 {
			now[i] = value
		}
	}
	return now
}

// valid makes s a valid label value: Prometheus accepts only UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
