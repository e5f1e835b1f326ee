package poolprom_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/poolprom"
)

func ExampleNewCollector() {
	registry := prometheus.NewRegistry() // or prometheus.DefaultRegisterer
	collector := poolprom.NewCollector()
	registry.MustRegister(collector)

	orders := pool.New[[64]byte](pool.WithName("orders"))
	o := orders.Get()

	// Two of the metrics that promhttp.HandlerFor(registry, ...) would serve.
	text, err := testutil.CollectAndFormat(collector, expfmt.TypeTextPlain,
		"warmpage_pool_gets_total", "warmpage_pool_live_slots")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(text))
	orders.Put(o)
	orders.Close()
	// Output:
	// # HELP warmpage_pool_gets_total Gets of all kinds, failed ones included; each slot of a GetBatch counts as one.
	// # TYPE warmpage_pool_gets_total counter
	// warmpage_pool_gets_total{pool="orders",type="[64]uint8"} 1
	// # HELP warmpage_pool_live_slots Slots handed out and not yet Put.
	// # TYPE warmpage_pool_live_slots gauge
	// warmpage_pool_live_slots{pool="orders",type="[64]uint8"} 1
}
