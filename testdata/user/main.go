// The program of a user of the library. fast_code_test.go builds it in several ways, runs it, and looks at
// its code.
package main

import (
	"fmt"

	"github.com/warmpage/pool"
)

type object struct{ words [8]uint64 }

// The three calls, each in a function of its own, that the test looks at.

//go:noinline
func get(p *pool.Pool[object]) *object { return p.Get() }

//go:noinline
func getNoZero(p *pool.Pool[object]) *object { return p.GetNoZero() }

//go:noinline
func put(p *pool.Pool[object], x *object) { p.Put(x) }

// use does something with each of them, and returns how the pool gets its shards.
func use() string {
	p := pool.New[object]()
	var all [1000]*object
	for i := range all {
		if all[i] = get(p); i%2 == 0 {
			put(p, all[i])
			all[i] = getNoZero(p)
		}
	}
	_ = p.Ref(all[0])
	for _, x := range all {
		put(p, x)
	}
	return p.Stats().Access
}

func main() { fmt.Println(use()) }
