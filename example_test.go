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

// Pooled objects refer to each other by Refs, which the garbage collector does not
// follow.
func ExampleRef() {
	type node struct {
		value int
		next  pool.Ref[node]
	}
	nodes := pool.New[node]()
	var head pool.Ref[node]
	for v := range 3 {
		n := nodes.Get()
		n.value, n.next = v, head
		head = nodes.Ref(n)
	}
	for n := nodes.Deref(head); n != nil; n = nodes.Deref(n.next) {
		fmt.Println(n.value)
	}
	fmt.Println(nodes.PutRef(head), nodes.PutRef(head), nodes.Deref(head) == nil)
	// Output:
	// 2
	// 1
	// 0
	// true false true
}

func ExamplePool_All() {
	sessions := pool.New[[32]byte]()
	for id := range 4 {
		copy(sessions.Get()[:], fmt.Sprintf("session %d", id))
	}
	for ref, s := range sessions.All() { // those with an odd number are over
		if s[8]%2 != 0 {
			sessions.PutRef(ref)
		}
	}
	fmt.Println(sessions.Stats().Live)
	// Output: 2
}
