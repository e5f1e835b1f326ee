// Package group has several pools in several files.
package group

import (
	"fmt"
	"sync"

	"github.com/warmpage/pool"
)

var (
	first  = sync.Pool{New: func() any { return new([8]int) }}    // want `sync.Pool first holds`
	second = sync.Pool{New: func() any { return new([16]int64) }} // want `sync.Pool second holds`
	third  = pool.New[[32]int]()
)

// Numbers uses the pools of both files.
func Numbers() string {
	a := first.Get().(*[8]int)
	defer first.Put(a)
	b := second.Get().(*[16]int64)
	defer second.Put(b)
	c := third.Get()
	defer third.Put(c)
	a[0], b[0], c[0] = 1, 2, 3
	return fmt.Sprintln(a[0], b[0], c[0], other())
}
