//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && ((linux && (amd64 || arm64)) || (poolfast && !go1.28 && !poolunknown && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64))))) && !poolyield

package pool

// The linknames of procPin and procUnpin. They were the same up to 1.27.3. The runtime promises to
// keep them for the packages that link to them (comments in runtime/proc.go), so later releases may
// use them too, if the system has a barrier: see own_pin.go.

import _ "unsafe" // go:linkname

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
