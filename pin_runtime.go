//go:build linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolyield

package pool

// The only linknames. go1.28 above is the first release for which nobody has compared procPin and
// procUnpin with what pin.go relies on; they were the same up to 1.27.3. Such a release gets shards
// under locks (pin_portable.go) without being asked, rather than a build that fails with advice:
// who updates Go is seldom who has chosen this package, and what works but is slower, as
// Stats.Pinned says, is better for them than what does not build. What must not happen is that an
// unknown runtime is trusted: there, a wrong guess corrupts memory. CI checks for each known release,
// and for a later one, which files are built.
//
// To add a release: read both functions in its runtime/proc.go, and how sync.Pool uses them; then
// raise the release in all files that name it, add it to .ci/run, and run the stress and TestSteps with it.

import _ "unsafe" // go:linkname

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
