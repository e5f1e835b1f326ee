package pool_test

import (
	"errors"
	"fmt"

	"github.com/warmpage/pool"
)

type Order struct {
	ID     uint64
	Price  int64
	Qty    int32
	Side   byte
	Symbol [8]byte
}

func Example() {
	orders := pool.New[Order](pool.WithName("orders"))
	o := orders.Get() // zeroed, off-heap
	o.ID, o.Price, o.Qty = 1, 10050, 3
	fmt.Println(o.ID, o.Price, o.Qty, orders.Stats().Live)
	orders.Put(o) // o must not be used any more
	fmt.Println(orders.Stats().Live, orders.Close())
	// Output:
	// 1 10050 3 1
	// 0 <nil>
}

func ExampleCheckType() {
	type Item struct{ Name string }
	type Cart struct{ Items [4]Item }
	fmt.Println(pool.CheckType[[16]byte]())
	var e *pool.TypeError
	if errors.As(pool.CheckType[Cart](), &e) {
		fmt.Println(e.Path)
	}
	// Output:
	// <nil>
	// pool_test.Cart.Items[].Name (string)
}

func ExamplePool_GetBatch() {
	p := pool.New[Order]()
	batch := make([]*Order, 64)
	p.GetBatch(batch)
	fmt.Println(p.Stats().Live)
	p.PutBatch(batch)
	fmt.Println(p.Stats().Live)
	// Output:
	// 64
	// 0
}

func ExamplePool_Put() {
	p := pool.New[Order](pool.WithName("orders"))
	o := p.Get()
	p.Put(o)
	defer func() {
		err, _ := recover().(error)
		fmt.Println(errors.Is(err, pool.ErrDoublePut))
	}()
	p.Put(o)
	// Output: true
}

func ExamplePool_TryGet() {
	p := pool.New[Order]()
	p.Close()
	_, err := p.TryGet()
	fmt.Println(errors.Is(err, pool.ErrClosed))
	// Output: true
}

func ExamplePool_Close() {
	p := pool.New[Order]()
	o := p.Get()
	fmt.Println(errors.Is(p.Close(), pool.ErrInUse))
	p.Put(o)
	fmt.Println(p.Close())
	// Output:
	// true
	// <nil>
}

func ExamplePool_Trim() {
	p := pool.New[Order]()
	batch := make([]*Order, 10000)
	p.GetBatch(batch)
	p.PutBatch(batch)
	fmt.Println(p.Trim() > 0, p.Stats().Pages)
	// Output: true 0
}
