//go:build !race

package pool

import "unsafe"

// raceEnabled says that the race detector watches: see race_on.go.
const raceEnabled = false

func raceGot(unsafe.Pointer, int) {}
func racePut(unsafe.Pointer, int) {}
