//go:build linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolyield

package pool

// The only linknames. go1.28 above is the first release for which nobody has compared procPin and
// procUnpin with what own_pin.go relies on. They were the same up to 1.27.3. Such a release gets shards
// under locks (own_lock.go) by itself, and not a build that fails with advice: whoever updates Go has
// seldom chosen this package, and a build that works but is slower, as Stats.Pinned says, serves them
// better than none. An unknown runtime must not be trusted, for a wrong guess corrupts memory. CI checks
// which files are built for each known release, and for a later one.
//
// To add a release: read both functions in its runtime/proc.go, and how sync.Pool uses them. Then raise
// the release in all files that name it, add it to .ci/run, and run the stress and TestSteps with it.

import _ "unsafe" // go:linkname

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
