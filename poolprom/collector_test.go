package poolprom

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
)

// registered returns a registry with c in it. The registry checks that c collects what it
// describes.
func registered(t *testing.T, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(c))
	return r
}

// gather returns the values of a metric. The keys are the values of the labels, in the order of the
// labels' names, separated by spaces.
func gather(t *testing.T, g prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	assert.NoError(t, err) // not require, which only the test's own goroutine may use
	values := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var key []string
			for _, l := range m.Label {
				key = append(key, l.GetValue())
			}
			values[strings.Join(key, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// exported returns all metrics of the collector, by name.
func exported(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	everything := reading{
		pools:  []pool.Stats{{LimitBytes: 1, MaxSlots: 1}},
		memory: memory{limit: 1},
	}
	families, err := registered(t, newCollector(func() reading { return everything })).Gather()
	require.NoError(t, err)
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

func TestKnownPool(t *testing.T) {
	r := registered(t, NewCollector())
	orders := pool.New[[64]byte](pool.WithName("orders"), pool.WithLimit(1<<20))
	held := make([]*[64]byte, 3)
	orders.GetBatch(held)
	orders.Put(held[2])
	st := orders.Stats()
	assert.Equal(t, 2, st.Live)
	want := fmt.Sprintf(`
# HELP warmpage_pool_gets_total Gets of all kinds, failed ones included; each slot of a GetBatch counts as one.
# TYPE warmpage_pool_gets_total counter
warmpage_pool_gets_total{pool="orders",type="[64]uint8"} 3
# HELP warmpage_pool_info Always 1; off_heap says whether slots lie outside the Go heap, access how Get and Put get a part of the pool to themselves: nosplit, pinned or locked.
# TYPE warmpage_pool_info gauge
warmpage_pool_info{access="%s",off_heap="%t",pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_limit_bytes Upper bound on mapped bytes, set by WithLimit; absent if a pool with these labels has no limit.
# TYPE warmpage_pool_limit_bytes gauge
warmpage_pool_limit_bytes{pool="orders",type="[64]uint8"} 1.048576e+06
# HELP warmpage_pool_live_slots Slots handed out and not yet Put.
# TYPE warmpage_pool_live_slots gauge
warmpage_pool_live_slots{pool="orders",type="[64]uint8"} 2
# HELP warmpage_pool_open Open pools with these labels.
# TYPE warmpage_pool_open gauge
warmpage_pool_open{pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_pages Pages that the pool holds.
# TYPE warmpage_pool_pages gauge
warmpage_pool_pages{pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_slot_size_bytes Bytes from one slot to the next; the largest value of the pools with these labels.
# TYPE warmpage_pool_slot_size_bytes gauge
warmpage_pool_slot_size_bytes{pool="orders",type="[64]uint8"} %d
`, st.Access, st.OffHeap, st.SlotSize)
	assert.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(want),
		"warmpage_pool_gets_total", "warmpage_pool_info", "warmpage_pool_limit_bytes", "warmpage_pool_live_slots",
		"warmpage_pool_open", "warmpage_pool_pages", "warmpage_pool_slot_size_bytes"))
	orders.PutBatch(held[:2])
	require.NoError(t, orders.Close())
}

// A limit that is not set has no series, so that no query divides by 0.
func TestNoLimit(t *testing.T) {
	r := registered(t, NewCollector())
	p := pool.New[[64]byte]()
	defer p.Close()
	assert.Empty(t, gather(t, r, "warmpage_memory_limit_bytes"))
	assert.Empty(t, gather(t, r, "warmpage_pool_limit_bytes"))
	assert.Len(t, gather(t, r, "warmpage_pool_mapped_bytes"), 1)
	defer pool.SetProcessLimit(pool.SetProcessLimit(1 << 40))
	for range 2 {
		assert.Equal(t, map[string]float64{"": 1 << 40}, gather(t, r, "warmpage_memory_limit_bytes"))
	}
}

func TestProcessMemory(t *testing.T) {
	r := registered(t, NewCollector())
	p := pool.New[[64]byte]()
	x := p.Get()
	m := pool.ReadMemory()
	assert.NotZero(t, m.InUse)
	assert.Equal(t, float64(m.InUse), gather(t, r, "warmpage_memory_in_use_bytes")[""])
	assert.Equal(t, float64(m.Reserved), gather(t, r, "warmpage_memory_reserved_bytes")[""])
	assert.Equal(t, float64(m.Records), gather(t, r, "warmpage_memory_records_bytes")[""])
	assert.Equal(t, float64(m.SystemCalls), gather(t, r, "warmpage_memory_system_calls_total")[""])
	assert.Equal(t, float64(m.WorldStops), gather(t, r, "warmpage_memory_world_stops_total")[""])
	p.Put(x)
	require.NoError(t, p.Close())
}

// A pool on the Go heap forgets slots, and what the collector has taken of them moves from the live
// slots to the lost ones.
func TestLostSlots(t *testing.T) {
	r := registered(t, NewCollector())
	p := pool.New[[64]byte](pool.WithName("forgets"), pool.WithGoHeap())
	n := 10 * p.Stats().SlotsPerPage
	p.GetBatch(make([]*[64]byte, n))
	const labels, lost, live = "forgets [64]uint8", "warmpage_pool_lost_slots_total", "warmpage_pool_live_slots"
	m := p.Stats().MappedBytes
	assert.NotZero(t, m)
	assert.Equal(t, float64(m), gather(t, r, "warmpage_memory_go_heap_bytes")[""])
	assert.Zero(t, gather(t, r, "warmpage_memory_in_use_bytes")[""])
	require.Eventually(t, func() bool {
		runtime.GC()
		return gather(t, r, lost)[labels] >= float64(n/2)
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, float64(n), gather(t, r, live)[labels]+gather(t, r, lost)[labels])
	assert.Less(t, gather(t, r, "warmpage_memory_go_heap_bytes")[""], float64(m))
	require.NoError(t, p.Close())
	assert.Zero(t, gather(t, r, "warmpage_memory_go_heap_bytes")[""])
}

// Every number in Stats and in Memory is the value of exactly one metric. A new field in either
// needs a new metric.
func TestEveryNumber(t *testing.T) {
	values := func(now reading) map[string]float64 {
		families, err := registered(t, newCollector(func() reading { return now })).Gather()
		require.NoError(t, err)
		all := make(map[string]float64)
		for _, f := range families {
			require.Len(t, f.Metric, 1)
			all[f.GetName()] = f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
		}
		return all
	}
	const value = 1234567
	seen := make(map[string]string)
	check := func(field string, now reading) {
		var changed []string
		before := values(reading{pools: make([]pool.Stats, 1)})
		for name, v := range values(now) {
			if v == value {
				changed = append(changed, name)
			} else {
				assert.Equal(t, before[name], v, "%s, which %s must not change", name, field)
			}
		}
		if assert.Len(t, changed, 1, "metrics set by %s", field) {
			assert.Empty(t, seen[changed[0]], "%s is set by %s too", changed[0], field)
			seen[changed[0]] = field
		}
	}
	number := func(f reflect.Value) bool {
		switch {
		case f.CanInt():
			f.SetInt(value)
		case f.CanUint():
			f.SetUint(value)
		case f.CanFloat():
			f.SetFloat(value)
		default:
			return false
		}
		return true
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pool.Stats]()) {
		var st pool.Stats
		if f.Name != "ID" && number(reflect.ValueOf(&st).Elem().FieldByName(f.Name)) {
			check("Stats."+f.Name, reading{pools: []pool.Stats{st}})
		}
	}
	assert.Greater(t, len(seen), 15)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pool.Memory]()) {
		var m pool.Memory
		if number(reflect.ValueOf(&m).Elem().FieldByName(f.Name)) {
			check("Memory."+f.Name, reading{pools: make([]pool.Stats, 1), memory: memory{Memory: m}})
		}
	}
	check("the process limit", reading{pools: make([]pool.Stats, 1), memory: memory{limit: value}})
	others := slices.Sorted(maps.Keys(exported(t)))
	others = slices.DeleteFunc(others, func(name string) bool { return seen[name] != "" })
	assert.Equal(t, []string{"warmpage_pool_info", "warmpage_pool_open"}, others, "metrics that no number sets")
}

// Strings and booleans in Stats are exported too. This test fails when one is added.
func TestEveryOtherField(t *testing.T) {
	var others []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pool.Stats]()) {
		if k := f.Type.Kind(); k == reflect.String || k == reflect.Bool {
			others = append(others, f.Name)
		}
	}
	assert.Equal(t, []string{"Name", "Type", "OffHeap", "Access"}, others)
	now := reading{pools: []pool.Stats{{ID: 1, Name: "a", Type: "T", Access: "locked"}, {ID: 2, Name: "a", Type: "T", Access: "locked"}, {ID: 3, Name: "b", Type: "T", Access: "locked", OffHeap: true}, {ID: 4, Name: "c", Type: "U", Access: "pinned"}}}
	r := registered(t, newCollector(func() reading { return now }))
	assert.Equal(t, map[string]float64{"locked false a T": 1, "locked true b T": 1, "pinned false c U": 1}, gather(t, r, "warmpage_pool_info"))
}

func TestLint(t *testing.T) {
	now := reading{pools: []pool.Stats{{Name: "orders", Type: "main.Order", LimitBytes: 1, MaxSlots: 1}}, memory: memory{limit: 1}}
	r := registered(t, newCollector(func() reading { return now }))
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	assert.Empty(t, problems)
	n, err := testutil.GatherAndCount(r)
	require.NoError(t, err)
	t.Logf("%d metrics, %d problems", n, len(problems))
	assert.Equal(t, len(poolCounters)+len(poolGauges)+1+len(memoryCounters)+len(memoryGauges), n)
}

// used makes a pool with the given name and n slots in use. end puts the slots and closes the pool.
func used[T any](t *testing.T, name string, n int, opts ...pool.Option) (end func()) {
	t.Helper()
	p := pool.New[T](append(opts, pool.WithName(name))...)
	held := make([]*T, n)
	p.GetBatch(held)
	return func() {
		p.PutBatch(held)
		assert.NoError(t, p.Close())
	}
}

func TestEqualLabels(t *testing.T) {
	r := registered(t, NewCollector())
	for _, name := range []string{"twin", "twin", "", "", "", "single"} {
		defer used[[64]byte](t, name, 2)()
	}
	defer used[[8]byte](t, "single", 1)()
	want := map[string]float64{"twin [64]uint8": 4, " [64]uint8": 6, "single [64]uint8": 2, "single [8]uint8": 1}
	assert.Equal(t, want, gather(t, r, "warmpage_pool_live_slots"))
	assert.Equal(t, want, gather(t, r, "warmpage_pool_gets_total"))
	want = map[string]float64{"twin [64]uint8": 2, " [64]uint8": 3, "single [64]uint8": 1, "single [8]uint8": 1}
	assert.Equal(t, want, gather(t, r, "warmpage_pool_open"))
}

// Types with the same name may come from different packages and have different sizes.
func TestEqualLabelsOfDifferentPools(t *testing.T) {
	small := pool.Stats{ID: 1, SlotSize: 16, SlotsPerPage: 4096, LimitBytes: 1 << 16, OffHeap: true}
	large := pool.Stats{ID: 2, SlotSize: 64, SlotsPerPage: 1024, LimitBytes: 1 << 20, OffHeap: true}
	free := pool.Stats{ID: 3, SlotSize: 16, SlotsPerPage: 4096, Access: "pinned"}
	var now reading
	r := registered(t, newCollector(func() reading { return now }))
	for _, now.pools = range [][]pool.Stats{{small, large}, {large, small}} {
		assert.Equal(t, map[string]float64{" ": 64}, gather(t, r, "warmpage_pool_slot_size_bytes"))
		assert.Equal(t, map[string]float64{" ": 4096}, gather(t, r, "warmpage_pool_slots_per_page"))
		assert.Equal(t, map[string]float64{" ": 1<<16 + 1<<20}, gather(t, r, "warmpage_pool_limit_bytes"))
		assert.Equal(t, map[string]float64{" true  ": 1}, gather(t, r, "warmpage_pool_info"))
	}
	for _, now.pools = range [][]pool.Stats{{small, free, large}, {free, small}} {
		assert.Empty(t, gather(t, r, "warmpage_pool_limit_bytes"), "one of the pools has no limit")
		assert.Equal(t, map[string]float64{" true  ": 1, "pinned false  ": 1}, gather(t, r, "warmpage_pool_info"))
	}
}

func TestCountersOutliveClose(t *testing.T) {
	c := newCollector(readProcess)
	r := registered(t, c)
	gets := func() map[string]float64 { return gather(t, r, "warmpage_pool_gets_total") }
	endFirst := used[[64]byte](t, "closing", 3)
	defer used[[64]byte](t, "staying", 1)()
	assert.Equal(t, map[string]float64{"closing [64]uint8": 3, "staying [64]uint8": 1}, gets())

	endFirst()
	want := map[string]float64{"closing [64]uint8": 3, "staying [64]uint8": 1}
	for range 3 {
		assert.Equal(t, want, gets(), "kept, and not added again")
	}
	for _, gauge := range []string{"warmpage_pool_live_slots", "warmpage_pool_open", "warmpage_pool_slot_size_bytes", "warmpage_pool_info"} {
		values := gather(t, r, gauge)
		assert.Len(t, values, 1, gauge)
		for l := range values {
			assert.Contains(t, l, "staying")
		}
	}

	endSecond := used[[64]byte](t, "closing", 5)
	assert.Equal(t, 8.0, gets()["closing [64]uint8"], "the next pool with the name adds to it")
	assert.Equal(t, 5.0, gather(t, r, "warmpage_pool_live_slots")["closing [64]uint8"])
	endSecond()
	assert.Equal(t, 8.0, gets()["closing [64]uint8"])

	used[[64]byte](t, "unseen", 1)()
	assert.NotContains(t, gets(), "unseen [64]uint8", "no Collect came between New and Close")

	fresh := registered(t, NewCollector())
	assert.Equal(t, map[string]float64{"staying [64]uint8": 1}, gather(t, fresh, "warmpage_pool_gets_total"))
	assert.Len(t, c.open, 1, "pools remembered")
	assert.Len(t, c.gone, 1, "labels remembered")
}

// The memory of a collector grows with the number of labels, not with the number of pools.
func TestMemoryOfCollector(t *testing.T) {
	c := newCollector(readProcess)
	r := registered(t, c)
	for i := range 100 {
		end := used[[64]byte](t, fmt.Sprint("many ", i%2), 1)
		gather(t, r, "")
		end()
	}
	assert.Equal(t, map[string]float64{"many 0 [64]uint8": 50, "many 1 [64]uint8": 50}, gather(t, r, "warmpage_pool_gets_total"))
	assert.Empty(t, c.open)
	assert.Len(t, c.gone, 2)
}

func TestCountersOutliveGarbageCollection(t *testing.T) {
	r := registered(t, NewCollector())
	func() {
		p := pool.New[[64]byte](pool.WithName("forgotten"))
		p.Put(p.Get())
		p.Trim() // a pool with pages is never garbage
		assert.Equal(t, map[string]float64{"forgotten [64]uint8": 1}, gather(t, r, "warmpage_pool_open"))
	}()
	require.Eventually(t, func() bool { // takes some ticks, until the pool's timer has stopped
		runtime.GC()
		return len(pool.ReadStats()) == 0
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, map[string]float64{"forgotten [64]uint8": 1}, gather(t, r, "warmpage_pool_gets_total"))
	assert.Empty(t, gather(t, r, "warmpage_pool_open"))
}

// Counters in the Stats of a pool that is in use may briefly be lower than before, or wrap below 0.
func TestCountersNeverGoDown(t *testing.T) {
	st := pool.Stats{ID: 1}
	r := registered(t, newCollector(func() reading { return reading{pools: []pool.Stats{st}} }))
	value := func(gets uint64) float64 {
		st.Gets = gets
		return gather(t, r, "warmpage_pool_gets_total")[" "]
	}
	assert.Equal(t, 0.0, value(^uint64(2)), "a new pool")
	assert.Equal(t, 100.0, value(100))
	assert.Equal(t, 100.0, value(99))
	assert.Equal(t, 100.0, value(^uint64(2)))
	assert.Equal(t, 101.0, value(101))
}

// Pools come and go while other goroutines gather. Each pool is gathered once before it closes.
func TestConcurrently(t *testing.T) {
	r := registered(t, NewCollector())
	total := func() float64 { return gather(t, r, "warmpage_pool_gets_total")["busy [64]uint8"] }
	const workers, rounds = 4, 50
	done := make(chan struct{})
	var working, watching sync.WaitGroup
	for range 2 {
		watching.Add(1)
		go func() {
			defer watching.Done()
			for last := 0.0; ; {
				now := total()
				if !assert.GreaterOrEqual(t, now, last) {
					return
				}
				last = now
				select {
				case <-done:
					return
				default:
				}
			}
		}()
	}
	for range workers {
		working.Add(1)
		go func() {
			defer working.Done()
			for range rounds {
				end := used[[64]byte](t, "busy", 3)
				total()
				end()
			}
		}()
	}
	working.Wait()
	close(done)
	watching.Wait()
	assert.Equal(t, float64(workers*rounds*3), total(), "each Get counted once")
}

// When Collects run at the same time, none sees a pool that another has already found gone.
func TestCollectsDoNotOvertake(t *testing.T) {
	var last atomic.Uint64
	r := registered(t, newCollector(func() reading {
		id := last.Add(1)
		for range 10 {
			runtime.Gosched() // so that another Collect overtakes this one, if it can
		}
		return reading{pools: []pool.Stats{{ID: id, Gets: 1}, {ID: id + 1, Gets: 1}}}
	}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				gather(t, r, "")
			}
		}()
	}
	wg.Wait()
	total := gather(t, r, "warmpage_pool_gets_total")[" "]
	assert.Equal(t, float64(last.Load()+1), total, "each pool counted once")
}

func TestLabelsAreUTF8(t *testing.T) {
	r := registered(t, NewCollector())
	defer used[[64]byte](t, "a\xff\xfeb\xc3", 1)()
	defer used[[64]byte](t, "a\uFFFDb\uFFFD", 2)()
	defer used[[64]byte](t, "größe \"x\"\n", 4)()
	assert.Equal(t, map[string]float64{"a\uFFFDb\uFFFD [64]uint8": 3, "größe \"x\"\n [64]uint8": 4}, gather(t, r, "warmpage_pool_live_slots"))
	now := reading{pools: []pool.Stats{{Type: "struct { a int \"\xff\" }"}}}
	assert.Len(t, gather(t, registered(t, newCollector(func() reading { return now })), "warmpage_pool_open"), 1)
}

func TestOneToARegistry(t *testing.T) {
	r := registered(t, NewCollector())
	var already prometheus.AlreadyRegisteredError
	assert.ErrorAs(t, r.Register(NewCollector()), &already)
	assert.NoError(t, prometheus.NewRegistry().Register(NewCollector()), "another registry accepts one")
}
