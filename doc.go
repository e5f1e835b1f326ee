// Package pool is an allocator for fixed-size objects that the garbage collector
// does not see: typed slots on off-heap pages, handed out and taken back from
// any goroutine.
//
//	orders := pool.New[Order](pool.WithName("orders"))
//	o := orders.Get() // zeroed, like new(Order)
//	...
//	orders.Put(o) // o must not be used any more
//
// It replaces [sync.Pool] for structs without pointers. In contrast to that, a
// pool is typed, keeps its objects across garbage collections, panics when a slot
// is put twice or never came from the pool, knows how many are out, and gives
// memory back to the system by a policy of its own. It is not for objects that
// hold pointers, strings or slices (New refuses them), not for buffers of varying
// size, and not for code that cannot tell when an object's last user is done: a
// slot that is never Put is never reclaimed, and one that is used after Put may
// be somebody else's.
//
// # Memory model
//
// Put(x) synchronizes before the Get that returns the same slot, and Ref(x) before a
// Deref of what it returned, as [Pool.Deref] says. The pool adds no other ordering; in
// particular, handing x to another goroutine needs the same synchronization as any
// other pointer. Close synchronizes after every Put.
//
// # How it works
//
// Words: a slot is room for one object; slots lie a stride apart on a page; pages
// come from the arena, which the pools of the process share. A shard is one P's
// side of a pool; it is the owner of pages. A slot is foreign to a shard that
// does not own its page. To carve is to open slots of a page for the first time,
// to collect is to take home what other shards have put. An empty page is
// retired, promoted, and revived or released; released memory is purged. A tick
// is 50 ms.
//
// A page has its free slots in three lists: free, which Get pops; localFree,
// which its owner's Put pushes; remoteFree, which all others push. See page.go.
//
// Get, on the shard of the P that the goroutine is pinned to:
//
//  1. Take the slot that was parked last, if any (see Put).
//  2. Take the next slot of the current page: from its bump range of slots in
//     address order, else from its free list. Most Gets end here.
//  3. If that page is full, give it up, and if the next one is ready, turn to it.
//     From here on, a Get is slow.
//  4. Make localFree, else remoteFree, the new free list.
//  5. Carve 4 KiB more of slots.
//  6. Go on with another page of the shard: the fullest among a few partly used
//     ones, else the one retired last.
//  7. Unpin. Adopt a page that another shard has given up, else take a fresh one
//     from the arena, and from 1 again. If there is none to be had, for a limit or
//     because the system refuses, take a page with a free slot from any shard.
//
// Put finds the page by the address, and checks that the address is in the
// arena, the page this pool's, the address the start of a slot, and the slot in
// use. Then:
//
//  1. If no slot is parked in this shard, or the shard does not own the page,
//     park the slot, for the next Get. A Put that is followed by a Get on the
//     same P thus touches no page.
//  2. If the parking lot is full, send its older half home first: one
//     compare-and-swap a page puts a chain of slots on its remoteFree. A page
//     that nobody owns, because it was full, becomes this shard's own.
//  3. Else push the slot on localFree. If all of the page's slots are home now,
//     the parked one counted, retire it: see retire.go.
//
// Ticks let retired pages expire, send parked slots home and collect what others
// have put, also for Ps that do nothing any more: see heartbeat.go. How a
// goroutine gets a shard to itself is in pin.go.
//
// Slots that are looked at more closely, by the profile, as guarded slots, or all of
// them in builds with -race, -asan and -tags pooldebug, have a word that sends
// their Put off the fast path: see watch.go.
//
// The lists and their order are those of mimalloc (Leijen, Zorn, de Moura, 2019),
// in which page retirement is modified in three ways: an empty page that is kept
// is reset to address order (promoted), so that the next Get is fast; empty
// pages are kept also when they are not their shard's only one; and they are
// promoted again at each tick at which they were found emptied by others.
//
// # Builds
//
// On Linux with amd64 and arm64, Get and Put pin the goroutine to its P for the time of the call
// (Stats.Pinned). Everywhere else they take the lock of a shard, and a pair of them three times as long: on
// other systems and processors, with -race, with -tags pooldebug or poolportable, and with a Go
// release later than those that this version knows, since nobody has checked yet that the runtime's
// procPin is what it was. A newer version of this package then brings the fast path back.
//
// Slots lie outside of the Go heap (Stats.OffHeap) on Linux, macOS, the BSDs and Windows. On other
// systems, js and wasip1 among them, and with -race, pages come from the Go heap: the same calls
// work in the same way, but the garbage collector counts the memory, keeps all that pools ever
// used at once, and finds it a few large objects without pointers. No slot is guarded there.
package pool
