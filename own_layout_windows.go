//go:build windows

package pool

// mShift is what the system adds to the places in an m, in bytes.
//
//lint:ignore U1000 for own_nosplit.go
const mShift = -48
