// Package hook lets the programs of this repository make pools that differ from those that users
// get, to measure what the difference is worth.
package hook

import "sync/atomic"

// What a pool does with a page that empties and is kept.
const (
	Reset = iota // puts all its slots in address order: what users get
	Move         // makes the slots put last the next ones to be got, in the order they are in
	None         // does nothing, and keeps only the sole page of a shard, as mimalloc does
)

// Promotion is Reset, Move or None, and holds for pools made while it is set. It is safe for
// concurrent use.
var Promotion atomic.Uint32
