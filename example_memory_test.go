//go:build !race && !pooldebug && !js && !wasip1

package pool_test

import (
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/warmpage/pool"
)

func ExamplePool_Trim() {
	orders := pool.New[Order]()
	batch := make([]*Order, 10000)
	orders.GetBatch(batch)
	orders.PutBatch(batch)
	fmt.Println(orders.Trim() > 0, orders.Stats().Pages)
	// Output: true 0
}

func ExampleReadMemory() {
	orders := pool.New[Order]()
	orders.Put(orders.Get())
	before := pool.ReadMemory()
	orders.Trim()
	after := pool.ReadMemory()
	fmt.Println(before.InUse-after.InUse >= 64<<10, after.Purged-before.Purged >= 64<<10)
	// Output: true true
}

// A program that has become idle gives back what all its pools keep.
func ExampleTrimAll() {
	orders := pool.New[Order]()
	orders.Put(orders.Get())
	fmt.Println(pool.TrimAll() >= 64<<10, orders.Stats().Pages)
	// Output: true 0
}

func ExampleWithLimit() {
	requests := pool.New[[1024]byte](pool.WithName("requests"), pool.WithLimit(64<<10))
	var held []*[1024]byte
	for {
		r, err := requests.TryGet()
		if errors.Is(err, pool.ErrLimit) {
			fmt.Println(err)
			break
		}
		held = append(held, r)
	}
	requests.Put(held[0])
	_, err := requests.TryGet()
	fmt.Println(len(held), err)
	// Output:
	// pool "requests" ([1024]uint8): limit reached: no slot is free, and WithLimit allows no more than 64 KiB; Put slots, or raise the limit
	// 64 <nil>
}

func ExampleWriteProfile() {
	carts := pool.New[[64]byte](pool.WithName("carts"), pool.WithProfile(1)) // a sample for each Get
	batch := make([]*[64]byte, 3)
	carts.GetBatch(batch)
	defer carts.PutBatch(batch)
	var text strings.Builder
	if err := pool.WriteProfile(&text, 1); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasSuffix(line, "of carts\n") { // the stack follows
			fmt.Print(line)
		}
	}
	// Output: 3 slots, 192 bytes of carts
}

func ExampleWithGuardSampling() {
	orders := pool.New[Order](pool.WithGuardSampling(1)) // 1000, in production
	o, err := orders.TryGet()
	if err != nil {
		log.Fatal(err)
	}
	orders.Put(o) // from here on, the program ends if it looks at o
	fmt.Println(orders.Stats().GuardedGets)
	// Output: 1
}
