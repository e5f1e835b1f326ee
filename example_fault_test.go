//go:build !race && !pooldebug && !js && !wasip1 && !s390x

// An s390x reports only the OS page of a fault.

package pool_test

import (
	"fmt"
	"log"
	"runtime/debug"
	"strings"

	"github.com/warmpage/pool"
)

// A use after Put, found in a guarded slot. The rest of the description says where the slot was got
// and put.
func ExampleDescribeFault() {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	orders := pool.New[Order](pool.WithName("orders"), pool.WithGuardSampling(1))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			description, _, _ := strings.Cut(pool.DescribeFault(e.Addr()), "\n")
			_, description, _ = strings.Cut(description, ": ") // without the address
			fmt.Println(description)
		}
	}()
	o, err := orders.TryGet()
	if err != nil {
		log.Fatal(err)
	}
	orders.Put(o)
	o.ID = 1
	// Output: 0 bytes into a slot of pool "orders" (pool_test.Order), which was Put
}
