//go:build (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28

package pool

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Commands of membarrier(2), from linux/membarrier.h. x/sys has only the number of the call.
const (
	membarrierPrivateExpedited         = 1 << 3
	membarrierRegisterPrivateExpedited = 1 << 4
)

// osBarrierInit prepares osBarrier, and reports whether the kernel offers it. Linux has it since
// 4.14, but a sandbox may refuse it.
func osBarrierInit() bool {
	if membarrier(membarrierRegisterPrivateExpedited) != nil {
		return false
	}
	return membarrier(membarrierPrivateExpedited) == nil
}

// osBarrier makes every running thread of the process execute a full memory barrier.
func osBarrier() {
	if err := membarrier(membarrierPrivateExpedited); err != nil {
		panic("pool: membarrier, which worked before, fails: " + err.Error())
	}
}

func membarrier(cmd int) error {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, uintptr(cmd), 0, 0)
	if errno != 0 {
		return errors.New("membarrier: " + errno.Error())
	}
	return nil
}
