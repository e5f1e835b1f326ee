package pool_test

import (
	"fmt"

	"github.com/warmpage/pool"
)

// A request has pointers, and a buffer that is worth keeping.
type rpc struct {
	method string
	header map[string]string
	body   []byte
}

func ExampleWithGoHeap() {
	p := pool.New[rpc](pool.WithGoHeap())
	r := p.Get() // zeroed, as from new(rpc)
	r.method = "Echo"
	r.header = map[string]string{"id": "7"}
	fmt.Println(r.method, r.header["id"])
	p.Put(r) // cleared: the map is garbage from here on

	r = p.Get()
	fmt.Println(r.method == "", r.header == nil)
	// Output:
	// Echo 7
	// true true
}

func ExampleWithInit() {
	p := pool.New[rpc](
		pool.WithGoHeap(),
		pool.WithInit(func(r *rpc) { // like sync.Pool's New
			r.header = make(map[string]string)
			r.body = make([]byte, 0, 4096)
		}),
		pool.WithReset(func(r *rpc) { // in Put
			r.method = ""
			clear(r.header)
			r.body = r.body[:0]
		}),
	)
	r := p.Get()
	r.body = append(r.body, "hello"...)
	p.Put(r)

	r = p.Get() // the same object: its map and its buffer are there still
	fmt.Println(len(r.header), len(r.body), cap(r.body))
	// Output:
	// 0 0 4096
}

func ExampleWithReset() {
	type session struct{ key [32]byte }
	p := pool.New[session](pool.WithReset(func(s *session) {
		clear(s.key[:]) // a free slot keeps no secrets
	}))
	s := p.Get()
	s.key[0] = 1
	p.Put(s)
	fmt.Println(p.GetNoZero().key[0])
	// Output:
	// 0
}
