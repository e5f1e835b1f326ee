//go:build !race && !js && !wasip1

package pool_test

import (
	"fmt"

	"github.com/warmpage/pool"
)

func ExamplePool_Trim() {
	p := pool.New[Order]()
	batch := make([]*Order, 10000)
	p.GetBatch(batch)
	p.PutBatch(batch)
	fmt.Println(p.Trim() > 0, p.Stats().Pages)
	// Output: true 0
}

func ExampleReadMemory() {
	p := pool.New[[64]byte]()
	p.Put(p.Get())
	before := pool.ReadMemory()
	p.Trim()
	after := pool.ReadMemory()
	fmt.Println(before.InUse-after.InUse, after.Purged-before.Purged >= 64<<10)
	// Output: 65536 true
}
