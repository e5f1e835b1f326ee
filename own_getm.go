//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && !go1.28 && !poolunknown && ((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64))))) && !poolyield

package pool

// The linkname of getm. go1.28 above is the first release for which nobody has compared the runtime
// with what own_nosplit.go relies on. Such a release gets pins by itself, or locks, and not a build
// that fails with advice: whoever updates Go has seldom chosen this package, and a build that works
// but is slower, as Stats.Access says, serves them better than none. An unknown runtime must not be
// trusted, for a wrong guess corrupts memory. CI checks which files are built for each known
// release, and for a later one.
//
// To add a release: do what docs/runtime.md says.

import _ "unsafe" // go:linkname

//go:linkname getm runtime.getm
func getm() *mLayout

// stepUnpin is for the build tag poolyield.
//
//go:nosplit
func stepUnpin() {}
