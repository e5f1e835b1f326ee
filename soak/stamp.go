package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// An owner is a goroutine that gets slots. One goroutine uses it at a time.
type owner struct {
	number, gets uint64
	*rand.Rand
}

var owners atomic.Uint64

func newOwner(seed uint64) *owner {
	n := owners.Add(1)
	return &owner{number: n, Rand: rand.New(rand.NewPCG(seed, n))}
}

// id returns a number that no other Get of the process has.
func (o *owner) id() uint64 {
	o.gets++
	return o.number<<40 | o.gets
}

func describe(id uint64) string { return fmt.Sprintf("Get %d of owner %d", id&(1<<40-1), id>>40) }

// A slot that is in use is stamped: its first word is the id of its Get, and the others follow from
// that. Of a large slot, 64 words or more are stamped.

func stampStep(n int) int { return max(1, n/64) }

func pattern(id uint64, i int) uint64 { return id + uint64(i)*0x9e3779b97f4a7c15 }

func stamp(words []uint64, id uint64) {
	for i := 0; i < len(words); i += stampStep(len(words)) {
		words[i] = pattern(id, i)
	}
	words[len(words)-1] = pattern(id, len(words)-1)
}

// checkStamp returns an error that says what is wrong with the stamp of the Get that has the id.
func checkStamp(words []uint64, id uint64) error {
	for i := 0; i < len(words); i += stampStep(len(words)) {
		if words[i] != pattern(id, i) {
			return fmt.Errorf("word %d of the slot of %s has changed from %#x to %#x; the first word is that of %s",
				i, describe(id), pattern(id, i), words[i], describe(words[0]))
		}
	}
	if last := len(words) - 1; words[last] != pattern(id, last) {
		return fmt.Errorf("the last word of the slot of %s has changed from %#x to %#x; the first word is that of %s",
			describe(id), pattern(id, last), words[last], describe(words[0]))
	}
	return nil
}

// checkZero returns an error if one of the words that a stamp writes is not zero.
func checkZero(words []uint64) error {
	for i := 0; i < len(words); i += stampStep(len(words)) {
		if words[i] != 0 {
			return fmt.Errorf("word %d of a new slot is %#x, not 0; the first word is that of %s", i, words[i], describe(words[0]))
		}
	}
	return nil
}

// stampBytes and checkBytes do the same for a slice of any length.

func stampBytes(b []byte, id uint64) {
	step := 8 * stampStep(len(b)/8)
	for i := 0; i+8 <= len(b); i += step {
		binary.LittleEndian.PutUint64(b[i:], pattern(id, i))
	}
	if len(b) > 0 {
		b[len(b)-1] = byte(id)
	}
}

func checkBytes(b []byte, id uint64) error {
	if len(b) > 0 && b[len(b)-1] != byte(id) {
		return fmt.Errorf("the last byte of %d of %s has changed from %#x to %#x", len(b), describe(id), byte(id), b[len(b)-1])
	}
	step := 8 * stampStep(len(b)/8)
	for i := 0; i+8 < len(b); i += step { // where the last byte does not come in between
		if got := binary.LittleEndian.Uint64(b[i:]); got != pattern(id, i) {
			return fmt.Errorf("bytes %d to %d of %d of %s have changed from %#x to %#x", i, i+7, len(b), describe(id), pattern(id, i), got)
		}
	}
	return nil
}
