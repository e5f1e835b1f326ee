// Package hook lets the programs of this module, and nobody else, make pools that differ from those
// that users get, to measure what the difference is worth.
package hook

import "sync/atomic"

// What pools do with an empty page that they keep.
const (
	Reset = iota // put all its slots in address order: what users get
	Move         // make the list of the slots that were put last the next one to get from, as it is
	None         // nothing, and keep a page only if its shard has no other, as mimalloc does
)

// Promotion is one of these, for the pools that are made while it is set.
var Promotion atomic.Uint32
