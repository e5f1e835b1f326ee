//go:build !(386 || arm || mips || mipsle || wasm)

package pool

// How addresses are looked up, and how many are reserved at a time, where there are many: a
// leaf has 1 GiB, and takes 1 MiB of address space itself.
const (
	addressBits   = 48
	leafShift     = 30
	firstRegion   = 64 << 20
	largestRegion = 16 << 30
)
