//go:build !pooldebug

package pool

import "unsafe"

// debugging says that the build looks for the program's mistakes: see debug_on.go.
const debugging = false

// redZone is how many bytes follow each slot to be watched.
const redZone = 0

// history is what a pool knows of what became of its slots: nothing.
//
//lint:ignore U1000 for the debug build
type history struct{}

func (c *core) debugGot(string, unsafe.Pointer) error { return nil }
func (c *core) debugPut(string, unsafe.Pointer) error { return nil }
func (c *core) debugPutGuarded(uintptr)               {}
func (c *core) debugDescribe(uintptr) string          { return "" }
func (c *core) debugCheck(*shard)                     {}
func (c *core) debugForget(*page)                     {}
func (c *core) releaseKept(string)                    {}
func (c *core) kept() int                             { return 0 }
func (c *core) leaks() []Leak                         { return nil }
