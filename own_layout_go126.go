//go:build go1.26

package pool

// Where the runtime's m has the pointers curg and p in this release, in bytes. go run
// ./tools/layout prints the places for all releases and systems.
const (
	//lint:ignore U1000 for own_nosplit.go
	mCurg = 184 + mShift
	//lint:ignore U1000 for own_nosplit.go
	mP = 208 + mShift
)
