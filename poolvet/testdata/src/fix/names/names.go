// Package names uses the name pool already.
package names

import "sync"

type cell [16]int

var pool = sync.Pool{New: func() any { return new(cell) }} // want `sync.Pool pool holds`

// Fill returns the sum of n to n+15.
func Fill(n int) (sum int) {
	c := pool.Get().(*cell)
	defer pool.Put(c)
	for i := range c {
		c[i] = n + i
	}
	for _, x := range c {
		sum += x
	}
	return sum
}
