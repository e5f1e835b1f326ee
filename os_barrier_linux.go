package pool

import "golang.org/x/sys/unix"

// Commands of membarrier(2), from linux/membarrier.h. x/sys has only the number of the call.
const (
	membarrierPrivateExpedited         = 1 << 3
	membarrierRegisterPrivateExpedited = 1 << 4
)

// osBarrier makes every running thread of the process execute a full memory barrier. It reports
// false if the system refuses: the kernel has had the call since 4.14, but a sandbox may forbid it.
// A process has to register first, and once more after it was restored from a checkpoint.
func osBarrier() bool {
	return membarrier(membarrierPrivateExpedited) ||
		membarrier(membarrierRegisterPrivateExpedited) && membarrier(membarrierPrivateExpedited)
}

func membarrier(cmd int) bool {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, uintptr(cmd), 0, 0)
	return errno == 0
}
