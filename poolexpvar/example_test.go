package poolexpvar_test

import (
	"encoding/json"
	"expvar"
	"fmt"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/poolexpvar"
)

func ExamplePublish() {
	poolexpvar.Publish("pools") // now /debug/vars includes it

	orders := pool.New[[64]byte](pool.WithName("orders"))
	o := orders.Get()

	var vars struct {
		Memory       pool.Memory
		ProcessLimit int64
		Pools        []pool.Stats
	}
	if err := json.Unmarshal([]byte(expvar.Get("pools").String()), &vars); err != nil {
		fmt.Println(err)
	}
	for _, p := range vars.Pools {
		fmt.Println(p.Name, p.Type, p.Live)
	}
	orders.Put(o)
	orders.Close()
	// Output: orders [64]uint8 1
}
