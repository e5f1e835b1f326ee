package pool

import "golang.org/x/sys/windows"

var flushProcessWriteBuffers = windows.NewLazySystemDLL("kernel32.dll").NewProc("FlushProcessWriteBuffers")

// osBarrier makes every processor that runs a thread of the process flush its write buffers: a full
// memory barrier. It reports false if the system lacks the call, which Windows has had since Vista.
func osBarrier() bool {
	if flushProcessWriteBuffers.Find() != nil {
		return false
	}
	_, _, _ = flushProcessWriteBuffers.Call() // it returns nothing, and cannot fail
	return true
}
