// Package hook lets the programs of this module, and nobody else, make pools
// that differ from what users get, to measure what the difference is worth.
package hook

import "sync/atomic"

// NoWarmPages makes pools created while it is set retire pages as mimalloc does:
// nothing is promoted, and only the sole page of a shard is kept.
var NoWarmPages atomic.Bool
