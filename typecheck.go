package pool

import (
	"fmt"
	"reflect"
)

// A TypeError says why a type cannot live in a pool, or only in one with [WithGoHeap]. [New] panics
// with a *TypeError, and [CheckType] returns one.
type TypeError struct {
	Type string // the type, as in main.Order
	// Path leads to the first field or element that holds a Go pointer, and ends with its type, as
	// in main.Order.Items[].Name (string). For a type of the wrong size, Path is the same as Type.
	Path   string
	Reason string // what is wrong there, and what to do
}

// Error returns Type, Path and Reason in one line.
func (e *TypeError) Error() string {
	place := "off-heap"
	if e.Path == e.Type { // its size is wrong
		place = "in a pool"
	}
	return fmt.Sprintf("pool: %s cannot live %s: %s %s", e.Type, place, e.Path, e.Reason)
}

// checkType returns an error if values of t cannot live in a pool. The garbage collector does not
// look into off-heap memory, so it would free what only a slot refers to.
func checkType(t reflect.Type, goHeap bool) error {
	fail := func(path, reason string) error {
		return &TypeError{Type: t.String(), Path: path, Reason: reason}
	}
	if path, culprit := findPointer(t, t.String()); culprit != nil && !goHeap {
		return fail(fmt.Sprintf("%s (%s)", path, culprit),
			"is or contains a Go pointer, which the garbage collector cannot see there; make the pool with WithGoHeap(), or store an index, a fixed-size array or an integer handle instead")
	}
	switch size := t.Size(); {
	case size == 0:
		return fail(t.String(), "has size 0: there is nothing to pool; use the type's zero value")
	case size > MaxSlotSize:
		return fail(t.String(), fmt.Sprintf("has %d bytes, and a slot at most %d (MaxSlotSize); pool its parts, or allocate it with new", size, MaxSlotSize))
	}
	return nil
}

// findPointer returns the path and the type of the first part of t that the garbage collector would
// have to follow. If there is none, the type is nil.
func findPointer(t reflect.Type, path string) (string, reflect.Type) {
	switch t.Kind() {
	case reflect.Bool, reflect.Uintptr, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "", nil
	case reflect.Array:
		if t.Len() == 0 {
			return "", nil
		}
		return findPointer(t.Elem(), path+"[]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if path, culprit := findPointer(f.Type, path+"."+f.Name); culprit != nil {
				return path, culprit
			}
		}
		return "", nil
	}
	// String, Slice, Map, Chan, Func, Interface, Pointer, UnsafePointer, and any kind that a later
	// Go may add.
	return path, t
}
