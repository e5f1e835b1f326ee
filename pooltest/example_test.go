package pooltest_test

import (
	"testing"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/pooltest"
)

type Order struct{ ID, Price int64 }

// fill works on an order and puts it.
func fill(orders *pool.Pool[Order], o *Order) { orders.Put(o) }

// In a file of tests, this is TestFill. It fails if fill does not put the order.
func ExampleNew() {
	testFill := func(t *testing.T) {
		orders := pooltest.New[Order](t)
		fill(orders, orders.Get())
	}
	_ = testFill
	// Output:
}

// In a file of tests, this is TestMain.
func ExampleVerifyNone() {
	testMain := func(m *testing.M) {
		pooltest.VerifyNone(m, pooltest.Ignore("cache")) // which keeps its entries
	}
	_ = testMain
	// Output:
}
