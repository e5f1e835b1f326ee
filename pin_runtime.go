//go:build linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolyield

package pool

import _ "unsafe" // go:linkname

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
