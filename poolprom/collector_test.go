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

// registered returns a registry that has c, and checks what it describes against
// what it collects.
func registered(t *testing.T, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(c))
	return r
}

// gather returns the values of a metric by the values of its labels, in the order of
// the labels' names, with a space between them.
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

// exported returns the metrics of the collector: names, helps and types.
func exported(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	everything := reading{
		pools:  []pool.Stats{{LimitBytes: 1}},
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
# HELP warmpage_pool_gets_total Gets of all kinds, slots of GetBatch one by one, failed ones too.
# TYPE warmpage_pool_gets_total counter
warmpage_pool_gets_total{pool="orders",type="[64]uint8"} 3
# HELP warmpage_pool_info Always 1; off_heap says whether slots lie outside of the Go heap, pinned whether Get and Put pin rather than lock.
# TYPE warmpage_pool_info gauge
warmpage_pool_info{off_heap="%t",pinned="%t",pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_limit_bytes What mapped bytes may be by WithLimit; absent if a pool has no limit.
# TYPE warmpage_pool_limit_bytes gauge
warmpage_pool_limit_bytes{pool="orders",type="[64]uint8"} 1.048576e+06
# HELP warmpage_pool_live_slots Slots handed out and not yet Put.
# TYPE warmpage_pool_live_slots gauge
warmpage_pool_live_slots{pool="orders",type="[64]uint8"} 2
# HELP warmpage_pool_open Open pools that have these labels.
# TYPE warmpage_pool_open gauge
warmpage_pool_open{pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_pages Pages that the pool holds.
# TYPE warmpage_pool_pages gauge
warmpage_pool_pages{pool="orders",type="[64]uint8"} 1
# HELP warmpage_pool_slot_size_bytes Bytes from one slot to the next; the most of any of the pools.
# TYPE warmpage_pool_slot_size_bytes gauge
warmpage_pool_slot_size_bytes{pool="orders",type="[64]uint8"} %d
`, st.OffHeap, st.Pinned, st.SlotSize)
	assert.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(want),
		"warmpage_pool_gets_total", "warmpage_pool_info", "warmpage_pool_limit_bytes", "warmpage_pool_live_slots",
		"warmpage_pool_open", "warmpage_pool_pages", "warmpage_pool_slot_size_bytes"))
	orders.PutBatch(held[:2])
	require.NoError(t, orders.Close())
}

// Without a limit there is no series that something could be divided by.
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
	assert.Equal(t, float64(m.SystemCalls), gather(t, r, "warmpage_memory_system_calls_total")[""])
	p.Put(x)
	require.NoError(t, p.Close())
}

// Every number of Stats and of Memory is one metric, with that very value: a field
// that is added to either needs one.
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
				assert.Equal(t, before[name], v, "%s of %s", name, field)
			}
		}
		if assert.Len(t, changed, 1, "metrics of %s", field) {
			assert.Empty(t, seen[changed[0]], "%s is of %s too", changed[0], field)
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
	assert.Equal(t, []string{"warmpage_pool_info", "warmpage_pool_open"}, others, "of no number")
}

// Neither is a string or a truth that is added to Stats forgotten.
func TestEveryOtherField(t *testing.T) {
	var others []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pool.Stats]()) {
		if k := f.Type.Kind(); k == reflect.String || k == reflect.Bool {
			others = append(others, f.Name)
		}
	}
	assert.Equal(t, []string{"Name", "Type", "OffHeap", "Pinned"}, others)
	now := reading{pools: []pool.Stats{{ID: 1, Name: "a", Type: "T"}, {ID: 2, Name: "a", Type: "T"}, {ID: 3, Name: "b", Type: "T", OffHeap: true}, {ID: 4, Name: "c", Type: "U", Pinned: true}}}
	r := registered(t, newCollector(func() reading { return now }))
	assert.Equal(t, map[string]float64{"false false a T": 1, "true false b T": 1, "false true c U": 1}, gather(t, r, "warmpage_pool_info"))
}

func TestLint(t *testing.T) {
	now := reading{pools: []pool.Stats{{Name: "orders", Type: "main.Order", LimitBytes: 1}}, memory: memory{limit: 1}}
	r := registered(t, newCollector(func() reading { return now }))
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	assert.Empty(t, problems)
	n, err := testutil.GatherAndCount(r)
	require.NoError(t, err)
	t.Logf("%d metrics, %d problems", n, len(problems))
	assert.Equal(t, len(poolCounters)+len(poolGauges)+1+len(memoryCounters)+len(memoryGauges), n)
}

// used makes a pool of that name with n slots out, and returns what ends it.
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

// Types of one name may be of different packages, and sizes.
func TestEqualLabelsOfDifferentPools(t *testing.T) {
	small := pool.Stats{ID: 1, SlotSize: 16, SlotsPerPage: 4096, LimitBytes: 1 << 16, OffHeap: true}
	large := pool.Stats{ID: 2, SlotSize: 64, SlotsPerPage: 1024, LimitBytes: 1 << 20, OffHeap: true}
	free := pool.Stats{ID: 3, SlotSize: 16, SlotsPerPage: 4096, Pinned: true}
	var now reading
	r := registered(t, newCollector(func() reading { return now }))
	for _, now.pools = range [][]pool.Stats{{small, large}, {large, small}} {
		assert.Equal(t, map[string]float64{" ": 64}, gather(t, r, "warmpage_pool_slot_size_bytes"))
		assert.Equal(t, map[string]float64{" ": 4096}, gather(t, r, "warmpage_pool_slots_per_page"))
		assert.Equal(t, map[string]float64{" ": 1<<16 + 1<<20}, gather(t, r, "warmpage_pool_limit_bytes"))
		assert.Equal(t, map[string]float64{"true false  ": 1}, gather(t, r, "warmpage_pool_info"))
	}
	for _, now.pools = range [][]pool.Stats{{small, free, large}, {free, small}} {
		assert.Empty(t, gather(t, r, "warmpage_pool_limit_bytes"), "one of them has none")
		assert.Equal(t, map[string]float64{"true false  ": 1, "false true  ": 1}, gather(t, r, "warmpage_pool_info"))
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
		assert.Equal(t, want, gets(), "kept, and added once")
	}
	for _, gauge := range []string{"warmpage_pool_live_slots", "warmpage_pool_open", "warmpage_pool_slot_size_bytes", "warmpage_pool_info"} {
		values := gather(t, r, gauge)
		assert.Len(t, values, 1, gauge)
		for l := range values {
			assert.Contains(t, l, "staying")
		}
	}

	endSecond := used[[64]byte](t, "closing", 5)
	assert.Equal(t, 8.0, gets()["closing [64]uint8"], "the next pool of the name goes on")
	assert.Equal(t, 5.0, gather(t, r, "warmpage_pool_live_slots")["closing [64]uint8"])
	endSecond()
	assert.Equal(t, 8.0, gets()["closing [64]uint8"])

	used[[64]byte](t, "unseen", 1)()
	assert.NotContains(t, gets(), "unseen [64]uint8", "no Collect in between")

	fresh := registered(t, NewCollector())
	assert.Equal(t, map[string]float64{"staying [64]uint8": 1}, gather(t, fresh, "warmpage_pool_gets_total"))
	assert.Len(t, c.open, 1, "what is remembered of pools")
	assert.Len(t, c.gone, 1, "and of labels")
}

// What is remembered depends on how many labels there were, not on how many pools.
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
		p.Trim() // a pool that has pages is never garbage
		assert.Equal(t, map[string]float64{"forgotten [64]uint8": 1}, gather(t, r, "warmpage_pool_open"))
	}()
	require.Eventually(t, func() bool { // some ticks from now, when its timer has stopped
		runtime.GC()
		return len(pool.ReadStats()) == 0
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, map[string]float64{"forgotten [64]uint8": 1}, gather(t, r, "warmpage_pool_gets_total"))
	assert.Empty(t, gather(t, r, "warmpage_pool_open"))
}

// Stats of a pool that is in use may for a moment be less than before, or wrap below 0.
func TestCountersNeverGoDown(t *testing.T) {
	st := pool.Stats{ID: 1}
	r := registered(t, newCollector(func() reading { return reading{pools: []pool.Stats{st}} }))
	value := func(gets uint64) float64 {
		st.Gets = gets
		return gather(t, r, "warmpage_pool_gets_total")[" "]
	}
	assert.Equal(t, 0.0, value(^uint64(2)), "of a new pool")
	assert.Equal(t, 100.0, value(100))
	assert.Equal(t, 100.0, value(99))
	assert.Equal(t, 100.0, value(^uint64(2)))
	assert.Equal(t, 101.0, value(101))
}

// Pools come and go while others gather; each is seen before it goes.
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
	assert.Equal(t, float64(workers*rounds*3), total(), "each Get once")
}

// Of Collects at the same time, none sees pools that another one has found gone.
func TestCollectsDoNotOvertake(t *testing.T) {
	var last atomic.Uint64
	r := registered(t, newCollector(func() reading {
		id := last.Add(1)
		for range 10 {
			runtime.Gosched() // another Collect overtakes this one, if it can
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
	assert.Equal(t, float64(last.Load()+1), total, "each pool once")
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

func TestOneOfARegistry(t *testing.T) {
	r := registered(t, NewCollector())
	var already prometheus.AlreadyRegisteredError
	assert.ErrorAs(t, r.Register(NewCollector()), &already)
	assert.NoError(t, prometheus.NewRegistry().Register(NewCollector()), "but one of each")
}
