//go:build !pooldebug

package pool

import "unsafe"

// debugging says that the build looks for the program's mistakes: see debug_on.go.
const debugging = false

// redZone is how many bytes at least follow each slot to be watched.
const redZone = 0

// history is what a pool knows of what became of its slots: nothing.
//
//lint:ignore U1000 for the debug build
type history struct{}

// A quarantinedSlot was put and is kept from its next user for a time: see debug_on.go.
type quarantinedSlot struct{ x unsafe.Pointer }

func (w *watches) debugGot(string, unsafe.Pointer) error          { return nil }
func (w *watches) debugPut(string, unsafe.Pointer) error          { return nil }
func (w *watches) debugDescribe(uintptr) string                   { return "" }
func (w *watches) debugForget(*page)                              {}
func (w *watches) debugPutGuarded(string, unsafe.Pointer) error   { return nil }
func (w *watches) takeQuarantined() []quarantinedSlot             { return nil }
func (w *watches) overdue() []quarantinedSlot                     { return nil }
func (w *watches) checkQuarantined(string, quarantinedSlot) error { return nil }
func (w *watches) leaveQuarantine()                               {}
func (w *watches) quarantined() int                               { return 0 }
func (w *watches) debugDrop(unsafe.Pointer)                       {}
func debugCheck(*shard)                                           {}

// leaks returns the slots in use that the profile has sampled.
func (w *watches) leaks() []Leak {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Leak
	for addr, s := range w.samples {
		all = append(all, Leak{Pool: w.spec.name, Type: w.spec.typeName, Addr: addr, ID: w.spec.id, stack: s})
	}
	return all
}
