//go:build !race && !pooldebug && !js && !wasip1

package pool_test

import (
	"errors"
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

func ExampleWithLimit() {
	requests := pool.New[[1024]byte](pool.WithName("requests"), pool.WithLimit(64<<10))
	var held []*[1024]byte
	for {
		r, err := requests.TryGet()
		if err != nil {
			fmt.Println(errors.Is(err, pool.ErrLimit), len(held))
			break
		}
		held = append(held, r)
	}
	requests.Put(held[0])
	_, err := requests.TryGet()
	fmt.Println(err)
	// Output:
	// true 64
	// <nil>
}
