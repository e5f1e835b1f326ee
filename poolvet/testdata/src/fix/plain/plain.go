// Package plain has imports of other modules.
package plain

import (
	"strconv"
	"sync"

	"example.com/ant"
	"zebra.example/zebra"
)

type digits [20]byte

var numbers = sync.Pool{New: func() any { return new(digits) }} // want `sync.Pool numbers holds`

// Format is strconv.Itoa.
func Format(n int) string {
	d := numbers.Get().(*digits)
	defer numbers.Put(d)
	return ant.Name + zebra.Name + string(strconv.AppendInt(d[:0], int64(n), 10))
}
