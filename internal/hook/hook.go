// Package hook lets the programs of this module, and nobody else, make pools
// that differ from what users get, to measure what the difference is worth.
package hook

import "sync/atomic"

// What pools do with a page that empties while it is kept.
const (
	Reset = iota // put all its slots in address order: what users get
	Move         // make the list of slots put last the next to be got, in the order that it has
	None         // nothing, and keep only the sole page of a shard: as mimalloc does
)

// Promotion is one of these, for the pools made while it is set.
var Promotion atomic.Uint32
