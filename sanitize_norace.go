//go:build !race

package pool

import "unsafe"

// raceEnabled says that the race detector watches: see sanitize_race.go.
const raceEnabled = false

func raceGot(unsafe.Pointer, int) {}
func racePut(unsafe.Pointer, int) {}
