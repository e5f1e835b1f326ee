package refused

import "sync"

var tested = sync.Pool{New: func() any { return new(T) }} // no: it is in a test file

func useTested() {
	t := tested.Get().(*T)
	tested.Put(t)
}

func init() { inTest.Put(new(T)) }
