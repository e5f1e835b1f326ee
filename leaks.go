package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Leak is a slot in use, as [Leaks] found it.
type Leak struct {
	Pool string  // the pool's name, as given to WithName
	Type string  // the pool's T, as in main.Order
	Addr uintptr // of the slot: what Get returned

	stack stack
}

// String returns the pool, the address, and in further lines the stack of the Get.
func (l Leak) String() string {
	return fmt.Sprintf("pool %q (%s): slot %#x, got at:\n%s", l.Pool, l.Type, l.Addr, l.stack)
}

// Leaks returns all slots of all open pools that are in use, with the stacks that got them: pools
// in the order in which they were made, slots by address. It knows them in builds with -tags
// pooldebug; in others it returns nil, and [WithProfile] shows a sample of them. Any goroutine may
// call it.
func Leaks() []Leak {
	var all []Leak
	for _, c := range openPools() {
		leaks := c.leaks()
		slices.SortFunc(leaks, func(a, b Leak) int { return cmp.Compare(a.Addr, b.Addr) })
		all = append(all, leaks...)
	}
	return all
}

// someLeaks lists a few slots in use, for the error of Close.
func (c *core) someLeaks() string {
	const most = 10
	var b strings.Builder
	for k, leak := range c.leaks() {
		if k == most {
			b.WriteString("\nand others")
			break
		}
		fmt.Fprintf(&b, "\nslot %#x, got at:\n%s", leak.Addr, leak.stack)
	}
	return b.String()
}
