//go:build 386 || arm || mips || mipsle || wasm

package pool

// How addresses are looked up, and how many are reserved at a time, where there are few: a
// leaf has 64 MiB, and takes 32 KiB, or 64 KiB on wasm.
const (
	addressBits   = 32
	leafShift     = 26
	firstRegion   = 16 << 20
	largestRegion = 256 << 20
)
