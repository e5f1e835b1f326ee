package loops

import "unsafe"

// Objects of the catalog's sizes.
type (
	Obj16   [16 / wordSize]uint64
	Obj64   [64 / wordSize]uint64
	Obj256  [256 / wordSize]uint64
	Obj1024 [1024 / wordSize]uint64
)

const wordSize = unsafe.Sizeof(uint64(0))

// An Obj96 is an object of catalog.HeapSize with pointers.
type Obj96 struct {
	Next, Other *Obj96
	Name        string
	Buf         []byte
	N           [5]uint64
}
