// Package poolprom exports what the pools of the process hold and do as metrics for
// Prometheus.
//
//	prometheus.MustRegister(poolprom.NewCollector())
//
// README.md has the table of metrics, alerts, and a dashboard for Grafana.
package poolprom

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmpage/pool"
)

// NewCollector returns a collector of all pools of the process that are open when it
// is asked, and of the memory that they have together. A registry takes one of them,
// once. Any goroutine may call its methods; Collects wait for each other.
//
// Each metric of pools has the labels pool, as given to WithName, and type, which is
// T. Pools whose labels are equal are added up, also those without a name; of the size
// of slots and their number on a page it is the largest. What is not UTF-8 in a label
// is replaced by U+FFFD.
//
// Counters go on when a pool is closed, or collected as garbage: what the last Collect
// saw of it stays part of the counters of its labels. What a pool did between the last
// Collect and its Close is lost, and all that it did if no Collect came in between New
// and Close. Gauges are of open pools, and absent when none has these labels any more.
//
// A collector remembers the labels of every pool it has seen. So names should be few:
// not one for each connection or request. A Collect takes time in proportion to the
// pages of all pools; it holds up Gets that want another page, and where Stats.Pinned is
// false also others.
func NewCollector() prometheus.Collector {
	return newCollector(readProcess)
}

// A reading is what the pools of the process say of themselves.
type reading struct {
	pools  []pool.Stats
	memory memory
}

func readProcess() reading {
	return reading{pool.ReadStats(), memory{pool.ReadMemory(), pool.SetProcessLimit(-1)}}
}

// labels are what the series of pools are told apart by.
type labels struct{ pool, typ string }

// counts are values of poolCounters, in their order.
type counts []uint64

func (c counts) add(d counts) {
	for i := range c {
		c[i] += d[i]
	}
}

// A collector keeps counters from going down. mu is held also for the reading: of two
// Collects, one that finds a pool gone must be the later one, or the other would take
// it for a new one.
//
// The counters of labels are gone[labels] + those of the open pools that have them.
type collector struct {
	read func() reading

	mu   sync.Mutex
	open map[uint64]seen   // by Stats.ID: the pools of the last reading
	gone map[labels]counts // of pools of earlier ones
}

// seen is what was last seen of a pool.
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
				l.pool, l.typ, strconv.FormatBool(b.offHeap), strconv.FormatBool(b.pinned))
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

// A group is the pools with equal labels.
type group struct {
	counts counts
	gauges []uint64 // of poolGauges, in their order; nil if none is open
	builds map[build]bool
}

// build is what poolInfo tells of a pool.
type build struct{ offHeap, pinned bool }

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
	g.builds[build{st.OffHeap, st.Pinned}] = true
}

// counted returns the counters of a pool, which were last before; nil if it is new.
// While others use the pool, each of its numbers is of a slightly different moment,
// and one that is made of several may be less for once than it was, or below zero,
// which wraps. Prometheus would take that for a counter that has begun anew.
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

// valid returns a label's value: Prometheus takes UTF-8 only.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
