// The program asks the runtime at which instructions of given functions it would preempt a goroutine.
// fast_code_test.go builds it with -ldflags=-checklinkname=0, without which the linker does not allow
// that. The arguments are the offset of m.curg, and for each function its name, address and size.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"github.com/warmpage/pool"
)

//go:linkname isAsyncSafePoint runtime.isAsyncSafePoint
func isAsyncSafePoint(gp unsafe.Pointer, pc, sp, lr uintptr) (bool, uintptr)

// getm returns the runtime's m, word by word.
//
//go:linkname getm runtime.getm
func getm() *[64]unsafe.Pointer

func number(arg string) uintptr {
	n, err := strconv.ParseUint(arg, 0, 64)
	if err != nil {
		panic(err)
	}
	return uintptr(n)
}

func main() {
	p := pool.New[[64]byte]()
	p.Put(p.Get()) // so that the linker keeps them
	curg := number(os.Args[1]) / unsafe.Sizeof(uintptr(0))
	offsets := make(map[string][]uintptr)
	for args := os.Args[2:]; len(args) != 0; args = args[3:] {
		start := number(args[1])
		offsets[args[0]] = []uintptr{}
		for offset := range number(args[2]) {
			var sp byte
			if yes, _ := isAsyncSafePoint(getm()[curg], start+offset, uintptr(unsafe.Pointer(&sp)), 0); yes {
				offsets[args[0]] = append(offsets[args[0]], offset)
			}
		}
	}
	out, err := json.Marshal(offsets)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(out))
}
